"""The state machine of a launch: events in, instructions out. It does no input or output and has no clock or engine.

A launch begins in `searching` and only moves down the list of phases. It remembers every event: if its hours are over
and a stop is requested later, it still retries no job.
"""

from __future__ import annotations

from typing import Literal

from studies.records import StudyState

Phase = Literal["searching", "closing", "stopping", "failing", "breaking"]
PHASES: dict[Phase, str] = {
    "searching": "Jobs of the search are handed out, then the final readings of test data. A job with a transient "
    "failure waits for a retry.",
    "closing": "The hours of the budget are over. No job of the search starts: waiting jobs end unrun. Running jobs "
    "finish; then test data is read, except for fresh seeds that would need training.",
    "stopping": "A stop was requested. Nothing is handed out. Running jobs end at their next report and leave a "
    "checkpoint; their trials stay RUNNING, and the next launch adopts them.",
    "failing": "More jobs failed than the budget allows. Nothing is handed out: waiting jobs end unrun, and running "
    "jobs finish.",
    "breaking": "The driver met an error outside the jobs, such as a lost database or a full disk. Nothing is handed "
    "out and nothing more is written. Running jobs end at their next report and leave a checkpoint; their trials stay "
    "RUNNING.",
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
    """The phase of one launch. Events may come in any order and more than once."""

    def __init__(self) -> None:
        self.error: Exception | None = None  # the first error that broke the launch
        self._happened: set[Phase] = {"searching"}

    # -- events -------------------------------------------------------------------------------------------------

    def hours_are_over(self) -> None:
        """The study has used up budget.hours."""
        self._happened.add("closing")

    def stop_is_requested(self) -> None:
        """A stop was requested."""
        self._happened.add("stopping")

    def too_many_failed(self) -> None:
        """More jobs failed than budget.max_failed."""
        self._happened.add("failing")

    def breaks(self, error: Exception) -> None:
        """The driver met an error outside the jobs; keeps the first one."""
        self.error = self.error or error
        self._happened.add("breaking")

    # -- instructions -------------------------------------------------------------------------------------------

    @property
    def phase(self) -> Phase:
        """The furthest phase reached."""
        return next(phase for phase in reversed(PHASES) if phase in self._happened)

    @property
    def hands_out(self) -> HandsOut:
        """The tasks that workers may get."""
        match self.phase:
            case "searching":
                return "anything"
            case "closing":
                return "readings"
            case _:
                return "nothing"

    @property
    def ends_jobs(self) -> bool:
        """True if running jobs end at their next report."""
        return bool(self._happened & {"stopping", "breaking"})

    @property
    def writes(self) -> bool:
        """True while results are written to the study."""
        return self.phase != "breaking"

    @property
    def tries_again(self) -> bool:
        """True if a job with a transient failure is retried."""
        return not self._happened & {"closing", "failing"}

    @property
    def drops_waiting(self) -> str | None:
        """Why waiting jobs end unrun; None if they are kept."""
        if "failing" in self._happened:
            return "more than budget.max_failed jobs failed"
        return "budget.hours were over" if "closing" in self._happened else None

    def verdict(self, *, work_left: bool, complete: int, unread: int) -> Verdict:
        """How the launch ended, given the numbers of `complete` trials and of failed readings (`unread`)."""
        if "stopping" in self._happened and work_left:
            return "stopped"
        if "failing" in self._happened:
            return "failed"
        if not complete:
            return "out_of_time" if "closing" in self._happened else "failed"
        return "unread" if unread else "done"
