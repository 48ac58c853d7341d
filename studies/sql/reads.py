"""Queries that return the records of `studies.records`; their number does not grow with the trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, select
from sqlalchemy.orm import Session

from search_spaces.objectives import gains
from studies.errors import StudyNotFoundError
from studies.records import (
    BackboneRow,
    ClassRow,
    EpochRow,
    JobRow,
    JobState,
    PosthocRow,
    ReadingRow,
    StudyRow,
    TrialRow,
)
from studies.sql import optuna_rows
from studies.sql.optuna_rows import STUDIES, TRIALS, VALUES
from studies.sql.spaces import draws
from studies.sql.tables import (
    OBJECTIVES,
    OPTUNA_TRIAL,
    BackboneTable,
    ClassTable,
    EpochTable,
    JobTable,
    PosthocTable,
    ReadingTable,
    StudyTable,
    TrialTable,
)
from trainers.config import Scalar

DELETED = "the study was deleted or renamed while it was open; see what there is with: tuner status"
_OPTUNA_TRIALS, _OPTUNA_VALUES = OPTUNA_TRIAL.table, VALUES.trial_id.table


def our_study_names(connection: Connection) -> list[str]:
    """Names of our studies, in the order in which they were made."""
    ours = select(StudyTable.study_id)
    named = select(STUDIES.study_name).where(STUDIES.study_id.in_(ours)).order_by(STUDIES.study_id)
    return list(connection.scalars(named))


def find_study(session: Session, study_id: int, *, locked: bool = False) -> StudyTable:
    """Our row of the study; `locked` keeps other writers away until the transaction ends. Raises StudyNotFoundError."""
    row = session.get(StudyTable, study_id, with_for_update=locked)
    if row is None:
        raise StudyNotFoundError(DELETED)
    return row


def study(session: Session, study_id: int, *, name: str) -> StudyRow:
    """The study itself."""
    row = find_study(session, study_id)
    objective, *others = row.objective.split(OBJECTIVES)
    return StudyRow(
        name=name,
        state=row.state,
        space_yaml=row.space_yaml,
        space_sha256=row.space_sha256,
        objective=objective,
        others=tuple(others),
        created=row.created,
        data_fingerprint=row.data_fingerprint,
        class_names=tuple(row.class_names),
        train_counts=tuple(row.train_counts),
        notes=tuple(row.notes),
        spent_seconds=row.spent_seconds or 0.0,
        trainers=tuple(row.trainers or ()),
        backbones_per_gpu=row.backbones_per_gpu,
    )


def jobs(session: Session, study_id: int, *, state: JobState | None = None, job_id: int | None = None) -> list[JobRow]:
    """Jobs in the order of their creation; all, those in a state, or one."""
    asked = select(JobTable).where(JobTable.study_id == study_id).order_by(JobTable.job_id)
    if state is not None:
        asked = asked.where(JobTable.state == state)
    if job_id is not None:
        asked = asked.where(JobTable.job_id == job_id)
    heads: dict[int, list[tuple[int, Mapping[str, Scalar]]]] = {}
    selected = asked.with_only_columns(JobTable.job_id).order_by(None)
    for job, number, config in session.execute(
        select(TrialTable.job_id, TRIALS.number, TrialTable.config)
        .join(_OPTUNA_TRIALS, TRIALS.trial_id == TrialTable.trial_id)
        .where(TrialTable.job_id.in_(selected))
        .order_by(TrialTable.job_id, TrialTable.position)
    ):
        heads.setdefault(job, []).append((number, config))
    return [_job(row, heads.get(row.job_id, [])) for row in session.scalars(asked)]


def trials(session: Session, study_id: int) -> list[TrialRow]:
    """All trials by number: three queries, one more in a study that grew."""
    drawn = draws(session, study_id)
    params = optuna_rows.read_params(session, study_id)
    rows = session.execute(
        select(
            TrialTable.trial_id, TrialTable.role, TrialTable.config, TrialTable.metrics, TrialTable.norms,
            TrialTable.temperature, TrialTable.notes, TrialTable.reason, TrialTable.failure, TrialTable.seconds,
            TRIALS.number, TRIALS.state, TRIALS.datetime_start, TRIALS.datetime_complete, VALUES.value,
            JobTable.job_id, JobTable.backbone_index, JobTable.round, JobTable.created,
            BackboneTable.fingerprint, BackboneTable.precision, StudyTable.objective,
        )
        .join(JobTable, JobTable.job_id == TrialTable.job_id)
        .join(StudyTable, StudyTable.study_id == JobTable.study_id)
        .join(_OPTUNA_TRIALS, TRIALS.trial_id == TrialTable.trial_id)
        .outerjoin(_OPTUNA_VALUES, and_(VALUES.trial_id == TrialTable.trial_id, VALUES.objective == 0))
        .outerjoin(BackboneTable, BackboneTable.backbone_id == JobTable.backbone_id)
        .where(JobTable.study_id == study_id)
        .order_by(TRIALS.number)
    )  # fmt: skip
    return [_trial(row, params.get(row.trial_id, {}), space=drawn.space_of(row.number, row.created)) for row in rows]


def backbones(session: Session, study_id: int) -> list[BackboneRow]:
    """All backbones in the order in which they were recorded."""
    rows = session.scalars(
        select(BackboneTable).where(BackboneTable.study_id == study_id).order_by(BackboneTable.backbone_id)
    )
    return [
        BackboneRow(
            fingerprint=row.fingerprint,
            index=row.backbone_index,
            kind=row.kind,
            config=row.config,
            metrics=row.metrics,
            norms=tuple(row.norms),
            parameters=row.parameters,
            device=row.device,
            threads=row.threads,
            seconds=row.seconds,
            cached=row.cached,
            precision=row.precision,
        )
        for row in rows
    ]


def epochs(
    session: Session, study_id: int, *, number: int | None = None, backbone: str | None = None
) -> list[EpochRow]:
    """Epochs of all backbones and trials, or those of one trial or one backbone."""
    stage1 = (
        select(EpochTable.epoch, EpochTable.metrics, EpochTable.norms, BackboneTable.fingerprint)
        .join(BackboneTable, BackboneTable.backbone_id == EpochTable.backbone_id)
        .where(BackboneTable.study_id == study_id)
        .order_by(BackboneTable.backbone_id, EpochTable.epoch)
    )
    stage2 = (
        select(EpochTable.epoch, EpochTable.metrics, TRIALS.number)
        .join(_OPTUNA_TRIALS, TRIALS.trial_id == EpochTable.trial_id)
        .where(TRIALS.study_id == study_id)
        .order_by(TRIALS.number, EpochTable.epoch)
    )
    found: list[EpochRow] = []
    if number is None:
        of_backbones = stage1 if backbone is None else stage1.where(BackboneTable.fingerprint == backbone)
        found += [
            EpochRow(stage=1, epoch=epoch, metrics=metrics, norms=tuple(norms or ()), backbone=fingerprint)
            for epoch, metrics, norms, fingerprint in session.execute(of_backbones)
        ]
    if backbone is None:
        of_trials = stage2 if number is None else stage2.where(TRIALS.number == number)
        found += [EpochRow(stage=2, epoch=e, metrics=m, number=n) for e, m, n in session.execute(of_trials)]
    return found


def classes(session: Session, study_id: int, *, number: int | None = None) -> dict[int, list[ClassRow]]:
    """Trial number to its rows, split by split and class by class; for all trials, or for one."""
    asked = (
        select(
            TRIALS.number, ClassTable.split, BackboneTable.train_counts,
            ClassTable.correct, ClassTable.total, TrialTable.norms,
        )
        .join(_OPTUNA_TRIALS, TRIALS.trial_id == ClassTable.trial_id)
        .join(TrialTable, TrialTable.trial_id == ClassTable.trial_id)
        .join(JobTable, JobTable.job_id == TrialTable.job_id)
        .join(BackboneTable, BackboneTable.backbone_id == JobTable.backbone_id)
        .where(TRIALS.study_id == study_id)
        .order_by(TRIALS.number, ClassTable.split.desc())
    )  # fmt: skip
    found: dict[int, list[ClassRow]] = {}
    for of, split, *vectors in session.execute(asked if number is None else asked.where(TRIALS.number == number)):
        found.setdefault(of, []).extend(_class_rows(split, *vectors))
    return found


def posthoc(session: Session, study_id: int) -> list[PosthocRow]:
    """All post-hoc classifiers, backbone by backbone, in the order of their grid."""
    rows = session.execute(
        select(BackboneTable.fingerprint, PosthocTable.config, PosthocTable.metrics, PosthocTable.norms)
        .join(BackboneTable, BackboneTable.backbone_id == PosthocTable.backbone_id)
        .where(BackboneTable.study_id == study_id)
        .order_by(BackboneTable.backbone_id, PosthocTable.posthoc_id)
    )
    return [PosthocRow(backbone=f, config=c, metrics=m, norms=tuple(n)) for f, c, m, n in rows]


def readings(session: Session, study_id: int) -> list[ReadingRow]:
    """All readings of test data, in the order in which they were made."""
    rows = session.execute(
        select(ReadingTable, TRIALS.number)
        .outerjoin(_OPTUNA_TRIALS, TRIALS.trial_id == ReadingTable.trial_id)
        .where(ReadingTable.study_id == study_id)
        .order_by(ReadingTable.reading_id)
    )
    return [
        ReadingRow(
            role=row.role,
            config=row.config,
            metrics=row.metrics,
            classes=tuple(_class_rows("test", row.train_counts, row.correct, row.total, row.norms)),
            temperature=row.temperature,
            number=number,
            backbone=row.backbone,
            read_at=row.read_at,
            precision=row.precision,
        )
        for row, number in rows
    ]


def _job(row: JobTable, heads: Sequence[tuple[int, Mapping[str, Scalar]]]) -> JobRow:
    return JobRow(
        id=row.job_id,
        kind=row.kind,
        state=row.state,
        backbone_index=row.backbone_index,
        round=row.round,
        numbers=tuple(number for number, _ in heads),
        configs=tuple(config for _, config in heads),
        attempts=row.attempts,
        reason=row.reason,
        failure=row.failure,
    )


def _trial(row: Row[*tuple[Any, ...]], params: Mapping[str, Scalar], *, space: int) -> TrialRow:
    return TrialRow(
        number=row.number,
        state=row.state.name,
        value=row.value,
        params=params,
        config=row.config,
        metrics=row.metrics,
        role=row.role,
        job=row.job_id,
        backbone=row.fingerprint,
        backbone_index=row.backbone_index,
        round=row.round,
        temperature=row.temperature,
        norms=tuple(row.norms),
        notes=tuple(row.notes),
        reason=row.reason,
        failure=row.failure,
        seconds=row.seconds,
        started=_aware(row.datetime_start),
        finished=_aware(row.datetime_complete),
        precision=row.precision,
        others=gains(row.objective.split(OBJECTIVES)[1:], row.metrics) or (),
        space=space,
    )


def _class_rows(
    split: str, train_counts: Sequence[int], correct: Sequence[int], total: Sequence[int], norms: Sequence[float]
) -> list[ClassRow]:
    vectors = zip(train_counts, correct, total, norms, strict=True)  # four of (C,)
    return [
        ClassRow(class_index=index, split=split, train_count=n, correct=right, total=of, weight_norm=norm)
        for index, (n, right, of, norm) in enumerate(vectors)
    ]


def _aware(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)
