"""Trials that wait to be tried: Optuna's own queue, filled by `tuner enqueue` and by Optuna's `enqueue_trial`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from studies.records import WaitingRow
from studies.sql import optuna_rows
from studies.sql.nan_guard import readable
from studies.sql.optuna_rows import TRIALS
from studies.sql.tables import TrialTable
from trainers.config import Scalar

SYSTEM = models.TrialSystemAttributeModel.__table__.c
USER = models.TrialUserAttributeModel.__table__.c
_TRIALS = models.TrialModel.__table__

FIXED = "fixed_params"  # Optuna's name for the values of an enqueued trial
REFUSED = "refused"  # ours, of a trial that was enqueued but cannot be run: why


def read(session: Session, study_id: int) -> list[WaitingRow]:
    """Waiting trials in the order in which they were enqueued: one query if there are none."""
    waits = select(TRIALS.trial_id, TRIALS.number).where(
        TRIALS.study_id == study_id, TRIALS.state == TrialState.WAITING
    )
    numbers = {row.trial_id: row.number for row in session.execute(waits.order_by(TRIALS.number))}
    if not numbers:
        return []
    asked = select(SYSTEM.trial_id, SYSTEM.value_json).where(SYSTEM.trial_id.in_(numbers), SYSTEM.key == FIXED)
    fixed = {row.trial_id: json.loads(row.value_json) for row in session.execute(asked)}
    own = optuna_rows.read_params(session, study_id, state=TrialState.WAITING)  # of Optuna's `add_trial`
    return [
        WaitingRow(number=number, params={**own.get(trial_id, {}), **_mapping(fixed.get(trial_id, {}))})
        for trial_id, number in numbers.items()
    ]


def taken_up(session: Session, study_id: int) -> frozenset[int]:
    """Numbers of the trials whose points came from the queue."""
    asked = select(TRIALS.number).join(_TRIALS, TRIALS.trial_id == USER.trial_id)
    return frozenset(session.scalars(asked.where(TRIALS.study_id == study_id, USER.key == optuna_rows.ENQUEUED)))


def enqueue(session: Session, study_id: int, *, params: Mapping[str, Scalar]) -> int:
    """A waiting trial with these values, as Optuna's `enqueue_trial` writes it; returns its number.

    If the same point waits already, it returns that one's.
    """
    for row in read(session, study_id):
        if row.params == params:
            return row.number
    number = optuna_rows.next_number(session, study_id)
    trial = models.TrialModel(study_id=study_id, number=number, state=TrialState.WAITING)
    session.add(trial)
    session.flush()
    value = json.dumps(dict(params), allow_nan=False)
    session.add(models.TrialSystemAttributeModel(trial_id=trial.trial_id, key=FIXED, value_json=value))
    return number


def refuse(session: Session, study_id: int, *, number: int, reason: str) -> bool:
    """Fails a waiting trial, with the reason on its page in the dashboard; returns False if it waits no longer."""
    trial = optuna_rows.find_waiting(session, study_id, [number]).get(number)
    if trial is None:
        return False
    trial.state = TrialState.FAIL
    trial.datetime_start = trial.datetime_complete = datetime.now(UTC)
    optuna_rows.set_attributes(session, [(int(trial.trial_id), {REFUSED: readable(reason)})])
    return True


def count_others(session: Session, study_id: int) -> int:
    """Trials of other programs: neither run by the service, nor waiting, nor refused by it."""
    ours = select(TrialTable.trial_id)
    refused = select(USER.trial_id).where(USER.key == REFUSED)
    others = select(func.count(TRIALS.trial_id)).where(
        TRIALS.study_id == study_id,
        TRIALS.state != TrialState.WAITING,
        TRIALS.trial_id.not_in(ours),
        TRIALS.trial_id.not_in(refused),
    )
    return session.execute(others).scalar_one()


def _mapping(fixed: Any) -> Mapping[str, Any]:
    return fixed if isinstance(fixed, dict) else {FIXED: fixed}  # of a program that bent the rules; no such parameter
