"""A study of several objectives, as its rows and as Optuna sees it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from optuna.study import StudyDirection

from studies.records import JobRow, TrialRow
from studies.store import Store
from studies.study_data import best_trial, front_of
from trainers.results import HeadResult, JobResult

OBJECTIVES = ("val.balanced_accuracy", "val.few", "-norm.slope")
VALUES = [(0.8, 0.2, -0.4), (0.6, 0.5, 0.3), (0.5, 0.4, 0.3), (0.8, 0.2, 0.5), (0.1, 0.1, 0.05)]


@pytest.fixture
def three(url: str, new_store: Callable[..., Store]) -> Store:
    return new_store(url, objective=OBJECTIVES)


def finished(
    store: Store, record: Callable[..., JobRow], answer: Callable[..., JobResult], values: Any
) -> list[TrialRow]:
    job = record(store, heads=len(values))
    result = answer(job)
    for head, (accuracy, few, slope) in zip(result.heads, values, strict=True):
        assert isinstance(head, HeadResult)
        head.metrics.update({"val.balanced_accuracy": accuracy, "val.few": few, "norm.slope": slope})
    store.finish_job(job.id, result)
    return store.trials()


def test_optuna_sees_directions_values_and_the_same_front(
    three: Store, record: Callable[..., JobRow], answer: Callable[..., JobResult]
) -> None:
    rows = finished(three, record, answer, VALUES)
    seen = three.optuna_study()
    assert seen.directions == [StudyDirection.MAXIMIZE, StudyDirection.MAXIMIZE, StudyDirection.MINIMIZE]
    assert seen.metric_names == ["val.balanced_accuracy", "val.few", "|norm.slope|"]
    assert [trial.values for trial in seen.trials] == [[a, few, abs(slope)] for a, few, slope in VALUES]
    assert {trial.number for trial in seen.best_trials} == {row.number for row in front_of(rows)} == {0, 1, 4}


def test_the_rows_hold_all_objectives_once(
    three: Store, record: Callable[..., JobRow], answer: Callable[..., JobResult]
) -> None:
    rows = finished(three, record, answer, VALUES)
    assert [row.gains for row in rows] == [(a, few, -abs(slope)) for a, few, slope in VALUES]
    study = three.study()
    assert (study.objective, study.objectives) == ("val.balanced_accuracy", OBJECTIVES)


def test_the_chosen_trial_is_the_one_of_the_front_with_the_highest_first_objective(
    three: Store, record: Callable[..., JobRow], answer: Callable[..., JobResult]
) -> None:
    rows = finished(three, record, answer, VALUES)
    assert [row.number for row in front_of(rows)] == [0, 1, 4]
    assert best_trial(rows) == rows[0]
    assert best_trial(reversed(rows)) == rows[0]


@pytest.mark.parametrize(("place", "value"), [(0, None), (1, None), (1, math.nan), (2, math.inf)])
def test_a_trial_is_complete_only_when_all_objectives_are_finite(
    three: Store, record: Callable[..., JobRow], answer: Callable[..., JobResult], place: int, value: float | None
) -> None:
    broken: list[float | None] = [0.8, 0.2, 0.4]
    broken[place] = value
    failed, good = finished(three, record, answer, [broken, (0.6, 0.5, 0.3)])
    assert (failed.state, failed.value, failed.gains, good.state) == ("FAIL", None, (), "COMPLETE")
    aim = "minimised" if place == 2 else "maximised"
    assert f"{OBJECTIVES[place].removeprefix('-')} must be a finite number to be {aim}" in str(failed.reason)
    assert [trial.number for trial in three.optuna_study().best_trials] == [1]


def test_one_objective_is_written_as_before(
    store: Store, record: Callable[..., JobRow], answer: Callable[..., JobResult]
) -> None:
    rows = finished(store, record, answer, VALUES)
    assert [row.gains for row in rows] == [(a,) for a, _, _ in VALUES]
    assert store.study().objectives == ("val.balanced_accuracy",)
    assert store.optuna_study().direction == StudyDirection.MAXIMIZE
    assert [trial.values for trial in store.optuna_study().trials] == [[a] for a, _, _ in VALUES]
    assert best_trial(rows) == rows[0]
