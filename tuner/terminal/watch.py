"""Watches studies through the database alone: their progress, and an estimate of the time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live

from search_spaces import SpaceError, loads
from studies.findings.headline import covered_seconds
from studies.locks.study_lock import holder
from studies.records import ProgressRow, RunningRow, TrialRow
from studies.store import Store
from studies.study_data import best_confirmed
from studies.wording import duration
from tuner.terminal import tables
from tuner.terminal.layout import Standing, bars, course, done_of_total, standings, time_left
from tuner.terminal.objectives import first_line
from tuner.terminal.output import json_text, say, styled

SILENT = 60.0  # seconds without an update by the driver before a warning; an epoch may take as long


@dataclass(frozen=True, kw_only=True)
class Glance:
    """One study at one moment. Equality ignores the fields that change all the time."""

    status: Mapping[str, Any]  # from `tables.status`
    total: int | None  # trials of its budget; None if this release cannot read the space
    few: float | None  # few-shot accuracy of the best trial, on validation; if its mean chose it, over its seeds
    course: tuple[float, ...]  # the best value after each finished trial
    seconds_left: float | None = field(compare=False)
    jobs: tuple[RunningRow, ...] = field(default=(), compare=False)  # running, at the driver's last update
    silent: float | None = field(default=0.0, compare=False)  # seconds since that update; None: there was none
    driver: str | None = field(default=None, compare=False)  # who holds the study; looked up if it is silent

    @property
    def running(self) -> bool:
        """True if the study's state is "running"."""
        return bool(self.status["state"] == "running")

    @property
    def done(self) -> int:
        """The number of trials that ended, failed and pruned ones included."""
        counts = self.status["trials"]
        return int(counts["complete"] + counts["pruned"] + counts["failed"])


def glance(store: Store) -> Glance:
    """Reads a study."""
    rows, status, said, now = store.trials(), tables.status(store), store.progress(), datetime.now(UTC)
    silent = max(0.0, (now - said.updated).total_seconds()) if said else None
    told = _driver_says(said, silent)
    total = _total(store, len(rows))
    best, several = status["best"], best_confirmed(rows)
    chosen = next((row for row in rows if best and row.number == best["number"]), None)
    own_few = chosen.metrics.get("val.few") if chosen else None
    return Glance(
        status=status,
        total=total,
        few=several.mean("val.few") if several else own_few,
        course=course(rows),
        seconds_left=seconds_left(rows, total) if told is None else told,
        jobs=said.running if said and status["state"] == "running" else (),
        silent=silent,
        driver=holder(store.database.url, store.name) if status["state"] == "running" and _long(silent) else None,
    )


def _long(silent: float | None) -> bool:
    return silent is None or silent >= SILENT


def _total(store: Store, there: int) -> int | None:
    """Trials of the whole study, of which some are `there`; None where the search decides on the way how many."""
    study = store.study()
    try:
        space = loads(study.space_yaml)
    except SpaceError:
        return None
    if space.ladder:
        return there if study.state == "done" else None
    return space.trials


def _driver_says(said: ProgressRow | None, silent: float | None) -> float | None:
    """The driver's own estimate of the time left; None if it is too old."""
    if said is None or said.seconds_left is None or silent is None or _long(silent):
        return None
    return max(0.0, said.seconds_left - silent)


def seconds_left(rows: Sequence[TrialRow], total: int | None, *, now: datetime | None = None) -> float | None:
    """The time for the remaining trials at the speed of the ended ones, without pauses; None before the first ended."""
    ended = [row for row in rows if row.finished is not None]
    if not ended or total is None:
        return None
    open_since = [(row.started, now or datetime.now(UTC)) for row in rows if row.state == "RUNNING"]
    spent = covered_seconds([*((row.started, row.finished) for row in ended), *open_since])
    return spent / len(ended) * max(0, total - len(ended))


def watch(
    look: Callable[[], list[Glance]], *, every: float, pause: Callable[[float], None] = time.sleep
) -> Iterator[tuple[list[Glance], bool]]:
    """Yields what `look` returns, and whether it changed, until no study is running.

    Reading takes at most a tenth of the time, so a large study is read less often.
    """
    before: list[Glance] | None = None
    while True:
        began = time.monotonic()
        seen = look()
        took = time.monotonic() - began
        yield seen, seen != before
        if not any(one.running for one in seen):
            return
        before = seen
        pause(max(every, 9 * took))


def show(seen: Iterator[tuple[list[Glance], bool]], *, console: Console, as_json: bool) -> None:
    """Redraws a table on a terminal; else prints a line for each study that changed, as JSON if `as_json`."""
    if console.is_terminal and not as_json:
        with Live(console=console, auto_refresh=False) as live:
            for found, _ in seen:
                live.update(picture(found), refresh=True)
        return
    last: dict[str, Glance] = {}
    for found, changed in seen:
        for one in found if changed else ():
            if last.get(one.status["study"]) != one:
                last[one.status["study"]] = one
                say(line(one, as_json=as_json), to=console.file)


def line(one: Glance, *, as_json: bool) -> str:
    """A study on one line, for a program or for a log."""
    if as_json:
        return json_text(status_object(one))
    counts, best = one.status["trials"], _best(one.status["best"])
    fields = {
        "study": one.status["study"],
        "state": one.status["state"],
        "done": done_of_total(one.done, one.total),
        "running": counts["running"],
        "failed": counts["failed"],
        "best": f"{best[0]:.4f}" if best else "none",
        **({"best_by": one.status["objectives"][0]} if "objectives" in one.status else {}),
        "few": "none" if one.few is None else f"{one.few:.4f}",
    }
    return " ".join(f"{key}={value}" for key, value in fields.items())


def status_object(one: Glance) -> dict[str, Any]:
    """The object that `tuner status --json` prints."""
    more = {"total": one.total, "few": one.few, "seconds_left": one.seconds_left}
    return {**one.status, **more, "jobs": [asdict(row) for row in one.jobs]}


def picture(found: Sequence[Glance]) -> Group:
    """One row a study, then what runs in each."""
    rows = [
        Standing(
            study=one.status["study"],
            done=one.done,
            total=one.total,
            running=one.status["trials"]["running"],
            failed=one.status["trials"]["failed"],
            best=_best(one.status["best"]),
            few=one.few,
            left=time_left(one.seconds_left) if one.running else one.status["state"],
            course=one.course,
        )
        for one in found
    ]
    several = len(found) > 1
    objectives = [(one.status.get("objectives", ()), one.status["study"] if several else "") for one in found]
    notes = [styled(line, "dim") for names, study in objectives for line in first_line(names, study=study)]
    return Group(
        standings(rows), *notes, *(drawn for one in found if one.running for drawn in _study_bars(one, named=several))
    )


def _best(found: Mapping[str, Any] | None) -> tuple[float, int] | None:
    """The value by which the best trial was chosen, its own or the mean over seeds, and its number."""
    if found is None:
        return None
    several = found.get("over_seeds")
    return (several["mean"] if several else found["value"]), found["number"]


def _study_bars(one: Glance, *, named: bool) -> Iterator[RenderableType]:
    """The bars of one study, and a warning if its driver has been silent for long."""
    name = one.status["study"]
    if named and one.jobs:
        yield styled(name, "dim")
    if _long(one.silent):
        since = "has reported nothing yet" if one.silent is None else f"last reported {duration(one.silent)} ago"
        end = f"if it was killed: tuner resume {name}" if one.driver is None else f"it still runs: {one.driver}"
        yield styled(f"the driver of {name} {since}; {end}", "yellow")
    yield bars(one.jobs)
