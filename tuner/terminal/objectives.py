"""Several objectives on a terminal: which one is shown, and their Pareto front. Nothing of it with one objective."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from search_spaces.objectives import label, measure, value_of
from studies.records import TrialRow
from studies.study_data import SEARCH_ROLES, SLOPE, front_of
from studies.wording import listed, number, per_cent

if TYPE_CHECKING:
    from search_spaces import Space


def front_rows(rows: Iterable[TrialRow], objectives: Sequence[str]) -> list[dict[str, Any]]:
    """The trials of the Pareto front, the chosen one first, with their objectives as measured."""
    searched = (row for row in rows if row.state == "COMPLETE" and row.role in SEARCH_ROLES)
    return [
        {"number": row.number, **{measure(name): value_of(name, row.metrics) for name in objectives}}
        for row in front_of(searched)
    ]


def front_table(found: dict[str, Any]) -> Table:
    """The Pareto front in the object that `tuner best --json` prints."""
    names, front = found["objectives"], found["front"]
    title = "the Pareto front, the chosen trial first"
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), min_width=len(title))
    for column in ("trial", *map(label, names)):
        table.add_column(column, no_wrap=True)
    for row in front:
        table.add_row(str(row["number"]), *(shown(name, row[measure(name)]) for name in names))
    return table


def shown(objective: str, value: float | None) -> str:
    """A value of an objective: the slope as a number, all others as per cent."""
    return number(value) if measure(objective) == SLOPE else per_cent(value)


def labels(objectives: Sequence[str]) -> str:
    """The objectives in words."""
    return listed(list(map(label, objectives)))


def first_line(objectives: Sequence[str], *, study: str = "") -> list[str]:
    """Which objective the best value on the screen is of."""
    if len(objectives) < 2:
        return []
    of = f" of {study}" if study else ""
    return [f"best on val{of}: {label(objectives[0])}, the first of {len(objectives)} objectives"]


def plan_lines(space: Space) -> list[str]:
    """The objectives in the plan of `tuner check`."""
    if len(space.objectives) < 2:
        return []
    return [f"  objectives: {', '.join(space.objectives)}; of their Pareto front, the first one chooses a trial"]
