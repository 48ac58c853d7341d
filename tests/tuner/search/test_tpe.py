"""Many proposals from one fit are what Optuna's TPE proposes, one at a time."""

from __future__ import annotations

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.search.lessons import Lesson
from tuner.search.points import Level, sobol_points
from tuner.search.samplers.tpe import fit

SPACE: dict[str, BaseDistribution] = {  # in alphabetical order, as Optuna goes through it
    "stage2.epochs": IntDistribution(1, 20),
    "stage2.loss": CategoricalDistribution(("ce", "cb_ce")),
    "stage2.lr": FloatDistribution(1e-3, 0.1, log=True),
}


def learned(count: int) -> list[Lesson]:
    points = sobol_points(Level(SPACE), seed=0, first=0, count=count, context={})
    return [Lesson(point, -abs(float(point["stage2.epochs"] or 0) - 12)) for point in points]


@pytest.mark.parametrize("seed", range(5))
def test_one_proposal_is_the_one_that_optuna_makes(seed: int) -> None:
    rows = learned(24)  # up to 24, Optuna lets all trials weigh the same; from 21 on, three count as good
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=0, n_ei_candidates=24)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.add_trials([optuna.create_trial(params=r.params, distributions=SPACE, value=r.value) for r in rows])  # type: ignore[arg-type]
    assert fit(rows, SPACE, seed=seed, candidates=24)(1) == [study.ask(SPACE).params]


def test_a_round_gathers_where_values_are_high_and_still_differs() -> None:
    drawn = fit(learned(64), SPACE, seed=0)(64)
    near = [abs(float(point["stage2.epochs"] or 0) - 12) <= 4 for point in drawn]
    assert sum(near) > 40  # 29 of 64 were a random draw
    assert len({point["stage2.lr"] for point in drawn}) == 64


def test_what_weighs_little_teaches_little() -> None:
    low = [Lesson(row.params, float(row.params["stage2.epochs"] or 0) <= 4) for row in learned(64)]
    high = [Lesson(row.params, float(row.params["stage2.epochs"] or 0) >= 17) for row in learned(64)]

    def epochs(low_weight: float, high_weight: float) -> float:
        weights = (low_weight, high_weight)
        pairs = zip(low, high, strict=True)
        rows = [Lesson(r.params, r.value, w) for pair in pairs for r, w in zip(pair, weights, strict=True)]
        return sum(float(point["stage2.epochs"] or 0) for point in fit(rows, SPACE, seed=1)(64)) / 64

    assert epochs(1.0, 0.01) < epochs(1.0, 1.0) - 2 < epochs(0.01, 1.0) - 4


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_handful_of_rows_is_enough(count: int) -> None:
    assert len(fit(learned(count), SPACE, seed=0)(4)) == 4


def test_values_are_plain_and_of_the_distributions_type() -> None:
    (point,) = fit(learned(30), SPACE, seed=0)(1)
    assert [type(value) for value in point.values()] == [int, str, float]
