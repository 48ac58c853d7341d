"""Optuna's own rows, written in the caller's transaction.

Optuna's public API commits each trial, parameter and attribute on its own, but a job must be one transaction. So we use
its ORM models directly and follow its rules: a trial's number is the count of the study's earlier trials, taken under a
lock on the study's row; times are naive UTC. The tests compare with what Optuna itself reads.
"""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.study import StudyDirection
from optuna.trial import TrialState
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from search_spaces.objectives import is_minimised, label
from studies.records import HeadRequest
from studies.sql.tables import insert_rows
from trainers.config import Scalar

STUDIES = models.StudyModel.__table__.c
TRIALS = models.TrialModel.__table__.c
VALUES = models.TrialValueModel.__table__.c
PARAMS = models.TrialParamModel.__table__.c

ENQUEUED = "enqueued"  # our user attribute, of a trial with a point that somebody put into the queue

_to_json = functools.lru_cache(maxsize=256)(distribution_to_json)
_to_distribution = functools.lru_cache(maxsize=256)(json_to_distribution)


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a trial ended: COMPLETE with a finite value of each objective, or FAIL without."""

    trial_id: int
    values: tuple[float, ...]
    attributes: Mapping[str, Scalar] = field(default_factory=dict)  # few and small: the dashboard shows them all


def find_study_id(session: Session, name: str) -> int | None:
    """The study's id; None when there is none of that name."""
    return session.execute(select(STUDIES.study_id).where(STUDIES.study_name == name)).scalar_one_or_none()


def find_name(session: Session, study_id: int) -> str | None:
    """The study's name; None when there is no such study."""
    return session.execute(select(STUDIES.study_name).where(STUDIES.study_id == study_id)).scalar_one_or_none()


def set_study_name(session: Session, study_id: int, name: str) -> None:
    """Gives a study another name, which must be free."""
    session.execute(update(models.StudyModel).where(STUDIES.study_id == study_id).values(study_name=name))


def create_study(session: Session, name: str, *, objectives: Sequence[str]) -> int:
    """A study of these objectives; Optuna's plots show the names of their measures."""
    study = models.StudyModel(study_name=name)
    session.add(study)
    session.flush()
    session.add_all(
        models.StudyDirectionModel(
            study_id=study.study_id,
            direction=StudyDirection.MINIMIZE if is_minimised(name) else StudyDirection.MAXIMIZE,
            objective=place,
        )
        for place, name in enumerate(objectives)
    )
    names = [label(name) for name in objectives]
    session.add(
        models.StudySystemAttributeModel(
            study_id=study.study_id,
            key="study:metric_names",
            value_json=json.dumps(names),
        )
    )
    session.flush()
    return int(study.study_id)


def start_trials(
    session: Session, study_id: int, heads: Sequence[HeadRequest], *, now: datetime, attributes: Mapping[str, Scalar]
) -> list[int]:
    """One RUNNING trial a head, numbered in order; returns their ids. Raises ValueError for a bad parameter.

    A waiting trial becomes the head that names it. If another program has taken it meanwhile, the head gets a trial of
    its own.
    """
    params = [_internal(head) for head in heads]
    numbers = itertools.count(next_number(session, study_id))
    waiting = find_waiting(session, study_id, [head.enqueued for head in heads if head.enqueued is not None])
    trials = [
        waiting.get(head.enqueued) or models.TrialModel(study_id=study_id, number=next(numbers)) for head in heads
    ]
    for trial in trials:
        trial.state, trial.datetime_start = TrialState.RUNNING, now
    session.add_all(trials)
    session.flush()
    ids = [int(trial.trial_id) for trial in trials]
    if waiting:  # Optuna's `add_trial` may have given them parameters
        session.execute(delete(models.TrialParamModel.__table__).where(PARAMS.trial_id.in_(ids)))
    insert_rows(
        session,
        models.TrialParamModel,
        [{"trial_id": trial_id, **row} for trial_id, rows in zip(ids, params, strict=True) for row in rows],
    )
    shown = [{"role": head.role, **attributes, **_mark(head)} for head in heads]
    set_attributes(session, zip(ids, shown, strict=True))
    return ids


def _mark(head: HeadRequest) -> dict[str, Scalar]:
    return {} if head.enqueued is None else {ENQUEUED: True}


def next_number(session: Session, study_id: int) -> int:
    """The number of the study's next trial, counted under Optuna's own lock on its row of the study."""
    models.StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
    return session.execute(select(func.count(TRIALS.trial_id)).where(TRIALS.study_id == study_id)).scalar_one()


def find_waiting(session: Session, study_id: int, numbers: Sequence[int]) -> dict[int | None, models.TrialModel]:
    """Those of the trials that still wait, by number, locked until the transaction ends."""
    waits = (TRIALS.study_id == study_id, TRIALS.number.in_(numbers), TRIALS.state == TrialState.WAITING)
    rows = session.scalars(select(models.TrialModel).where(*waits).with_for_update()) if numbers else ()
    return {int(row.number): row for row in rows}


def end_trials(session: Session, ended: Iterable[Ended], *, now: datetime) -> None:
    """Ends those of the trials that are still RUNNING."""
    by_id = {end.trial_id: end for end in ended}
    running = session.scalars(
        select(models.TrialModel).where(TRIALS.trial_id.in_(list(by_id)), TRIALS.state == TrialState.RUNNING)
    ).all()
    ends = [by_id[int(trial.trial_id)] for trial in running]
    for trial, end in zip(running, ends, strict=True):
        trial.state = TrialState.COMPLETE if end.values else TrialState.FAIL
        trial.datetime_complete = not_before(trial.datetime_start, now)
    finite = models.TrialValueModel.TrialValueType.FINITE
    insert_rows(
        session,
        models.TrialValueModel,
        [
            {"trial_id": end.trial_id, "objective": place, "value": value, "value_type": finite}
            for end in ends
            for place, value in enumerate(end.values)
        ],
    )
    set_attributes(session, [(end.trial_id, end.attributes) for end in ends])
    session.flush()


def set_attributes(session: Session, rows: Iterable[tuple[int, Mapping[str, Scalar]]]) -> None:
    """Writes user attributes, in the place of those that another program has set under the same keys."""
    model, attributes = models.TrialUserAttributeModel, [(i, key, value) for i, of in rows for key, value in of.items()]
    ids, keys = ({row[place] for row in attributes} for place in (0, 1))
    columns = model.__table__.c
    if attributes:
        session.execute(delete(model.__table__).where(columns.trial_id.in_(ids), columns.key.in_(keys)))
    insert_rows(
        session,
        model,
        [{"trial_id": i, "key": key, "value_json": json.dumps(value, allow_nan=False)} for i, key, value in attributes],
    )


def not_before(began: datetime | None, now: datetime) -> datetime:
    """`now`, but never before `began`: the clock may have been set back."""
    return now if began is None else max(now, began.replace(tzinfo=UTC))


def read_params(session: Session, study_id: int, *, state: TrialState | None = None) -> dict[int, dict[str, Scalar]]:
    """Trial id to parameters, for all trials of the study, or for those in a state."""
    asked = (
        select(PARAMS.trial_id, PARAMS.param_name, PARAMS.param_value, PARAMS.distribution_json)
        .join(models.TrialModel, TRIALS.trial_id == PARAMS.trial_id)
        .where(TRIALS.study_id == study_id)
        .order_by(PARAMS.param_id)
    )
    rows = session.execute(asked if state is None else asked.where(TRIALS.state == state))
    params: dict[int, dict[str, Scalar]] = {}
    for trial_id, name, value, distribution in rows:
        params.setdefault(trial_id, {})[name] = _to_distribution(distribution).to_external_repr(value)
    return params


def _internal(head: HeadRequest) -> list[dict[str, Any]]:
    if head.params.keys() != head.distributions.keys():
        raise ValueError(
            "every parameter needs its distribution and the other way round, but got "
            f"{sorted(head.params)} and {sorted(head.distributions)}"
        )
    return [
        {
            "param_name": name,
            "param_value": _internal_value(name, value, head.distributions[name]),
            "distribution_json": _to_json(head.distributions[name]),
        }
        for name, value in head.params.items()
    ]


def _internal_value(name: str, value: Scalar, distribution: BaseDistribution) -> float:
    internal = distribution.to_internal_repr(value)
    if not distribution._contains(internal):
        raise ValueError(f"{name}: must lie in {distribution}, but got {value!r}")
    return internal
