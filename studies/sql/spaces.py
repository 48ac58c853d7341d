"""The spaces that a study has had. Only a study that grew has rows; any other has the one in its own row."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from search_spaces import Growth, SpaceError, compare, loads
from studies.errors import StudyMismatchError
from studies.locks.names import this_process
from studies.records import SpaceRow
from studies.sql.optuna_rows import TRIALS
from studies.sql.tables import SpaceTable, StudyTable
from studies.sql.waiting import taken_up


def spaces(session: Session, study_id: int) -> list[SpaceRow]:
    """The study's spaces, first to newest; one for a study that did not grow."""
    rows = session.scalars(select(SpaceTable).where(SpaceTable.study_id == study_id).order_by(SpaceTable.number)).all()
    if not rows:
        study = session.get_one(StudyTable, study_id)
        return [SpaceRow(space_yaml=study.space_yaml, space_sha256=study.space_sha256, since=study.created)]
    return [
        SpaceRow(
            number=row.number,
            first_trial=row.first_trial,
            since=row.since,
            driver=row.driver,
            space_yaml=row.space_yaml,
            space_sha256=row.space_sha256,
            grew=tuple(row.grew),
        )
        for row in rows
    ]


@dataclass(frozen=True)
class Draws:
    """Which space each trial of a study was drawn from."""

    firsts: Sequence[int] = ()  # the first number of each space; none for a study that did not grow
    since: Sequence[datetime] = ()
    queued: frozenset[int] = frozenset()  # trials that waited: they keep the numbers with which they were enqueued

    def space_of(self, trial: int, asked: datetime) -> int:
        """The number of the space of a trial, from 1, whose job was `asked` for then."""
        by_time = bisect_right(self.since, asked) if trial in self.queued else 1
        return max(1, bisect_right(self.firsts, trial), by_time)


def draws(session: Session, study_id: int) -> Draws:
    """One query for a study that did not grow, two for one that did."""
    asked = select(SpaceTable).where(SpaceTable.study_id == study_id).order_by(SpaceTable.number)
    rows = session.scalars(asked).all()
    if not rows:
        return Draws()
    return Draws([row.first_trial for row in rows], [row.since for row in rows], taken_up(session, study_id))


def grow(session: Session, study: StudyTable, name: str, *, space_yaml: str, space_sha256: str, asked: bool) -> None:
    """Gives the study a wider space, from its next trial on, if that was `asked` for.

    Raises StudyMismatchError, with each reason, for a space that is no wider one.
    """
    found = _compared(study.space_yaml, space_yaml)
    if found is None or not found.allowed or not asked:
        raise StudyMismatchError(_refusal(name, found, _compared(space_yaml, study.space_yaml)))
    rows = spaces(session, study.study_id)
    if len(rows) == 1:
        session.add(_row(study, rows[0]))
    next_trial = session.execute(
        select(func.count(TRIALS.trial_id)).where(TRIALS.study_id == study.study_id)
    ).scalar_one()
    study.space_sha256 = space_sha256
    newest = SpaceRow(
        number=len(rows) + 1,
        first_trial=next_trial,
        since=datetime.now(UTC),
        driver=this_process(" "),
        space_yaml=space_yaml,
        space_sha256=space_sha256,
        grew=tuple(map(str, found.grew)),
    )
    session.add(_row(study, newest))


def _row(study: StudyTable, row: SpaceRow) -> SpaceTable:
    return SpaceTable(
        study_id=study.study_id,
        number=row.number,
        first_trial=row.first_trial,
        since=row.since,
        driver=row.driver,
        space_yaml=row.space_yaml,
        space_sha256=row.space_sha256,
        grew=list(row.grew),
    )


def _compared(old: str, new: str) -> Growth | None:
    """None if this release cannot read one of them."""
    try:
        return compare(loads(old), loads(new))
    except SpaceError:
        return None


def _refusal(name: str, found: Growth | None, back: Growth | None) -> str:
    way_out = f"choose another name with --name, or go on with its own space by: tuner resume {name}"
    if found is None or not (found.grew or found.refused):
        return f"study {name!r} searches another space; a study keeps its space: {way_out}"
    if back is not None and back.allowed:
        return f"study {name!r} has a wider space, and cannot shrink: {'; '.join(found.refused)}; {way_out}"
    if found.refused:
        return (
            f"study {name!r} searches another space: {'; '.join(found.refused)}; a study may only grow (wider ranges, "
            f"more choices, more start points, a larger budget): {way_out}"
        )
    return (
        f"study {name!r} searches a narrower space ({'; '.join(map(str, found.grew))}); let it grow with --grow, or "
        f"{way_out}"
    )
