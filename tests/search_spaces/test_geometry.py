"""The unit cube and back, middles, ends and counts."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.geometry import (
    at,
    bounds,
    corners,
    edge,
    in_words,
    is_log,
    middle,
    share,
    size,
    value_count,
    values,
)

LOG, STEPPED, WHOLE = (
    FloatDistribution(1e-4, 0.2, log=True),
    FloatDistribution(0.1, 0.7, step=0.2),
    IntDistribution(0, 3),
)
CHOICES = CategoricalDistribution(("ce", None, 0.5))
DISTRIBUTIONS: list[BaseDistribution] = [
    LOG,
    STEPPED,
    CHOICES,
    FloatDistribution(-1.0, 3.0),
    FloatDistribution(0.5, 0.5),
    IntDistribution(1, 100, log=True),
    IntDistribution(5, 20, step=5),
]


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
@settings(deadline=None)  # a busy machine is no failure
@given(u=st.floats(0, 1))
def test_every_share_gives_a_value_of_the_distribution(distribution: BaseDistribution, u: float) -> None:
    value: Any = at(distribution, u)
    assert distribution._contains(distribution.to_internal_repr(value))
    assert at(distribution, share(distribution, value)) == pytest.approx(value)


@pytest.mark.parametrize("distribution", [STEPPED, WHOLE], ids=str)
def test_steps_have_equal_shares(distribution: BaseDistribution) -> None:
    found = [at(distribution, (i + 0.5) / 400) for i in range(400)]
    assert [found.count(value) for value in dict.fromkeys(found)] == [100] * 4


def test_the_middle_is_geometric_on_a_log_scale_and_the_first_choice() -> None:
    assert middle(FloatDistribution(1e-4, 1e-2, log=True)) == pytest.approx(1e-3)
    assert middle(CategoricalDistribution(("ce", "ldam"))) == "ce"


@pytest.mark.parametrize("distribution", DISTRIBUTIONS, ids=str)
def test_the_middle_is_a_value_of_the_space(distribution: BaseDistribution) -> None:
    if not math.isinf(value_count(distribution)):
        assert middle(distribution) in values(distribution)
    assert middle(IntDistribution(10, 40, step=10)) == 30


def test_finite_ranges_and_choices_are_counted_and_listed() -> None:
    assert values(STEPPED) == pytest.approx([0.1, 0.3, 0.5, 0.7])
    assert values(WHOLE) == [0, 1, 2, 3]
    single = FloatDistribution(0.5, 0.5)
    assert [value_count(one) for one in (LOG, STEPPED, WHOLE, CHOICES, single)] == [math.inf, 4, 4, 3, 1]
    assert size({"a": STEPPED, "b": CHOICES}) == 12
    assert size({}) == 1


def test_ends_are_known_of_ranges_alone() -> None:
    assert (bounds(LOG), bounds(WHOLE), bounds(CHOICES)) == ((1e-4, 0.2), (0, 3), None)
    assert [is_log(one) for one in (LOG, WHOLE, CHOICES, None)] == [True, False, False, False]


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        (LOG, "0.0001 to 0.2, logarithmic"),
        (STEPPED, "0.1 to 0.7, step 0.2"),
        (FloatDistribution(0.0, 3.0, step=1.0), "0 to 3, step 1"),
        (WHOLE, "0 to 3"),
        (IntDistribution(10, 40, step=10), "10 to 40, step 10"),
        (CHOICES, "one of ce, None, 0.5"),
    ],
)
def test_a_range_has_one_wording(distribution: BaseDistribution, expected: str) -> None:
    assert in_words(distribution) == expected


@pytest.mark.parametrize(
    ("distribution", "value", "expected"),
    [
        (LOG, 1.2e-4, "low"),
        (LOG, 0.01, None),  # a twentieth of the range, but not of its logarithm
        (LOG, 0.19, "high"),
        (STEPPED, 0.1, "low"),  # the lowest value is at the edge, though its slot is a quarter of the range
        (STEPPED, 0.3, None),
        (IntDistribution(1, 8, log=True), 8, "high"),
        (CHOICES, "ce", None),
        (FloatDistribution(0.5, 0.5), 0.5, None),
    ],
)
def test_the_edge_is_where_the_lowest_and_the_highest_value_are(
    distribution: BaseDistribution, value: Any, expected: str | None
) -> None:
    assert edge(distribution, value, within=0.05) == expected


def test_corners_are_low_high_and_each_choice() -> None:
    assert corners({"a": WHOLE, "b": CategoricalDistribution((1, 2))}) == [
        {"a": 0, "b": 1},
        {"a": 3, "b": 2},
        {"a": 3, "b": 1},
        {"a": 3, "b": 2},
    ]
    assert corners({}) == [{}, {}]
