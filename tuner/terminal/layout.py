"""Draws the progress of studies, for `tuner launch` and for `tuner status`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table

from studies.records import RunningRow, TrialRow
from studies.study_data import SEARCH_ROLES
from studies.wording import duration, per_cent
from tuner.terminal.output import styled, terminal_safe

_SPARKS = "▁▂▃▄▅▆▇█"
_COURSE = 10  # sparks, if there is room
_BAR = 16  # columns of a bar
_WHAT = 28  # columns of a job's name


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One row of the table that `tuner launch` and `tuner status` draw."""

    study: str
    done: int
    total: int | None  # None: not known
    running: int
    failed: int
    best: tuple[float, int] | None  # value, trial
    few: float | None
    left: str
    course: Sequence[float] = ()


_HEADS = ("done", "run", "fail", "best on val", "few", "time left")
_GAP = 2  # columns between two of the table


@dataclass(frozen=True)
class Standings:
    """One row a study, as wide as the terminal. If it is too narrow, the course and the name are cut, never numbers."""

    rows: Sequence[Standing]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [_cells(row) for row in self.rows]
        widths = [max(map(len, column)) for column in zip(_HEADS, *cells, strict=True)]
        room = options.max_width - sum(widths) - _GAP * len(widths)
        names = [terminal_safe(row.study) for row in self.rows]
        longest = max(map(len, [*names, "study"]))
        name = max(len("study"), min(longest, room - _GAP))
        sparks = max(0, min(_COURSE, room - name - _GAP))
        drawn = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
        for column in ("study", *_HEADS, *([""] if sparks else [])):
            drawn.add_column(column, no_wrap=True)
        for row, called, own in zip(self.rows, names, cells, strict=True):
            course = [sparkline(evenly_spaced(row.course, most=sparks))] if sparks else []
            drawn.add_row(styled(_shortened_name(called, name)), *own, *course)
        yield drawn


def standings(rows: Sequence[Standing]) -> Standings:
    """One row a study, within 80 columns for names of up to 14 letters and studies of up to 9,999 trials."""
    return Standings(rows)


def _cells(row: Standing) -> tuple[str, ...]:
    best = f"{per_cent(row.best[0])} #{row.best[1]}" if row.best else "-"
    few = per_cent(row.few) if row.best else "-"
    return done_of_total(row.done, row.total), str(row.running), str(row.failed), best, few, row.left


def _shortened_name(name: str, width: int) -> str:
    return name if len(name) <= width else name[: width - 1] + "…"


def bars(rows: Sequence[RunningRow]) -> Table:
    """One line a job: its name, the progress of its backbone, and its present step."""
    drawn = Table.grid(padding=(0, 1, 0, 0))
    drawn.add_column(no_wrap=True, max_width=_WHAT, overflow="ellipsis")
    drawn.add_column(no_wrap=True)
    drawn.add_column(no_wrap=True, style="dim")
    for row in rows:
        drawn.add_row(row.what, _stage1_bar(row), detail(row))
    return drawn


def _stage1_bar(row: RunningRow) -> ProgressBar:
    return ProgressBar(
        total=1, completed=share_of_stage1(row), width=_BAR, complete_style="cyan", finished_style="green"
    )


def detail(row: RunningRow) -> str:
    """A job's present step in words."""
    if row.reading:
        return f"reading test · {row.heads} classifier{'' if row.heads == 1 else 's'}"
    heads = f"stage 2 · {row.heads} head{'' if row.heads == 1 else 's'}"
    if row.stage == 2 or 0 < row.epochs <= row.epoch:
        return heads
    if not row.epochs:
        return "starting"
    rate = f" · {row.images_per_second:,.0f} images/s" if row.images_per_second else ""
    return f"stage 1 · epoch {row.epoch}/{row.epochs}{rate}"


def course(rows: Sequence[TrialRow]) -> tuple[float, ...]:
    """The best value after each finished trial of the search."""
    ended = [row for row in rows if row.state == "COMPLETE" and row.role in SEARCH_ROLES and row.value is not None]
    ended.sort(key=lambda row: (row.finished or datetime.max.replace(tzinfo=UTC), row.number))
    return tuple(accumulate((row.value or 0.0 for row in ended), max))


def done_of_total(done: int, total: int | None) -> str:
    """`done/total`, with `?` for an unknown total."""
    return f"{done}/{'?' if total is None else total}"


def evenly_spaced(values: Sequence[float], *, most: int = _COURSE) -> list[float]:
    """At most `most` values, evenly spread, always with the last one."""
    count = min(len(values), most)
    return [values[(place + 1) * len(values) // count - 1] for place in range(count)]


def time_left(seconds: float | None) -> str:
    """The time left in words; None means that it is not measured yet."""
    return "measuring" if seconds is None else duration(seconds)


def sparkline(values: Sequence[float]) -> str:
    """Bars of eight heights, scaled from the lowest to the highest value."""
    if not values:
        return ""
    low, span = min(values), (max(values) - min(values)) or 1.0
    return "".join(_SPARKS[round((value - low) / span * 7)] for value in values)


def share_of_stage1(row: RunningRow) -> float:
    """The share of its backbone that a job has trained."""
    return 1.0 if row.stage == 2 else row.epoch / row.epochs if row.epochs else 0.0
