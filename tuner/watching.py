"""A study watched from outside, by its database alone: what changed, and about how long it will take."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import accumulate
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from search_spaces import loads
from studies.headline import covered_seconds
from studies.records import TrialRow
from studies.store import Store
from studies.study_data import SEARCH_ROLES
from tuner import views
from tuner.progress import duration, sparkline

_COURSE = 12  # bars in the sparkline: the table is for 80 columns


@dataclass(frozen=True, kw_only=True)
class Glance:
    """One study at one moment. The time left moves all the time, so it makes no glance another one."""

    status: Mapping[str, Any]  # as `tuner status --json` prints it
    total: int
    few: float | None  # few-shot accuracy of the best trial, on validation
    course: tuple[float, ...]  # the best value after each finished trial
    seconds_left: float | None = field(compare=False)

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return bool(self.status["state"] == "running")

    @property
    def done(self) -> int:
        """Trials that have ended, however they did."""
        counts = self.status["trials"]
        return int(counts["complete"] + counts["pruned"] + counts["failed"])


def glance(store: Store) -> Glance:
    """Looks at a study."""
    rows, status = store.trials(), views.status(store)
    total = loads(store.study().space_yaml).trials
    best = status["best"]
    chosen = next((row for row in rows if best and row.number == best["number"]), None)
    return Glance(
        status=status,
        total=total,
        few=chosen.metrics.get("val.few") if chosen else None,
        course=_course(rows),
        seconds_left=seconds_left(rows, total),
    )


def seconds_left(rows: Sequence[TrialRow], total: int, *, now: datetime | None = None) -> float | None:
    """What the open trials will take at the speed of those that ended, pauses left out; None before the first ended."""
    ended = [row for row in rows if row.finished is not None]
    if not ended:
        return None
    open_since = [(row.started, now or datetime.now(UTC)) for row in rows if row.state == "RUNNING"]
    spent = covered_seconds([*((row.started, row.finished) for row in ended), *open_since])
    return spent / len(ended) * max(0, total - len(ended))


def watch(
    look: Callable[[], list[Glance]], *, every: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[tuple[list[Glance], bool]]:
    """What `look` sees, and whether it is another thing than before, until no study is running any more."""
    before: list[Glance] | None = None
    while True:
        seen = look()
        yield seen, seen != before
        if not any(one.running for one in seen):
            return
        before = seen
        pause(every)


def show(seen: Iterator[tuple[list[Glance], bool]], *, console: Console, as_json: bool) -> None:
    """A table that is redrawn on a terminal; else a line for each study that changed, as JSON if asked for."""
    if console.is_terminal and not as_json:
        with Live(console=console, auto_refresh=False) as live:
            for found, _ in seen:
                live.update(table(found), refresh=True)
        return
    last: dict[str, Glance] = {}
    for found, changed in seen:
        for one in found if changed else ():
            if last.get(one.status["study"]) != one:
                last[one.status["study"]] = one
                print_line(line(one, as_json=as_json), console)


def print_line(text: str, console: Console) -> None:
    """One line as it is, at once: a reader may be waiting at the other end of a pipe."""
    console.file.write(f"{text}\n")
    console.file.flush()


def line(one: Glance, *, as_json: bool) -> str:
    """A study on one line, for a program or for a log."""
    if as_json:
        return json.dumps({**one.status, "total": one.total, "seconds_left": one.seconds_left}, default=str)
    counts, best = one.status["trials"], one.status["best"]
    fields = {
        "study": one.status["study"],
        "state": one.status["state"],
        "done": f"{one.done}/{one.total}",
        "running": counts["running"],
        "failed": counts["failed"],
        "best": f"{best['value']:.4f}" if best else "none",
        "few": "none" if one.few is None else f"{one.few:.4f}",
    }
    return " ".join(f"{key}={value}" for key, value in fields.items())


def table(found: Sequence[Glance]) -> Table:
    """One row a study, with the course of its best value."""
    drawn = Table(box=None, padding=(0, 1, 0, 0))
    for column in ("study", "state", "done", "running", "failed", "best", "few", "time left", ""):
        drawn.add_column(column, no_wrap=True)
    for one in found:
        counts, best = one.status["trials"], one.status["best"]
        left = "-" if not one.running else duration(one.seconds_left)
        drawn.add_row(
            one.status["study"], one.status["state"], f"{one.done}/{one.total}", str(counts["running"]),
            str(counts["failed"]), f"{views.percent(best['value'])} #{best['number']}" if best else "-",
            views.percent(one.few) if best else "-", left, sparkline(_thinned(one.course)),
        )  # fmt: skip
    return drawn


def _thinned(course: Sequence[float]) -> list[float]:
    """At most so many values, evenly spread, the last one always."""
    count = min(len(course), _COURSE)
    return [course[(place + 1) * len(course) // count - 1] for place in range(count)]


def _course(rows: Sequence[TrialRow]) -> tuple[float, ...]:
    ended = [row for row in rows if row.state == "COMPLETE" and row.role in SEARCH_ROLES and row.value is not None]
    ended.sort(key=lambda row: (row.finished or datetime.max.replace(tzinfo=UTC), row.number))
    return tuple(accumulate((row.value or 0.0 for row in ended), max))
