"""The driver's progress, for watchers."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"
branch_labels = depends_on = None


def upgrade() -> None:
    """Makes its table."""
    op.create_table(
        "tuner_progress",
        sa.Column("study_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.Column("seconds_left", sa.Double(), nullable=True),
        sa.Column("running", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["tuner_studies.study_id"], name=op.f("fk_tuner_progress_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_tuner_progress")),
    )
    op.execute("UPDATE tuner_schema SET version = 2")
