"""Spreads that are even, and levels gone through to the last point."""

from __future__ import annotations

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.search.points import Level, combinations, sobol_points


def test_a_spread_reaches_every_part_and_goes_on_where_it_stopped() -> None:
    level = Level({"stage1.lr": FloatDistribution(0.0, 1.0), "stage1.tau": FloatDistribution(0.0, 1.0)})
    points = sobol_points(level, seed=3, first=0, count=16, context={})
    places = {(int(4 * x), int(4 * y)) for x, y in (level.place(point) for point in points)}
    assert len(places) == 16  # one point in each of 4 x 4 squares, as a Sobol sequence promises
    assert sobol_points(level, seed=3, first=5, count=4, context={}) == points[5:9]
    assert sobol_points(level, seed=4, first=5, count=4, context={}) != points[5:9]


def test_combinations_are_all_there_once() -> None:
    full = {"stage2.method": CategoricalDistribution(("crt", "lws")), "stage2.epochs": IntDistribution(1, 3)}
    level = Level(full, lambda name, params: name != "stage2.epochs" or params["stage2.method"] == "crt")
    assert combinations(level, {}) == [
        {"stage2.method": "crt", "stage2.epochs": 1},
        {"stage2.method": "crt", "stage2.epochs": 2},
        {"stage2.method": "crt", "stage2.epochs": 3},
        {"stage2.method": "lws"},
    ]


def test_a_range_without_steps_cannot_be_listed() -> None:
    level = Level({"stage2.lr": FloatDistribution(0.1, 1.0)})
    with pytest.raises(ValueError, match=r"stage2\.lr is a range; use choices or a step"):
        combinations(level, {})
