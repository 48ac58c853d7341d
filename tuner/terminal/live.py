"""The output of a running study: a live table on a terminal, plain key=value lines elsewhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live

from studies.confirmed import CONFIRM
from studies.records import Failure
from studies.study_data import FRESH_SEED
from trainers.results import HeadFailure, HeadResult, JobResult, Progress
from tuner.search.assignment import Assignment
from tuner.search.planner import Planner
from tuner.terminal.layout import Standing, bars, course, detail, standings, time_left
from tuner.terminal.objectives import first_line
from tuner.terminal.output import Stream, say, styled
from tuner.terminal.time_left import Running

if TYPE_CHECKING:
    from tuner.execution.dispatcher import Watcher

HEARTBEAT = 60.0  # seconds without a line after which one describes the running jobs


class Watchers:
    """Forwards every event to several watchers, in order."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def started(self, key: str, task: Assignment) -> None:
        """Job started."""
        for watcher in self._watchers:
            watcher.started(key, task)

    def progressed(self, key: str, progress: Progress) -> None:
        """Job reported progress."""
        for watcher in self._watchers:
            watcher.progressed(key, progress)

    def ended(self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False) -> None:
        """Job ended; `again` if it will be retried."""
        for watcher in self._watchers:
            watcher.ended(key, task, outcome, again=again)


class PlainLines:
    """Prints a line for each trial and reading, and one after each silent minute; redraws nothing, for log files."""

    def __init__(
        self,
        planner: Planner,
        running: Running,
        *,
        stream: Stream | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.planner = planner
        self.running = running
        self.stream = stream
        self._clock = clock
        self._said = clock()

    def started(self, key: str, task: Assignment) -> None:
        """Prints nothing."""

    def progressed(self, key: str, progress: Progress) -> None:
        """Prints a line about all running jobs after a minute without any other."""
        if self._clock() - self._said < HEARTBEAT:
            return
        leader, tally = self.planner.leader, self.planner.tally
        self._line(
            {
                "done": f"{tally.complete + tally.failed + tally.pruned}/{tally.total}",
                "best": leader.value if leader else None,
                **({"best_by": self.planner.space.objectives[0]} if len(self.planner.space.objectives) > 1 else {}),
                "few": leader.few if leader else None,
                "time_left": time_left(self.running.seconds_left()),
                "running": "; ".join(f"{row.what}: {detail(row)}" for row in self.running.rows),
            }
        )

    def ended(self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False) -> None:
        """Prints a line for each trial or reading of the job."""
        match outcome:
            case JobResult() if task.job is None:
                for name, head in zip(_naming_fields(task), outcome.heads, strict=True):
                    self._line(
                        {**name, **_split_measures({} if isinstance(head, HeadFailure) else head.metrics, "test")}
                    )
            case JobResult():
                for name, head in zip(_naming_fields(task), outcome.heads, strict=True):
                    self._trial(name, head, task, cached=outcome.backbone.cached)
            case _:
                state = "INTERRUPTED" if outcome is None else "RETRY" if again else "FAIL"
                reason = "stopped; tuner resume goes on" if outcome is None else outcome.text
                for name in _naming_fields(task):
                    self._line({**name, "state": state, "reason": reason})

    def close(self) -> None:
        """Prints that the report is being written, if it is."""
        if _report_comes(self.planner):
            self._line({"writing": "report"})

    def _trial(
        self, name: Mapping[str, object], head: HeadResult | HeadFailure, task: Assignment, *, cached: bool
    ) -> None:
        if isinstance(head, HeadFailure):
            self._line({**name, "state": "FAIL", "reason": head.reason})
            return
        tally = self.planner.tally
        done = tally.complete + tally.failed + tally.pruned
        job = task.job.id if task.job else None
        figures = _split_measures(head.metrics, "val")
        self._line(
            {**name, "state": "COMPLETE", **figures, "job": job, "cached": cached, "done": f"{done}/{tally.total}"}
        )

    def _line(self, fields: Mapping[str, object]) -> None:
        self._said = self._clock()
        say(" ".join(f"{key}={_log_value(value)}" for key, value in fields.items()), to=self.stream, err=True)


class LiveTable:
    """A table redrawn in place: the study's progress, and a bar for each running job."""

    def __init__(self, planner: Planner, running: Running, *, name: str, console: Console) -> None:
        self.planner = planner
        self.running = running
        self.name = name
        self._course = course(planner.store.trials())
        self._live = Live(get_renderable=self.draw, console=console, refresh_per_second=2, transient=False)
        self._live.start()

    def started(self, key: str, task: Assignment) -> None:
        """Does nothing: the table is redrawn twice a second."""

    def progressed(self, key: str, progress: Progress) -> None:
        """Does nothing: the table is redrawn twice a second."""

    def ended(self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False) -> None:
        """Prints the reason of a failure above the table."""
        if isinstance(outcome, Failure):
            what = styled("retry ", "yellow") if again else styled("failed ", "red")
            self._live.console.print(what + styled(outcome.text))
        if self.planner.leader and self.planner.leader.runs == 1:  # a mean is no best value of the search
            self._course = (*self._course, self.planner.leader.value)

    def close(self) -> None:
        """Draws the last state, releases the terminal, and prints that the report is being written, if it is."""
        self._live.stop()
        if _report_comes(self.planner):
            self._live.console.print(styled("writing the report", "dim"))

    def draw(self) -> Group:
        tally, leader = self.planner.tally, self.planner.leader
        standing = Standing(
            study=self.name,
            done=tally.complete + tally.failed + tally.pruned,
            total=tally.total,
            running=tally.running,
            failed=tally.failed,
            best=(leader.value, leader.number) if leader else None,
            few=leader.few if leader else None,
            left=self._left(),
            course=self._course,
        )
        named = (styled(line, "dim") for line in first_line(self.planner.space.objectives))
        return Group(standings([standing]), *named, bars(self.running.rows))

    def _left(self) -> str:
        """The time left, or the state in the words of `tuner status`."""
        match self.planner.lifecycle.phase:
            case "failing":
                return "failed"
            case "stopping" | "breaking":
                return "stopping" if self.running.rows else "stopped"
        return "done" if self.planner.finished else time_left(self.running.seconds_left())


def _report_comes(planner: Planner) -> bool:
    """True if the search ended by itself, not by a stop or by failures."""
    return planner.finished and planner.lifecycle.hands_out != "nothing"


def _naming_fields(task: Assignment) -> list[dict[str, object]]:
    """The fields that name a task's trials or readings in a log."""
    if task.job is not None:
        seed = {"seed": task.configs[0]["stage1.seed"]} if task.kind == CONFIRM else {}
        return [{"trial": number, **seed} for number in task.job.numbers]
    return [
        {"reading": one.role} | ({"seed": one.config["stage1.seed"]} if one.role == FRESH_SEED else {})
        for one in task.readings
    ]


def _split_measures(metrics: Mapping[str, float | None], split: str) -> dict[str, float | None]:
    names = ("balanced_accuracy", "many", "medium", "few")
    return {f"{split}.{name}": metrics.get(f"{split}.{name}") for name in names}


def _log_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = "none" if value is None else str(value)
    return json.dumps(text, ensure_ascii=False) if set(text) & set(' "=') else text
