"""The time that a study has been run, and the classifier's norms over the epochs of stage 1."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0005", "0004"
branch_labels = depends_on = None


def upgrade() -> None:
    """Two columns; what was written before has neither."""
    op.add_column("tuner_studies", sa.Column("spent_seconds", sa.Double(), nullable=True))
    op.add_column("tuner_epochs", sa.Column("norms", sa.JSON(), nullable=True))
