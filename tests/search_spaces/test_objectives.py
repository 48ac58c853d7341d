"""One objective, or two or three in a list."""

from __future__ import annotations

import itertools
import math

import pytest

from search_spaces import SpaceError, loads
from search_spaces.objectives import front, gains, label, value_of

HEAD = "version: 1\nname: x\ntask: {dataset: digits-lt}\n"
ONE = "b47cb189781118fbf15f4a1fba9b29857cae6ec577c9ec92e611b8ad164575f1"  # as before there were several
METRICS = {"val.balanced_accuracy": 0.8, "val.few": 0.5, "val.ece": 0.1, "norm.slope": -0.2, "val.many": math.nan}


def test_a_space_with_one_objective_is_what_it_was() -> None:
    assert loads(HEAD).sha256 == ONE
    assert loads(HEAD).objectives == ("val.balanced_accuracy",)
    assert "objective: val.few\n" in loads(HEAD + "objective: val.few\n").to_yaml()


@pytest.mark.parametrize("text", ["[val.balanced_accuracy, val.few]", "[val.few, -val.ece, -norm.slope]"])
def test_a_list_of_objectives_is_read_back(text: str) -> None:
    space = loads(f"{HEAD}objective: {text}\n")
    assert ", ".join(space.objectives) == text.strip("[]")
    assert loads(space.to_yaml()) == space
    assert space.sha256 != ONE
    assert loads(HEAD, overrides=[f"objective={text}"]) == space


def test_their_order_is_part_of_the_meaning() -> None:
    one, other = (loads(f"{HEAD}objective: [{a}, {b}]\n") for a, b in itertools.permutations(["val.few", "val.many"]))
    assert one.sha256 != other.sha256


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-val.ece", "; what is minimised stands behind an accuracy: [val.balanced_accuracy, -val.ece]"),
        ("[val.few]", "objective: must hold two or three objectives, but got 1; write objective: val.few"),
        ("[]", "objective: must hold two or three objectives, but got 0"),
        ("[val.few, val.many, val.medium, val.top1]", "objective: must hold two or three objectives, but got 4"),
        ("[val.few, val.few]", "objective: holds 'val.few' twice"),
        ("[-val.ece, val.few]", "must begin with an accuracy, by which one trial is chosen, but begins with -val.ece"),
        ("[val.few, test.few]", "but got 'test.few'; test data is read once, at the end, and never chooses"),
        ("[val.few, val.ece]", "but got 'val.ece'; did you mean '-val.ece'?"),
    ],
)
def test_other_objectives_are_refused(text: str, told: str) -> None:
    with pytest.raises(SpaceError) as error:
        loads(f"{HEAD}objective: {text}\n")
    assert len(error.value.problems) == 1
    assert told in str(error.value)


def test_a_larger_gain_is_better() -> None:
    assert gains(["val.few", "-val.ece", "-norm.slope"], METRICS) == (0.5, -0.1, -0.2)
    assert (value_of("-norm.slope", METRICS), label("-norm.slope"), label("-val.ece")) == (
        0.2,
        "|norm.slope|",
        "val.ece",
    )


@pytest.mark.parametrize("missing", ["val.many", "val.top5"])
def test_there_are_no_gains_unless_all_are_finite(missing: str) -> None:
    assert gains(["val.few", missing], METRICS) is None


def test_what_is_dominated_is_not_on_the_front() -> None:
    points = [(0.5, 0.5), (0.9, 0.1), (0.1, 0.9), (0.5, 0.4), (0.4, 0.4), (0.5, 0.5 + 1e-12)]
    assert front(points) == [0, 1, 2, 5]  # the last digits depend on the order of summation
    assert front([(1, 1, 1), (1, 1, 2), (2, 1, 1), (0, 0, 9)]) == [1, 2, 3]
    assert front([]) == []
