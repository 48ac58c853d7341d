"""A study's running time, and the classifier's norms over the epochs of stage 1."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0005", "0004"
branch_labels = depends_on = None


def upgrade() -> None:
    """Adds two columns, null in existing rows."""
    op.add_column("tuner_studies", sa.Column("spent_seconds", sa.Double(), nullable=True))
    op.add_column("tuner_epochs", sa.Column("norms", sa.JSON(), nullable=True))
