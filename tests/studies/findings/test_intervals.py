"""Intervals hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest

from studies.findings.intervals import Interval, group_of, group_recalls, independent_difference, mean_recall, wilson
from studies.records import ClassRow


def rows(*pairs, train=50):
    return [
        ClassRow(class_index=i, split="test", train_count=train, correct=c, total=t, weight_norm=1.0)
        for i, (c, t) in enumerate(pairs)
    ]


def test_wilson_agrees_with_the_published_example():
    found = wilson(81, 263)  # Newcombe 1998, table I: 0.2553 to 0.3662
    assert found == pytest.approx((81 / 263, 0.2553, 0.3662), abs=5e-5)


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (10, 10), (1, 1), (3, 7)])
def test_the_estimate_lies_inside_and_more_images_are_surer(correct, total):
    small, large = wilson(correct, total), wilson(10 * correct, 10 * total)
    assert 0 <= small.low <= small.value <= small.high <= 1
    assert large.high - large.low < small.high - small.low


def test_no_images_is_told():
    with pytest.raises(ValueError, match="total=0"):
        wilson(0, 0)


def test_one_class_is_wilsons_and_empty_classes_do_not_count():
    assert mean_recall(rows((7, 10))) == pytest.approx(wilson(7, 10))
    assert mean_recall(rows((7, 10), (0, 0))) == mean_recall(rows((7, 10)))
    assert mean_recall(rows((0, 0))) is None


def test_the_interval_covers_the_truth_in_about_95_of_100():
    rng = np.random.default_rng(0)
    truth = np.linspace(0.3, 0.98, 10)
    hits = 0
    for _ in range(1000):
        found = mean_recall(rows(*((int(c), 40) for c in rng.binomial(40, truth))))
        hits += found.low <= truth.mean() <= found.high
    assert 930 <= hits <= 985


def test_a_difference_turns_its_sign_with_its_order():
    a, b = Interval(0.8, 0.75, 0.84), Interval(0.6, 0.52, 0.67)
    forward, back = independent_difference(a, b), independent_difference(b, a)
    assert forward == pytest.approx((-back.value, -back.high, -back.low))
    assert independent_difference(a, a).low < 0 < independent_difference(a, a).high


def test_groups_have_their_borders_in_the_middle():
    assert [group_of(n, (100, 20)) for n in (101, 100, 20, 19)] == ["many", "medium", "medium", "few"]
    found = group_recalls(rows((5, 10), train=50), (100, 20))
    assert found["many"] is None
    assert found["few"] is None
    assert found["medium"] == found["all"]
