"""Ranges and choices, and their meaning to Optuna."""

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces import SpaceError, loads

HEAD = "version: 1\nname: x\ntask: {dataset: digits-lt}\n"


def searched(parameter: str) -> object:
    return loads(f"{HEAD}stage2:\n  {parameter}\n").searched[f"stage2.{parameter.partition(':')[0]}"]


@pytest.mark.parametrize(
    ("parameter", "distribution"),
    [
        ("lr: {low: 1e-3, high: 1, log: true}", FloatDistribution(1e-3, 1, log=True)),
        ("tau: {low: 0, high: 2, step: 0.1}", FloatDistribution(0, 2, step=0.1)),
        ("epochs: {low: 5, high: 20, step: 5}", IntDistribution(5, 20, step=5)),
        ("epochs: {low: 5, high: 20, log: true}", IntDistribution(5, 20, log=True)),
        ("maxnorm_radius: {choices: [null, 1, 2.5]}", CategoricalDistribution([None, 1.0, 2.5])),
        ("method: {choices: [crt, lws]}", CategoricalDistribution(["crt", "lws"])),
    ],
)
def test_forms_are_optunas_distributions(parameter: str, distribution: object) -> None:
    assert searched(parameter) == distribution


@pytest.mark.parametrize(
    ("parameter", "complaint"),
    [
        ("lr: {low: 1, high: 1}", "low (1.0) must be below high (1.0)"),
        ("weight_decay: {low: 0, high: 1, log: true}", "a log range needs low > 0, but got 0.0; write a small"),
        ("lr: {low: 1, high: 2, step: 0.5, log: true}", "a log range has no step; leave out step or log"),
        ("tau: {low: 0, high: 1, step: 0.3}", "step (0.3) does not lead from low (0.0) to high (1.0); write high: 0.9"),
        ("tau: {low: 0, high: 1, step: 3}", "step (3.0) is larger than the way from low (0.0) to high (1.0)"),
        ("tau: {low: 0, high: 1, step: -0.5}", "step must be greater than 0, but got -0.5"),
        ("tau: {low: 0, high: 1e300, step: 1e-300}", "makes more than 1,000,000 values"),
        ("tau: {choices: [1, 1.0]}", "holds 1.0 twice"),
        ("tau: {choices: []}", "must hold at least one value, but got a list"),
        ("tau: {low: 0}", "is missing; a range is {low: ..., high: ...}"),
        ("tau: {}", "is neither a range {low: ..., high: ...} nor {choices: [...]}"),
        ("epochs: {low: 1.5, high: 3}", "must be a whole number, but got 1.5"),
        ("tau: {low: -.inf, high: 3}", "must be finite, but got -inf"),
    ],
)
def test_forms_that_cannot_be(parameter: str, complaint: str) -> None:
    with pytest.raises(SpaceError) as caught:
        searched(parameter)
    assert len(caught.value.problems) == 1, caught.value
    assert complaint in caught.value.problems[0].message
