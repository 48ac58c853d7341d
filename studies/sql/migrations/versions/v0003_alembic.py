"""Alembic keeps the revisions from here on. The old version number stays, so that older releases do not write."""

from __future__ import annotations

from alembic import op

revision, down_revision = "0003", "0002"
branch_labels = depends_on = None


def upgrade() -> None:
    """Sets the number above every one that a release accepts."""
    op.execute("UPDATE tuner_schema SET version = 3")
