"""Writes into a study. Each function runs in the caller's transaction and may be retried."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from search_spaces import loads
from search_spaces.objectives import is_minimised, measure, value_of
from studies.errors import ResultError, StudyMismatchError
from studies.records import Failure, FailureKind, HeadRequest, JobKind
from studies.sql import optuna_rows, reads, spaces, versions
from studies.sql.nan_guard import NO_NORMS, all_finite, finite, finite_or_none, readable, sound
from studies.sql.optuna_rows import TRIALS, Ended
from studies.sql.tables import (
    OBJECTIVES,
    BackboneTable,
    ClassTable,
    Config,
    EpochTable,
    JobTable,
    PosthocTable,
    ReadingTable,
    StudyTable,
    TrialTable,
    insert_rows,
)
from trainers.config import Scalar
from trainers.results import BackboneResult, EpochResult, HeadFailure, HeadResult, JobResult

_ASIDE: tuple[JobKind, ...] = ("baseline", "confirm")  # kinds of jobs whose backbones no search proposed
DASHBOARD_METRICS = ("val.many", "val.medium", "val.few", "norm.slope")  # Optuna's page shows them beside the value


def make_or_find_study(
    session: Session,
    name: str,
    *,
    space_yaml: str,
    space_sha256: str,
    objective: str | Sequence[str],
    grow: bool = False,
    data_fingerprint: str | None = None,
) -> int:
    """Makes the study, or finds it and stores the newer text of the same space, or with `grow` of a wider one.

    Raises StudyMismatchError, also for a known `data_fingerprint` that is not the study's.
    """
    versions.take_turns(session.connection())
    study_id = optuna_rows.find_study_id(session, name)
    if study_id is None:
        objectives = (objective,) if isinstance(objective, str) else objective
        study_id = optuna_rows.create_study(session, name, objectives=objectives)
        # SQLite may reuse the id of a deleted study whose row of ours remained, for want of foreign keys
        session.execute(delete(StudyTable).where(StudyTable.study_id == study_id))
        session.add(
            StudyTable(
                study_id=study_id,
                state="running",
                space_yaml=space_yaml,
                space_sha256=space_sha256,
                objective=OBJECTIVES.join(objectives),
                created=datetime.now(UTC),
            )
        )
        return study_id
    study = session.get(StudyTable, study_id)
    if study is None:
        raise StudyMismatchError(
            f"study {name!r} was made by another program with Optuna; choose another name with --name"
        )
    _refuse_other_data(study, name, data_fingerprint)
    if study.space_sha256 != space_sha256:
        spaces.grow(session, study, name, space_yaml=space_yaml, space_sha256=space_sha256, asked=grow)
    _refuse_one_length(study, name, space_yaml)
    study.space_yaml = space_yaml  # budgets may differ
    return study_id


def _refuse_one_length(study: StudyTable, name: str, space_yaml: str) -> None:
    """Short trainings would count as full ones."""
    if "\nfidelity:" in study.space_yaml and not loads(space_yaml).ladder:
        raise StudyMismatchError(
            f"study {name} has schedules of several lengths, and cannot go on without fidelity; give it with: tuner "
            f"resume {name}, or start another study with --name"
        )


def _refuse_other_data(study: StudyTable, name: str, fingerprint: str | None) -> None:
    known = study.data_fingerprint
    if fingerprint is not None and known not in (None, fingerprint):
        raise StudyMismatchError(
            f"study {name} was made on other images (fingerprint {str(known)[:12]}, now {fingerprint[:12]}); bring the "
            "data back, or start another study with --name"
        )


def record_job(
    session: Session,
    study_id: int,
    *,
    token: str,
    kind: JobKind,
    backbone_index: int,
    round: int,
    heads: Sequence[HeadRequest],
) -> int:
    """Writes a job and its RUNNING trials, once per token; returns its id. Raises ValueError for bad parameters."""
    known = session.execute(select(JobTable.job_id).where(JobTable.token == token)).scalar_one_or_none()
    if known is not None:
        return known
    now = datetime.now(UTC)
    shown = {"backbone": backbone_index, "round": round}
    ids = optuna_rows.start_trials(session, study_id, heads, now=now, attributes=shown)
    job = JobTable(
        study_id=study_id,
        token=token,
        kind=kind,
        state="running",
        backbone_index=backbone_index,
        round=round,
        created=now,
    )
    session.add(job)
    session.flush()
    session.add_all(
        TrialTable(trial_id=trial_id, job_id=job.job_id, position=position, role=head.role, config=dict(head.config))
        for position, (trial_id, head) in enumerate(zip(ids, heads, strict=True))
    )
    return job.job_id


def finish_job(session: Session, study_id: int, job_id: int, result: JobResult) -> bool:
    """Writes a job's result; writes nothing and returns False if the job has already ended. Raises ResultError."""
    job = find_job(session, study_id, job_id)
    if job.state != "running":
        return False
    now = datetime.now(UTC)
    study = reads.find_study(session, study_id)
    if not all_finite(result.backbone.norms):
        return fail_job(session, study_id, job_id, Failure(FailureKind.DIVERGED, f"the backbone's {NO_NORMS}"))
    rows = session.scalars(select(TrialTable).where(TrialTable.job_id == job_id).order_by(TrialTable.position)).all()
    heads = [sound(head) for head in result.heads]
    if len(heads) != len(rows):
        raise ResultError(f"job {job_id} asked for {len(rows)} heads, but its result holds {len(heads)}")
    job.backbone_id = _keep_backbone(session, study, job, result.backbone)
    objectives = study.objective.split(OBJECTIVES)
    ended = [_keep_head(row, head, objectives=objectives) for row, head in zip(rows, heads, strict=True)]
    optuna_rows.end_trials(session, ended, now=now)
    measured = [(row.trial_id, head) for row, head in zip(rows, heads, strict=True) if isinstance(head, HeadResult)]
    epochs = [row for trial_id, head in measured for row in _epoch_values(head.epochs, trial_id=trial_id)]
    classes = [row for trial_id, head in measured for row in _class_values(head, trial_id=trial_id)]
    insert_rows(session, EpochTable, epochs)
    insert_rows(session, ClassTable, classes)
    job.state, job.finished = "done", optuna_rows.not_before(job.created, now)
    return True


def fail_job(session: Session, study_id: int, job_id: int, failure: Failure) -> bool:
    """Fails a job and its RUNNING trials; writes nothing and returns False if the job has already ended."""
    job = find_job(session, study_id, job_id)
    if job.state != "running":
        return False
    now, reason = datetime.now(UTC), readable(failure.text)
    rows = session.scalars(select(TrialTable).where(TrialTable.job_id == job_id)).all()
    for row in rows:
        row.reason, row.failure = reason, failure.kind
    ended = [Ended(trial_id=row.trial_id, values=(), attributes={"reason": reason}) for row in rows]
    optuna_rows.end_trials(session, ended, now=now)
    job.state, job.reason, job.failure = "failed", reason, failure.kind
    job.finished = optuna_rows.not_before(job.created, now)
    return True


def find_job(session: Session, study_id: int, job_id: int) -> JobTable:
    """The job, locked until the transaction ends. Raises ResultError when the study has no such job."""
    job = session.execute(
        select(JobTable).where(JobTable.job_id == job_id, JobTable.study_id == study_id).with_for_update()
    ).scalar_one_or_none()
    if job is None:
        raise ResultError(f"the study has no job {job_id}")
    return job


def record_reading(
    session: Session,
    study_id: int,
    *,
    role: str,
    config: Mapping[str, Scalar],
    head: HeadResult | HeadFailure,
    backbone: BackboneResult,
    number: int | None,
) -> bool:
    """Writes a test reading, once per role and configuration. Raises ResultError for a failed or untested head."""
    if isinstance(head, HeadFailure):
        raise ResultError(f"the reading {role!r} gave no test results: {head.reason}")
    if "test" not in head.classes:
        raise ResultError(f"the reading {role!r} gave no test results: test was not read")
    if not all_finite([*head.norms, head.temperature]):
        raise ResultError(f"the reading {role!r} cannot be kept: its {NO_NORMS}, or its temperature is none")
    digest = hashlib.sha256(json.dumps(dict(config), sort_keys=True).encode()).hexdigest()
    same = (ReadingTable.study_id == study_id, ReadingTable.role == role, ReadingTable.config_sha256 == digest)
    if session.execute(select(ReadingTable.reading_id).where(*same)).first():
        return False
    of_number = select(TRIALS.trial_id).where(TRIALS.study_id == study_id, TRIALS.number == number)
    session.add(
        ReadingTable(
            study_id=study_id,
            role=role,
            config_sha256=digest,
            config=dict(config),
            metrics=finite(head.metrics),
            norms=list(head.norms),
            train_counts=list(backbone.train_counts),
            correct=list(head.classes["test"].correct),
            total=list(head.classes["test"].total),
            temperature=head.temperature,
            trial_id=None if number is None else session.execute(of_number).scalar_one(),
            backbone=backbone.fingerprint,
            precision=backbone.precision,
            read_at=datetime.now(UTC),
        )
    )
    return True


def _keep_backbone(session: Session, study: StudyTable, job: JobTable, found: BackboneResult) -> int:
    """Writes the backbone for the first job that uses it, and each job's post-hoc grid over the last; returns its id.

    If the search reaches a backbone of the naive baseline or of another seed, the row becomes the search's.
    """
    _learn(study, found)
    row = session.execute(
        select(BackboneTable).where(
            BackboneTable.study_id == study.study_id, BackboneTable.fingerprint == found.fingerprint
        )
    ).scalar_one_or_none()
    if row is None:
        row = _new_backbone(study.study_id, job, found)
        session.add(row)
        session.flush()
        insert_rows(session, EpochTable, _epoch_values(found.epochs, backbone_id=row.backbone_id))
    elif row.kind in _ASIDE and job.kind not in _ASIDE:
        row.kind, row.backbone_index = job.kind, job.backbone_index
    session.execute(delete(PosthocTable).where(PosthocTable.backbone_id == row.backbone_id))
    insert_rows(session, PosthocTable, _posthoc_values(found, backbone_id=row.backbone_id))
    return row.backbone_id


def _learn(study: StudyTable, found: BackboneResult) -> None:
    """Stores facts of the data from the first backbone, and a note when a later one has other data."""
    notes = [readable(note) for note in found.notes]
    if study.data_fingerprint is None:
        study.data_fingerprint = found.data_fingerprint
        study.class_names = list(found.class_names)
        study.train_counts = list(found.train_counts)
    elif study.data_fingerprint != found.data_fingerprint:
        notes.append(
            f"backbone {found.fingerprint[:12]} saw other data ({found.data_fingerprint[:12]}) than the "
            f"first one of the study ({study.data_fingerprint[:12]})"
        )
    study.notes = list(dict.fromkeys([*study.notes, *notes]))


def _new_backbone(study_id: int, job: JobTable, found: BackboneResult) -> BackboneTable:
    return BackboneTable(
        study_id=study_id,
        fingerprint=found.fingerprint,
        backbone_index=job.backbone_index,
        kind=job.kind,
        config=found.config,
        data_fingerprint=found.data_fingerprint,
        train_counts=list(found.train_counts),
        metrics=finite(found.metrics),
        norms=list(found.norms),
        parameters=found.parameters,
        device=found.device,
        threads=found.threads,
        seconds=found.seconds,
        cached=found.cached,
        precision=found.precision,
    )


def _keep_head(row: TrialTable, head: HeadResult | HeadFailure, *, objectives: Sequence[str]) -> Ended:
    """Writes a head into its trial; returns the trial's end: finite values, or a reason."""
    if isinstance(head, HeadFailure):
        kind = FailureKind.DIVERGED if head.diverged else FailureKind.REFUSED
        return _failed(row, Failure(kind, head.reason))
    row.metrics = finite(head.metrics)
    row.norms = list(head.norms)
    row.temperature = finite_or_none(head.temperature)
    row.seconds = head.seconds
    lost = [name for name, found in head.metrics.items() if found is not None and row.metrics[name] is None]
    row.notes = [*head.notes, *([f"not finite, so kept as none: {', '.join(lost)}"] if lost else [])]
    values = [value_of(name, row.metrics) for name in objectives]
    for name, value in zip(objectives, values, strict=True):
        if value is None:
            found, aim = head.metrics.get(measure(name), "missing"), "minimised" if is_minimised(name) else "maximised"
            text = f"{measure(name)} must be a finite number to be {aim}, but was {found}"
            return _failed(row, Failure(FailureKind.DIVERGED, text))
    shown = {name: row.metrics[name] for name in DASHBOARD_METRICS if row.metrics.get(name) is not None}
    return Ended(trial_id=row.trial_id, values=tuple(v for v in values if v is not None), attributes=shown)


def _failed(row: TrialTable, failure: Failure) -> Ended:
    row.reason, row.failure = readable(failure.text), failure.kind
    return Ended(trial_id=row.trial_id, values=(), attributes={"reason": row.reason})


def _epoch_values(
    epochs: Iterable[EpochResult], *, backbone_id: int | None = None, trial_id: int | None = None
) -> Iterable[dict[str, Any]]:
    for one in epochs:
        yield {
            "backbone_id": backbone_id,
            "trial_id": trial_id,
            "epoch": one.epoch,
            "metrics": finite(one.metrics),
            "norms": list(one.norms) if all_finite(one.norms) else [],
        }


def _class_values(head: HeadResult, *, trial_id: int) -> Iterable[dict[str, Any]]:
    for split, counts in head.classes.items():
        yield {
            "trial_id": trial_id,
            "split": split,
            "correct": list(counts.correct),
            "total": list(counts.total),
        }


def _posthoc_values(found: BackboneResult, *, backbone_id: int) -> Iterable[dict[str, Any]]:
    for head in found.posthoc:
        if all_finite(head.norms):
            whole: Config = {**found.config, **head.config}
            yield {
                "backbone_id": backbone_id,
                "config": whole,
                "metrics": finite(head.metrics),
                "norms": list(head.norms),
            }
