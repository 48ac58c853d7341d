"""The driver's progress: one row per study, which the driver overwrites and watchers read."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from studies.records import ProgressRow, RunningRow
from studies.sql.tables import ProgressTable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def write(session: Session, study_id: int, progress: ProgressRow) -> None:
    """Replaces the stored progress."""
    row = session.get(ProgressTable, study_id) or ProgressTable(study_id=study_id)
    row.updated, row.seconds_left = progress.updated, progress.seconds_left
    row.running = [dataclasses.asdict(job) for job in progress.running]
    session.add(row)


def read(session: Session, study_id: int) -> ProgressRow | None:
    """The stored progress; None when no driver has written any."""
    row = session.get(ProgressTable, study_id)
    if row is None:
        return None
    running = tuple(RunningRow(**job) for job in row.running)
    return ProgressRow(updated=row.updated, running=running, seconds_left=row.seconds_left)
