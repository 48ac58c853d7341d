"""The tables of the first release."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None
branch_labels = depends_on = None


def upgrade() -> None:
    """Makes them, in the order of their keys."""
    for make in (_schema, _studies, _backbones, _jobs, _trials, _epochs, _classes, _posthoc, _readings):
        make()


def _schema() -> None:
    op.create_table(
        "tuner_schema",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_tuner_schema_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tuner_schema")),
    )
    op.execute("INSERT INTO tuner_schema (id, version) VALUES (1, 1)")


def _studies() -> None:
    op.create_table(
        "tuner_studies",
        sa.Column("study_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("stop_requested", sa.String(length=16), nullable=True),
        sa.Column("space_yaml", sa.Text(), nullable=False),
        sa.Column("space_sha256", sa.String(length=64), nullable=False),
        sa.Column("objective", sa.String(length=128), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=128), nullable=True),
        sa.Column("class_names", sa.JSON(), nullable=False),
        sa.Column("train_counts", sa.JSON(), nullable=False),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["studies.study_id"], name=op.f("fk_tuner_studies_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_tuner_studies")),
    )


def _backbones() -> None:
    op.create_table(
        "tuner_backbones",
        sa.Column("backbone_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("fingerprint", sa.String(length=128), nullable=False),
        sa.Column("backbone_index", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("data_fingerprint", sa.String(length=128), nullable=False),
        sa.Column("train_counts", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("norms", sa.JSON(), nullable=False),
        sa.Column("parameters", sa.BigInteger(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("cached", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["tuner_studies.study_id"], name=op.f("fk_tuner_backbones_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("backbone_id", name=op.f("pk_tuner_backbones")),
        sa.UniqueConstraint("study_id", "fingerprint", name=op.f("uq_tuner_backbones_study_id_fingerprint")),
    )


def _jobs() -> None:
    op.create_table(
        "tuner_jobs",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("backbone_index", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("backbone_id", sa.Integer(), nullable=True),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("finished", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["backbone_id"],
            ["tuner_backbones.backbone_id"],
            name=op.f("fk_tuner_jobs_backbone_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["study_id"], ["tuner_studies.study_id"], name=op.f("fk_tuner_jobs_study_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_tuner_jobs")),
        sa.UniqueConstraint("token", name=op.f("uq_tuner_jobs_token")),
    )
    op.create_index(op.f("ix_tuner_jobs_study_id"), "tuner_jobs", ["study_id"], unique=False)


def _trials() -> None:
    op.create_table(
        "tuner_trials",
        sa.Column("trial_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("norms", sa.JSON(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=True),
        sa.Column("notes", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("seconds", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["tuner_jobs.job_id"], name=op.f("fk_tuner_trials_job_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["trials.trial_id"], name=op.f("fk_tuner_trials_trial_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", name=op.f("pk_tuner_trials")),
    )
    op.create_index(op.f("ix_tuner_trials_job_id"), "tuner_trials", ["job_id"], unique=False)


def _epochs() -> None:
    op.create_table(
        "tuner_epochs",
        sa.Column("epoch_id", sa.Integer(), nullable=False),
        sa.Column("backbone_id", sa.Integer(), nullable=True),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.CheckConstraint("(backbone_id IS NULL) <> (trial_id IS NULL)", name=op.f("ck_tuner_epochs_one_owner")),
        sa.ForeignKeyConstraint(
            ["backbone_id"],
            ["tuner_backbones.backbone_id"],
            name=op.f("fk_tuner_epochs_backbone_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["tuner_trials.trial_id"], name=op.f("fk_tuner_epochs_trial_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("epoch_id", name=op.f("pk_tuner_epochs")),
    )
    op.create_index(op.f("ix_tuner_epochs_backbone_id"), "tuner_epochs", ["backbone_id"], unique=False)
    op.create_index(op.f("ix_tuner_epochs_trial_id"), "tuner_epochs", ["trial_id"], unique=False)


def _classes() -> None:
    op.create_table(
        "tuner_classes",
        sa.Column("trial_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("split", sa.String(length=16), nullable=False),
        sa.Column("correct", sa.JSON(), nullable=False),
        sa.Column("total", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["tuner_trials.trial_id"], name=op.f("fk_tuner_classes_trial_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("trial_id", "split", name=op.f("pk_tuner_classes")),
    )


def _posthoc() -> None:
    op.create_table(
        "tuner_posthoc",
        sa.Column("posthoc_id", sa.Integer(), nullable=False),
        sa.Column("backbone_id", sa.Integer(), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("norms", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["backbone_id"],
            ["tuner_backbones.backbone_id"],
            name=op.f("fk_tuner_posthoc_backbone_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("posthoc_id", name=op.f("pk_tuner_posthoc")),
    )
    op.create_index(op.f("ix_tuner_posthoc_backbone_id"), "tuner_posthoc", ["backbone_id"], unique=False)


def _readings() -> None:
    op.create_table(
        "tuner_readings",
        sa.Column("reading_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=64), nullable=False),
        sa.Column("config_sha256", sa.String(length=64), nullable=False),
        sa.Column("config", sa.JSON(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("norms", sa.JSON(), nullable=False),
        sa.Column("train_counts", sa.JSON(), nullable=False),
        sa.Column("correct", sa.JSON(), nullable=False),
        sa.Column("total", sa.JSON(), nullable=False),
        sa.Column("temperature", sa.Double(), nullable=False),
        sa.Column("trial_id", sa.Integer(), nullable=True),
        sa.Column("backbone", sa.String(length=128), nullable=True),
        sa.Column("read_at", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["study_id"], ["tuner_studies.study_id"], name=op.f("fk_tuner_readings_study_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["trial_id"], ["tuner_trials.trial_id"], name=op.f("fk_tuner_readings_trial_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("reading_id", name=op.f("pk_tuner_readings")),
        sa.UniqueConstraint(
            "study_id", "role", "config_sha256", name=op.f("uq_tuner_readings_study_id_role_config_sha256")
        ),
    )
