"""Our tables beside Optuna's, in the same database and the same transactions.

Nothing that Optuna stores (number, state, value, parameters, times) is stored twice: `tuner_trials` extends its
`trials`, with the same key. A vector over classes is one JSON array, because it is always read whole, and one row per
class would mean millions. Foreign keys cascade (in SQLite, triggers), so that deleting a study with Optuna's own tools
leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from optuna.storages._rdb import models as optuna_models
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    DateTime,
    Dialect,
    Enum,
    ForeignKey,
    MetaData,
    String,
    Text,
    TypeDecorator,
    UniqueConstraint,
    insert,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from studies.records import FailureKind, JobKind, JobState, StudyState
from trainers.config import ResolvedPrecision, Scalar
from trainers.results import Metrics

Config = dict[str, Scalar]

OPTUNA_STUDY = optuna_models.StudyModel.__table__.c.study_id
OPTUNA_TRIAL = optuna_models.TrialModel.__table__.c.trial_id


class Utc(TypeDecorator[datetime]):
    """An aware time, kept as naive UTC as Optuna keeps its own."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Aware time to naive UTC."""
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Naive UTC to aware time."""
        return None if value is None else value.replace(tzinfo=UTC)


class Base(DeclarativeBase):
    """The tables named `tuner_*`."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012
        datetime: Utc,
        FailureKind: Enum(
            FailureKind,
            native_enum=False,
            create_constraint=False,
            length=16,
            values_callable=lambda kinds: [kind.value for kind in kinds],
        ),
        Config: JSON,
        Metrics: JSON,
        list[int]: JSON,
        list[float]: JSON,
        list[str]: JSON,
        list[dict[str, Any]]: JSON,
    }


def _owned_by(column: Any) -> ForeignKey:
    return ForeignKey(column, ondelete="CASCADE")


class SchemaTable(Base):
    """One row: the version as the first releases read it; see `studies.sql.versions`."""

    __tablename__ = "tuner_schema"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False, default=1)
    version: Mapped[int]


OBJECTIVES = ", "  # between the objectives of a study


class StudyTable(Base):
    """Our half of a study; Optuna's row holds its name."""

    __tablename__ = "tuner_studies"

    study_id: Mapped[int] = mapped_column(_owned_by(OPTUNA_STUDY), primary_key=True, autoincrement=False)
    state: Mapped[StudyState] = mapped_column(String(16))
    stop_requested: Mapped[str | None] = mapped_column(String(16))
    space_yaml: Mapped[str] = mapped_column(Text)
    space_sha256: Mapped[str] = mapped_column(String(64))
    objective: Mapped[str] = mapped_column(String(128))  # several are joined by OBJECTIVES
    created: Mapped[datetime]
    data_fingerprint: Mapped[str | None] = mapped_column(String(128))
    class_names: Mapped[list[str]] = mapped_column(default=list)
    train_counts: Mapped[list[int]] = mapped_column(default=list)
    notes: Mapped[list[str]] = mapped_column(default=list)
    spent_seconds: Mapped[float | None]  # by drivers, in all
    trainers: Mapped[list[int] | None] = mapped_column(JSON)  # versions that gave its results, in order
    backbones_per_gpu: Mapped[int | None]  # that train at a time; None: one, as before the setting existed


class SpaceTable(Base):
    """One space of a study that grew; its own row holds the newest one, too."""

    __tablename__ = "tuner_spaces"

    study_id: Mapped[int] = mapped_column(_owned_by(StudyTable.study_id), primary_key=True, autoincrement=False)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # from 1
    first_trial: Mapped[int]  # the first number that may be drawn from it
    since: Mapped[datetime]
    driver: Mapped[str | None] = mapped_column(Text)  # that brought it; None: of the first one
    space_yaml: Mapped[str] = mapped_column(Text)
    space_sha256: Mapped[str] = mapped_column(String(64))
    grew: Mapped[list[str]]  # for people: what is wider than in the one before


class BackboneTable(Base):
    """One result of stage 1; one row per study, however many jobs use it."""

    __tablename__ = "tuner_backbones"
    __table_args__ = (UniqueConstraint("study_id", "fingerprint"),)

    backbone_id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(_owned_by(StudyTable.study_id))
    fingerprint: Mapped[str] = mapped_column(String(128))
    backbone_index: Mapped[int]
    kind: Mapped[JobKind] = mapped_column(String(16))
    config: Mapped[Config]
    data_fingerprint: Mapped[str] = mapped_column(String(128))
    train_counts: Mapped[list[int]]
    metrics: Mapped[Metrics]
    norms: Mapped[list[float]]
    parameters: Mapped[int] = mapped_column(BigInteger)
    device: Mapped[str] = mapped_column(Text)  # for people
    threads: Mapped[int | None]  # torch's on a CPU; None: a GPU
    precision: Mapped[ResolvedPrecision | None] = mapped_column(String(8))  # of stage 1; None: not recorded
    seconds: Mapped[float]
    cached: Mapped[bool]


class JobTable(Base):
    """One backbone and a batch of heads to train. `token` makes a retried insert harmless."""

    __tablename__ = "tuner_jobs"

    job_id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(_owned_by(StudyTable.study_id), index=True)
    token: Mapped[str] = mapped_column(String(32), unique=True)
    kind: Mapped[JobKind] = mapped_column(String(16))
    state: Mapped[JobState] = mapped_column(String(16))
    backbone_index: Mapped[int]
    round: Mapped[int]
    attempts: Mapped[int] = mapped_column(default=1)
    reason: Mapped[str | None] = mapped_column(Text)  # for people
    failure: Mapped[FailureKind | None]
    backbone_id: Mapped[int | None] = mapped_column(ForeignKey(BackboneTable.backbone_id, ondelete="SET NULL"))
    created: Mapped[datetime]
    finished: Mapped[datetime | None]


class TrialTable(Base):
    """Our half of an Optuna trial."""

    __tablename__ = "tuner_trials"

    trial_id: Mapped[int] = mapped_column(_owned_by(OPTUNA_TRIAL), primary_key=True, autoincrement=False)
    job_id: Mapped[int] = mapped_column(_owned_by(JobTable.job_id), index=True)
    position: Mapped[int]  # among the heads of its job, from 0
    role: Mapped[str] = mapped_column(String(64))
    config: Mapped[Config]
    metrics: Mapped[Metrics] = mapped_column(default=dict)
    norms: Mapped[list[float]] = mapped_column(default=list)
    temperature: Mapped[float | None]
    notes: Mapped[list[str]] = mapped_column(default=list)
    reason: Mapped[str | None] = mapped_column(Text)  # for people
    failure: Mapped[FailureKind | None]
    seconds: Mapped[float | None]


class EpochTable(Base):
    """The measures of one epoch, of a backbone (stage 1) or of a trial (stage 2)."""

    __tablename__ = "tuner_epochs"
    __table_args__ = (CheckConstraint("(backbone_id IS NULL) <> (trial_id IS NULL)", name="one_owner"),)

    epoch_id: Mapped[int] = mapped_column(primary_key=True)
    backbone_id: Mapped[int | None] = mapped_column(_owned_by(BackboneTable.backbone_id), index=True)
    trial_id: Mapped[int | None] = mapped_column(_owned_by(TrialTable.trial_id), index=True)
    epoch: Mapped[int]  # from 1
    metrics: Mapped[Metrics]
    norms: Mapped[list[float] | None]  # (C,) of the classifier, at validated epochs of stage 1


class ClassTable(Base):
    """How one trial classified one split, class by class; training counts are its backbone's, norms the trial's."""

    __tablename__ = "tuner_classes"

    trial_id: Mapped[int] = mapped_column(_owned_by(TrialTable.trial_id), primary_key=True, autoincrement=False)
    split: Mapped[str] = mapped_column(String(16), primary_key=True)
    correct: Mapped[list[int]]  # (C,)
    total: Mapped[list[int]]  # (C,)


class PosthocTable(Base):
    """One post-hoc classifier of one backbone."""

    __tablename__ = "tuner_posthoc"

    posthoc_id: Mapped[int] = mapped_column(primary_key=True)
    backbone_id: Mapped[int] = mapped_column(_owned_by(BackboneTable.backbone_id), index=True)
    config: Mapped[Config]
    metrics: Mapped[Metrics]
    norms: Mapped[list[float]]


class ProgressTable(Base):
    """The driver's progress, for watchers only: nothing is derived from it."""

    __tablename__ = "tuner_progress"

    study_id: Mapped[int] = mapped_column(_owned_by(StudyTable.study_id), primary_key=True, autoincrement=False)
    updated: Mapped[datetime]
    seconds_left: Mapped[float | None]
    running: Mapped[list[dict[str, Any]]]  # records.RunningRow


class ReadingTable(Base):
    """One reading of test data."""

    __tablename__ = "tuner_readings"
    __table_args__ = (UniqueConstraint("study_id", "role", "config_sha256"),)

    reading_id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(_owned_by(StudyTable.study_id))
    role: Mapped[str] = mapped_column(String(64))
    config_sha256: Mapped[str] = mapped_column(String(64))
    config: Mapped[Config]
    metrics: Mapped[Metrics]
    norms: Mapped[list[float]]
    train_counts: Mapped[list[int]]
    correct: Mapped[list[int]]  # of test, as `total`
    total: Mapped[list[int]]
    temperature: Mapped[float]
    trial_id: Mapped[int | None] = mapped_column(ForeignKey(TrialTable.trial_id, ondelete="SET NULL"))
    backbone: Mapped[str | None] = mapped_column(String(128))
    precision: Mapped[ResolvedPrecision | None] = mapped_column(String(8))  # of the backbone
    read_at: Mapped[datetime]


def insert_rows(session: Session, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Adds rows to one of these tables or of Optuna's in one statement; none for no rows."""
    rows = list(rows)
    if rows:
        session.execute(insert(table), rows)
