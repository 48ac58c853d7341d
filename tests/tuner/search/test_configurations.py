"""The naive baseline stands where the search begins."""

from __future__ import annotations

import pytest

from search_spaces import load, loads, shipped
from search_spaces.geometry import values
from tuner.search.configurations import NAIVE_SETTINGS, naive
from tuner.search.sampling import Level, propose_backbone

STEPS = """
version: 1
name: steps
task: {dataset: digits-lt}
stage1: {lr: {low: 1e-2, high: 2e-1, log: true}, epochs: {low: 10, high: 40, step: 10}}
"""


@pytest.mark.parametrize("text", [STEPS, *(load(name).to_yaml() for name in shipped())])
def test_naive_and_the_first_backbone_are_one_point(text: str) -> None:
    space = loads(text)
    level = Level(space.stage("stage1"), space.active)
    first = propose_backbone([], space=level, sampler="gp", seed=0, index=0)
    assert first is not None
    shared = first.keys() - NAIVE_SETTINGS.keys()
    assert {name: naive(space)[name] for name in shared} == {name: first[name] for name in shared}


def test_what_is_searched_in_steps_is_a_value_of_the_space() -> None:
    space = loads(STEPS)
    assert naive(space)["stage1.epochs"] in values(space.searched["stage1.epochs"])
