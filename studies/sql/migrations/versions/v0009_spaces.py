"""The spaces of a study that grew."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0009", "0008"
branch_labels = depends_on = None


def upgrade() -> None:
    """Makes their table, empty: until now every study has one space."""
    op.create_table(
        "tuner_spaces",
        sa.Column("study_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("first_trial", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(), nullable=False),
        sa.Column("driver", sa.Text(), nullable=True),
        sa.Column("space_yaml", sa.Text(), nullable=False),
        sa.Column("space_sha256", sa.String(64), nullable=False),
        sa.Column("grew", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["tuner_studies.study_id"], name=op.f("fk_tuner_spaces_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_tuner_spaces")),
    )
    if op.get_bind().dialect.name == "sqlite":  # as in 0004: Optuna's connections enforce no foreign keys
        op.execute(
            "CREATE TRIGGER tuner_tuner_studies_of_tuner_spaces AFTER DELETE ON tuner_studies "
            "BEGIN DELETE FROM tuner_spaces WHERE study_id = OLD.study_id; END"
        )
