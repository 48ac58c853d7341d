"""Revisions are alembic's from here on. The number that stays behind keeps older releases from writing."""

from __future__ import annotations

from alembic import op

revision, down_revision = "0003", "0002"
branch_labels = depends_on = None


def upgrade() -> None:
    """Puts the number above all that were ever asked for."""
    op.execute("UPDATE tuner_schema SET version = 3")
