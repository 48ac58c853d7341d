"""The command that puts a known point into a study's queue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tuner.commands.options import HomeOption, StorageOption, StudyArgument, open_store, storage_url, utf8_text
from tuner.errors import UsageError
from tuner.terminal.output import say

if TYPE_CHECKING:
    from studies.records import TrialRow
    from trainers.config import Scalar
    from tuner.search.planner import Planner

ValuesArgument = Annotated[
    Optional[list[str]],
    typer.Argument(
        help="The point, e.g. stage1.lr=0.05 stage2.lr=0.1; the sampler fills in the rest. Without it: what waits.",
        parser=utf8_text,
        metavar="KEY=VALUE...",
        show_default=False,
    ),
]


def enqueue(
    study: StudyArgument, values: ValuesArgument = None, home: HomeOption = None, storage: StorageOption = None
) -> None:
    """Try a known point next, also while the study runs: tuner enqueue STUDY stage1.lr=0.05 stage2.lr=0.1."""
    from search_spaces import loads
    from tuner.search.planner import Planner

    with open_store(study, home, storage) as store:
        planner = Planner(loads(store.study().space_yaml, source=f"study {study}"), store)
        if values:
            _enqueue(planner, _point(values, planner), running=_is_running(study, home, storage))
        else:
            _list(planner)


def _point(values: Sequence[str], planner: Planner) -> dict[str, Scalar]:
    """The point in the types of its ranges. Raises SpaceError with all that is wrong, UsageError for a known trial."""
    from search_spaces import SpaceError
    from search_spaces.document import Mark
    from search_spaces.known_points import fitted
    from studies.records import WaitingRow

    given = dict(map(_key_and_value, values))
    if len(given) < len(values):
        raise UsageError("a parameter stands twice; give each of them one value")
    point, wrong = fitted(planner.space, given)
    if wrong:
        raise SpaceError([Mark(name).problem("", complaint) for name, complaint in wrong.items()])
    if not point:
        raise UsageError(
            f"study {planner.space.name} searches none of these; it searches {', '.join(planner.space.searched)}"
        )
    _, reason = planner.search.read_point(WaitingRow(number=-1, params=point))
    known = planner.search.twin(point, ((row, row.params) for row in planner.store.trials() if _counts(row)))
    if known is not None:
        found = f", with {planner.space.objective} {known.value:.4g}" if known.value is not None else ""
        raise UsageError(f"trial {known.number} has this configuration already: {known.state}{found}")
    if reason:
        raise UsageError(reason)
    return point


def _counts(row: TrialRow) -> bool:
    """False for baselines, and for trials that failed through no fault of their configuration."""
    return row.role == "search" and (row.failure is None or row.failure.blames_configuration)


def _key_and_value(text: str) -> tuple[str, Scalar]:
    from search_spaces.scalars import scalar

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"a point is written as KEY=VALUE, such as stage1.lr=0.05, but got {text!r}")
    try:
        return key.strip(), scalar(value.strip())
    except ValueError as error:
        raise UsageError(f"{key.strip()}: {error}") from None


def _enqueue(planner: Planner, point: dict[str, Scalar], *, running: bool) -> None:
    waiting = [one.point for one, reason in planner.read_waiting() if not reason]
    already = " already" if point in waiting else ""
    number = planner.store.enqueue(point)
    home = planner.search.home_of(point)
    place = "a new backbone" if home is None else f"one more head on backbone {home}"
    say(f"trial {number} waits{already}, {place}: {_words(point)}")
    lacking = planner.search.lacking(waiting if already else [*waiting, point])
    say(_when(planner.space.name, lacking, running=running))


def _words(point: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{name} {value}" for name, value in point.items())


def _when(study: str, lacking: dict[str, int], *, running: bool) -> str:
    from tuner.search.enqueued import tried_by

    if running and not lacking:
        return f"the driver of {study} tries it before it asks its sampler again"
    return f"{'once the running launch has ended, ' if running else ''}{tried_by(study, lacking)}"


def _is_running(study: str, home: Path | None, storage: str | None) -> bool:
    from studies.locks.study_lock import holder

    return holder(storage_url(home, storage), study) is not None


def _list(planner: Planner) -> None:
    """The points that wait."""
    points = planner.read_waiting()
    for one, reason in points:
        say(f"trial {one.number} waits: {f'cannot be tried: {reason}' if reason else _words(one.point)}")
    if not points:
        name = planner.space.name
        say(f"no point waits in study {name}; enqueue one with: tuner enqueue {name} KEY=VALUE ...")
