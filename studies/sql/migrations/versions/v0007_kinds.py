"""The kind of a failure, and the number of threads a backbone was trained on.

Earlier releases parsed both from text for people. This step parses those texts for the last time.
"""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0007", "0006"
branch_labels = depends_on = None

_PREFIXES = {"the worker process died": "worker_died", "not run": "not_run"}
_CPU = re.compile(r"cpu \((\d+) threads\)")


def upgrade() -> None:
    """Adds three columns and fills them from the texts."""
    for table in ("tuner_jobs", "tuner_trials"):
        op.add_column(table, sa.Column("failure", sa.String(16), nullable=True))
        _fill_kinds(sa.table(table, sa.column("reason"), sa.column("failure")))
    op.add_column("tuner_backbones", sa.Column("threads", sa.Integer(), nullable=True))
    _fill_threads(sa.table("tuner_backbones", sa.column("device"), sa.column("threads")))


def _fill_kinds(rows: sa.TableClause) -> None:
    reason = rows.c.reason
    op.execute(rows.update().where(reason.is_not(None)).values(failure="unknown"))
    for prefix, kind in _PREFIXES.items():
        op.execute(rows.update().where(reason.startswith(prefix)).values(failure=kind))


def _fill_threads(rows: sa.TableClause) -> None:
    devices = op.get_bind().scalars(sa.select(rows.c.device).distinct()).all()
    for device in devices:
        if found := _CPU.fullmatch(device):
            op.execute(rows.update().where(rows.c.device == device).values(threads=int(found[1])))
