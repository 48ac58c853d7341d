"""What a running study shows: a live table on a terminal, one plain key=value line per trial elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from tuner.planner import Planner, Task

_SPARKS = "▁▂▃▄▅▆▇█"


class PlainLines:
    """One line per trial on `stream`; nothing is redrawn, so it reads well in a log file."""

    def __init__(self, planner: Planner, *, stream: TextIO | None = None) -> None:
        self.planner = planner
        self.stream = stream or sys.stderr

    def started(self, key: str, task: Task) -> None:
        """Nothing: a line per trial is enough."""

    def progressed(self, key: str, progress: Mapping[str, Any]) -> None:
        """Nothing: a line per trial is enough."""

    def ended(self, key: str, task: Task, result: Mapping[str, Any] | None, reason: str | None) -> None:
        """A line for each trial of the job, or for each reading."""
        if task.job is None:
            for reading, head in zip(task.readings, (result or {"heads": []})["heads"], strict=False):
                self._line({"reading": reading.role, **_figures(head.get("metrics", {}), "test")})
        elif result is None:
            state = "FAIL" if reason else "INTERRUPTED"
            for number in task.job.numbers:
                self._line({"trial": number, "state": state, "reason": reason or "stopped; tuner resume goes on"})
        else:
            for number, head in zip(task.job.numbers, result["heads"], strict=True):
                self._trial(number, head, task, cached=bool(result["backbone"]["cached"]))

    def close(self) -> None:
        """Nothing is held open."""

    def _trial(self, number: int, head: Mapping[str, Any], task: Task, *, cached: bool) -> None:
        if "reason" in head:
            self._line({"trial": number, "state": "FAIL", "reason": head["reason"]})
            return
        tally = self.planner.tally
        done = tally.complete + tally.failed + tally.pruned
        job = task.job.id if task.job else None
        figures = _figures(head["metrics"], "val")
        self._line(
            {
                "trial": number,
                "state": "COMPLETE",
                **figures,
                "job": job,
                "cached": cached,
                "done": f"{done}/{tally.total}",
            }
        )

    def _line(self, fields: Mapping[str, object]) -> None:
        print(" ".join(f"{key}={_plain(value)}" for key, value in fields.items()), file=self.stream, flush=True)


class LiveTable:
    """A table that is redrawn in place: what is done, what runs, the best so far, and the time left."""

    def __init__(self, planner: Planner, *, name: str, console: Console) -> None:
        self.planner = planner
        self.name = name
        self._began = time.monotonic()
        self._jobs_ended = 0
        self._history: list[float] = []
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), TextColumn("{task.fields[detail]}")
        )
        self._tasks: dict[str, TaskID] = {}
        self._live = Live(get_renderable=self._draw, console=console, refresh_per_second=2, transient=False)
        self._live.start()

    def started(self, key: str, task: Task) -> None:
        """Adds a bar."""
        what = "final reading" if task.job is None else f"job {task.job.id} · backbone {task.job.backbone_index}"
        self._tasks[key] = self._bars.add_task(what, total=1, detail="starting")

    def progressed(self, key: str, progress: Mapping[str, Any]) -> None:
        """Moves a bar."""
        rate = progress["images_per_second"]
        detail = f"stage {progress['stage']} · epoch {progress['epoch']}/{progress['epochs']}"
        self._bars.update(
            self._tasks[key],
            total=progress["epochs"] or 1,
            completed=progress["epoch"],
            detail=detail + (f" · {rate:,.0f} images/s" if rate else ""),
        )

    def ended(self, key: str, task: Task, result: Mapping[str, Any] | None, reason: str | None) -> None:
        """Removes a bar; a failure leaves its reason above the table."""
        self._bars.remove_task(self._tasks.pop(key))
        self._jobs_ended += 1
        if reason:
            self._live.console.print(f"[red]failed[/red] {reason}", highlight=False)
        if self.planner.leader:
            self._history.append(self.planner.leader.value)

    def close(self) -> None:
        """Draws the last state and gives the terminal back."""
        self._live.stop()

    def _draw(self) -> Group:
        tally, leader = self.planner.tally, self.planner.leader
        table = Table(title=f"study {self.name}", title_justify="left", box=None, padding=(0, 2, 0, 0))
        for column in ("done", "running", "pruned", "failed", "best (validation)", "few-shot", "time left"):
            table.add_column(column, justify="left", no_wrap=True)
        best = f"{leader.value:.1%} (trial {leader.number})" if leader else "-"
        few = f"{leader.few:.1%}" if leader and leader.few is not None else "-"
        table.add_row(
            f"{tally.complete}/{tally.total}", str(tally.running), str(tally.pruned), str(tally.failed),
            best, few, self._time_left(),
        )  # fmt: skip
        course = f"best so far  {sparkline(self._history[-60:])}" if self._history else ""
        return Group(table, course, self._bars)

    def _time_left(self) -> str:
        """From the time that jobs took so far: a job is a backbone's share, whatever the number of its heads."""
        if not self._jobs_ended:
            return duration(None)
        return duration((time.monotonic() - self._began) / self._jobs_ended * self.planner.jobs_left)


def duration(seconds: float | None) -> str:
    """Seconds as a reader wants them; None is not measured yet."""
    if seconds is None:
        return "measuring"
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{seconds:.0f} s"


def sparkline(values: list[float]) -> str:
    """Bars of eight heights, the lowest and highest value at the ends."""
    if not values:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(_SPARKS[round((value - low) / span * 7)] for value in values)


def _figures(metrics: Mapping[str, float | None], split: str) -> dict[str, float | None]:
    names = ("balanced_accuracy", "many", "medium", "few")
    return {f"{split}.{name}": metrics.get(f"{split}.{name}") for name in names}


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    text = "none" if value is None else str(value)
    return f'"{text}"' if " " in text else text
