"""What a launch is at: told of what happens, asked what to do next. No input, no output, no clock, no engine.

A launch begins in `searching` and moves only down this list. What happened stays known: a launch whose hours are over
and that is then asked to stop still tries no job again.
"""

from __future__ import annotations

from typing import Literal

from studies.records import StudyState

Phase = Literal["searching", "closing", "stopping", "failing", "breaking"]
PHASES: dict[Phase, str] = {
    "searching": "Jobs of the search are handed out, and then the final readings of test data. A job that fails for a "
    "reason that may pass waits for another try.",
    "closing": "The hours of the budget are over. No job begins any more: those that wait end unrun. Jobs under way "
    "end by themselves, and then test data is read, except where that takes a training.",
    "stopping": "Somebody asked for a stop. Nothing is handed out. Jobs under way end at their next report and leave a "
    "checkpoint; their trials stay RUNNING, and the next launch adopts them.",
    "failing": "More jobs failed than the budget allows. Nothing is handed out: jobs that wait end unrun, and those "
    "under way end by themselves.",
    "breaking": "The database, the disk or Ray failed. Nothing is handed out, and nothing is written any more. Jobs "
    "under way end at their next report and leave a checkpoint; their trials stay RUNNING.",
}
HandsOut = Literal["anything", "readings", "nothing"]
Verdict = Literal["stopped", "out_of_time", "failed", "unread", "done"]
STATES: dict[Verdict, StudyState] = {
    "stopped": "stopped",
    "out_of_time": "stopped",
    "failed": "failed",
    "unread": "stopped",
    "done": "done",
}


class Lifecycle:
    """The phase of one launch. Every event may come more than once, and in any order."""

    def __init__(self) -> None:
        self.error: Exception | None = None  # the first that broke the launch
        self._happened: set[Phase] = {"searching"}

    # -- events -------------------------------------------------------------------------------------------------

    def hours_are_over(self) -> None:
        """The study has used up budget.hours."""
        self._happened.add("closing")

    def stop_is_requested(self) -> None:
        """Somebody asked for a stop that loses nothing."""
        self._happened.add("stopping")

    def too_many_failed(self) -> None:
        """More jobs failed than budget.max_failed."""
        self._happened.add("failing")

    def breaks(self, error: Exception) -> None:
        """What the launch stands on failed; the first error is kept."""
        self.error = self.error or error
        self._happened.add("breaking")

    # -- instructions -------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """The last phase of the list that was reached."""
        return next(phase for phase in reversed(PHASES) if phase in self._happened)

    @property
    def hands_out(self) -> HandsOut:
        """What workers may be given."""
        match self.phase:
            case "searching":
                return "anything"
            case "closing":
                return "readings"
            case _:
                return "nothing"

    @property
    def ends_jobs(self) -> bool:
        """Whether jobs under way end at their next report."""
        return bool(self._happened & {"stopping", "breaking"})

    @property
    def writes(self) -> bool:
        """Whether results still go into the study."""
        return self.phase != "breaking"

    @property
    def tries_again(self) -> bool:
        """Whether a job that failed for a reason that may pass is kept for another try."""
        return not self._happened & {"closing", "failing"}

    @property
    def drops_waiting(self) -> str | None:
        """Why jobs that wait end unrun; None where they are kept."""
        if "failing" in self._happened:
            return "more than budget.max_failed jobs failed"
        return "budget.hours were over" if "closing" in self._happened else None

    def verdict(self, *, work_left: bool, complete: int, unread: int) -> Verdict:
        """How a launch that handed out all it could has ended; `complete` trials, `unread` readings that failed."""
        if "stopping" in self._happened and work_left:
            return "stopped"
        if "failing" in self._happened:
            return "failed"
        if not complete:
            return "out_of_time" if "closing" in self._happened else "failed"
        return "unread" if unread else "done"
