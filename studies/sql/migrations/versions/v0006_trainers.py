"""The versions of the trainer that gave a study its results."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0006", "0005"
branch_labels = depends_on = None


def upgrade() -> None:
    """Adds one column, null in existing rows."""
    op.add_column("tuner_studies", sa.Column("trainers", sa.JSON(), nullable=True))
