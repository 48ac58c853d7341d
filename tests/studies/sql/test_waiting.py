"""Trials that wait, in Optuna's own queue: enqueued, claimed by a job, refused, on each kind of database."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from studies.records import HeadRequest, WaitingRow
from studies.store import Store

Ask = Callable[..., HeadRequest]
POINT = {"stage1.lr": 0.05, "stage2.loss": "vs", "stage2.epochs": 3}


def theirs(store: Store) -> optuna.Study:
    """The study as another program sees it."""
    return optuna.load_study(study_name=store.name, storage=store.database.storage)


def record(store: Store, *heads: HeadRequest) -> tuple[int, ...]:
    return store.record_job("search", backbone_index=0, round=0, heads=heads).numbers


def test_the_queue_is_optunas_own(url: str, store: Store, ask: Ask) -> None:
    record(store, ask(0))
    with Store.open(url, "tail") as terminal:  # as `tuner enqueue` does
        assert terminal.enqueue(POINT) == 1
        assert terminal.enqueue(POINT) == 1  # as a repeated try does
    theirs(store).enqueue_trial({"stage1.lr": 0.1}, user_attrs={"memo": "a guess"})
    assert store.waiting() == [WaitingRow(number=1, params=POINT), WaitingRow(number=2, params={"stage1.lr": 0.1})]
    assert store.taken_up() == frozenset()
    assert (store.others_trials(), len(store.trials())) == (0, 1)
    asked = theirs(store).ask()  # another program may take it
    assert (asked.number, asked.suggest_float("stage1.lr", 1e-4, 1, log=True)) == (1, 0.05)
    assert [row.number for row in store.waiting()] == [2]
    assert store.others_trials() == 1


def test_a_job_takes_a_waiting_trial_with_its_number(store: Store, ask: Ask, answer: Any) -> None:
    number = store.enqueue(POINT)
    assert record(store, ask(0), replace(ask(1), enqueued=number), ask(2)) == (1, 0, 2)
    assert store.waiting() == []
    assert store.taken_up() == {0}
    trial = theirs(store).trials[0]
    assert trial.state is TrialState.RUNNING
    assert trial.datetime_start is not None
    assert trial.params == ask(1).params
    job = store.jobs()[0]
    assert store.finish_job(job.id, answer(job))
    assert [(row.number, row.state) for row in store.trials()] == [(n, "COMPLETE") for n in range(3)]
    assert store.enqueue(POINT) == 3


def test_what_another_program_took_or_wrote_meanwhile_stops_no_job(store: Store, ask: Ask, answer: Any) -> None:
    gone = store.enqueue({"stage1.lr": 0.2})
    assert theirs(store).ask().number == gone == 0
    attributes = {"role": "mine", "val.many": 1, "memo": "kept"}
    theirs(store).enqueue_trial(POINT, user_attrs=attributes)
    odd = optuna.trial.create_trial(
        state=TrialState.WAITING, params={"stage1.lr": 0.5}, distributions={"stage1.lr": FloatDistribution(0.1, 1)}
    )
    theirs(store).add_trial(odd)
    assert store.waiting()[1] == WaitingRow(number=2, params={"stage1.lr": 0.5})
    numbers = record(store, *(replace(ask(i), enqueued=number) for i, number in enumerate((1, 2, gone))))
    assert numbers == (1, 2, 3)  # the last one in a trial of its own
    assert store.taken_up() == {1, 2, 3}
    job = store.jobs()[0]
    store.finish_job(job.id, answer(job))
    trials = theirs(store).trials
    assert [trials[n].state for n in numbers] == [TrialState.COMPLETE] * 3
    assert [trials[n].params for n in numbers] == [ask(i).params for i in range(3)]
    assert trials[1].user_attrs["role"] == "search"
    assert trials[1].user_attrs["memo"] == "kept"


def test_a_refused_trial_fails_with_its_reason_and_is_nobody_elses(store: Store) -> None:
    theirs(store).enqueue_trial({"stage1.lr": [1, 2]})
    assert store.waiting()[0].params == {"stage1.lr": [1, 2]}
    assert store.refuse(0, "stage1.lr: must be one value, but got a list")
    assert not store.refuse(0, "again")
    trial = theirs(store).trials[0]
    assert trial.state is TrialState.FAIL
    assert trial.user_attrs == {"refused": "stage1.lr: must be one value, but got a list"}
    assert trial.datetime_complete is not None
    assert (store.waiting(), store.others_trials(), store.trials()) == ([], 0, [])


def test_whatever_is_in_the_queue_can_be_read(store: Store) -> None:
    study = theirs(store)
    study.enqueue_trial({"x": float("nan"), "y": None, "z": {"a": 1}})
    study.enqueue_trial({})
    study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING, system_attrs={"fixed_params": [1]}))
    study.add_trial(optuna.trial.create_trial(state=TrialState.WAITING))
    found = [row.params for row in store.waiting()]
    assert str(found[0]) == "{'x': nan, 'y': None, 'z': {'a': 1}}"
    assert found[1:] == [{}, {"fixed_params": [1]}, {}]
