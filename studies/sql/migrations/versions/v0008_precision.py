"""What a backbone computed in, and how many backbones train at a time on one GPU."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0008", "0007"
branch_labels = depends_on = None


def upgrade() -> None:
    """Adds three columns, null in existing rows."""
    for table in ("tuner_backbones", "tuner_readings"):
        op.add_column(table, sa.Column("precision", sa.String(8), nullable=True))
    op.add_column("tuner_studies", sa.Column("backbones_per_gpu", sa.Integer(), nullable=True))
