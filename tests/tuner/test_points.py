"""The unit cube and back, and spreads that are even."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.points import Level, at, centre, combinations, share, size, spread

DISTRIBUTIONS: list[BaseDistribution] = [
    FloatDistribution(1e-4, 0.2, log=True),
    FloatDistribution(-1.0, 3.0),
    FloatDistribution(0.1, 0.7, step=0.2),
    FloatDistribution(0.5, 0.5),
    IntDistribution(1, 100, log=True),
    IntDistribution(5, 20, step=5),
    CategoricalDistribution(("ce", None, 0.5)),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
@settings(deadline=None)  # a busy machine is no failure
@given(u=st.floats(0, 1))
def test_every_share_gives_a_value_of_the_distribution(distribution: BaseDistribution, u: float) -> None:
    value: Any = at(distribution, u)
    assert distribution._contains(distribution.to_internal_repr(value))
    assert at(distribution, share(distribution, value)) == pytest.approx(value)


@pytest.mark.parametrize("distribution", [FloatDistribution(0.1, 0.7, step=0.2), IntDistribution(0, 3)], ids=str)
def test_steps_have_equal_shares(distribution: BaseDistribution) -> None:
    values = [at(distribution, (i + 0.5) / 400) for i in range(400)]
    assert [values.count(value) for value in dict.fromkeys(values)] == [100] * 4


def test_the_centre_is_geometric_on_a_log_scale_and_the_first_choice() -> None:
    assert centre(FloatDistribution(1e-4, 1e-2, log=True)) == pytest.approx(1e-3)
    assert centre(CategoricalDistribution(("ce", "ldam"))) == "ce"


def test_a_spread_reaches_every_part_and_goes_on_where_it_stopped() -> None:
    level = Level({"stage1.lr": FloatDistribution(0.0, 1.0), "stage1.tau": FloatDistribution(0.0, 1.0)})
    points = spread(level, seed=3, first=0, count=16, context={})
    places = {(int(4 * x), int(4 * y)) for x, y in (level.place(point) for point in points)}
    assert len(places) == 16  # one point in each of 4 x 4 squares, as a Sobol sequence promises
    assert spread(level, seed=3, first=5, count=4, context={}) == points[5:9]
    assert spread(level, seed=4, first=5, count=4, context={}) != points[5:9]


def test_combinations_are_all_there_once() -> None:
    full = {"stage2.method": CategoricalDistribution(("crt", "lws")), "stage2.epochs": IntDistribution(1, 3)}
    level = Level(full, lambda name, params: name != "stage2.epochs" or params["stage2.method"] == "crt")
    assert size(level) == 6
    assert combinations(level, {}) == [
        {"stage2.method": "crt", "stage2.epochs": 1},
        {"stage2.method": "crt", "stage2.epochs": 2},
        {"stage2.method": "crt", "stage2.epochs": 3},
        {"stage2.method": "lws"},
    ]


def test_a_range_without_steps_cannot_be_listed() -> None:
    level = Level({"stage2.lr": FloatDistribution(0.1, 1.0)})
    assert size(level) == float("inf")
    with pytest.raises(ValueError, match=r"stage2\.lr is a range; use choices or a step"):
        combinations(level, {})
