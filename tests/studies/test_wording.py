"""One number is written one way, on the page, in the terminal, and in a figure by plotly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from studies import wording


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.9675, "96.8 %"),  # the same number, whatever the last bit of its float
        (0.96749999999999, "96.8 %"),
        (0.9225, "92.3 %"),  # half up, as JavaScript's toFixed and not as Python's formatting does
        (0.0, "0.0 %"),
        (-1e-9, "0.0 %"),
        (1.0, "100.0 %"),
        (None, "none"),
    ],
)
def test_a_fraction_is_written_one_way(value, written):
    assert wording.per_cent(value) == written


@given(st.integers(0, 4000), st.integers(1, 4000))
def test_sums_in_any_order_are_written_alike(correct, total):
    value = correct / total
    nudged = math.nextafter(math.nextafter(value, 2), 2)
    assert wording.per_cent(value) == wording.per_cent(nudged)


def test_differences_have_their_sign():
    assert wording.points(0.1304) == "+13.0"
    assert wording.points(-0.01) == "−1.0"
    assert wording.gain_limits(-0.053, 0.033) == "−5.3 to +3.3"
    assert wording.limits(0.867, 0.925) == "86.7 to 92.5 %"
    assert wording.mean_and_deviation(0.891, 0.0123) == "89.1 ± 1.2 %"
    assert wording.mean_and_deviation(0.891, None) == "89.1 %"


def test_counts_lists_and_hours_are_words():
    assert wording.count(1, "trial") == "1 trial"
    assert wording.count(1960, "trial") == "1,960 trials"
    assert wording.listed(["a"]) == "a"
    assert wording.listed(["a", "b", "c"]) == "a, b and c"
    assert wording.listed([]) == ""
    assert wording.spans([9, 3, 5, 4]) == "3 to 5, 9"
    assert [wording.duration(s) for s in (43200, 360, 210, 90, 20)] == [
        "12.0 h",
        "6.0 min",
        "3.5 min",
        "1.5 min",
        "20 s",
    ]
