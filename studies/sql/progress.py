"""What a study's driver is at: one row, written now and then by the driver, read by those who look from outside."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from studies.records import ProgressRow, RunningRow
from studies.sql.tables import ProgressTable

if TYPE_CHECKING:
    from sqlalchemy.orm import Session


def write(session: Session, study_id: int, progress: ProgressRow) -> None:
    """Puts it in place of what was written before."""
    row = session.get(ProgressTable, study_id) or ProgressTable(study_id=study_id)
    row.updated, row.seconds_left = progress.updated, progress.seconds_left
    row.running = [dataclasses.asdict(job) for job in progress.running]
    session.add(row)


def read(session: Session, study_id: int) -> ProgressRow | None:
    """None when no driver has said anything yet."""
    row = session.get(ProgressTable, study_id)
    if row is None:
        return None
    running = tuple(RunningRow(**job) for job in row.running)
    return ProgressRow(updated=row.updated, running=running, seconds_left=row.seconds_left)
