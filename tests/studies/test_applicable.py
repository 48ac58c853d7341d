"""What is said to have a part in a result has one, and what is said to have none has none, by the trainer itself."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch

from studies.applicable import applicable, applies
from trainers.config import FLAT_NAMES, POSTHOC_METHODS, TRAINED_METHODS, LossName, Stage2Config, TrialConfig
from trainers.losses import make_loss
from trainers.stage2.posthoc import posthoc_head
from trainers.stage2.recipe import stage2_radius
from trainers.weight_balance import LinearHead

COUNTS = (50, 12, 3)
OTHER = {"beta": 0.9, "gamma": 0.7, "tau": 1.7, "max_margin": 0.2, "scale": 7.0}
HEAD = LinearHead(torch.randn(3, 4, generator=torch.Generator().manual_seed(0)), torch.tensor([0.3, 0.1, -0.2]))


@pytest.mark.parametrize("loss", get_args(LossName))
@pytest.mark.parametrize("option", OTHER)
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_an_option_applies_to_the_losses_that_change_with_it(loss, option, stage):
    logits = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    values = {make_loss(loss, COUNTS, **other)(logits, labels).item() for other in ({}, {option: OTHER[option]})}
    config = TrialConfig.from_flat({f"{stage}.loss": loss}).to_flat()
    assert applies(f"{stage}.{option}", config) == (len(values) == 2)


@pytest.mark.parametrize("method", [method for method in POSTHOC_METHODS if method != "ncm"])
def test_tau_applies_to_the_posthoc_methods_that_change_with_it(method):
    made = [posthoc_head(Stage2Config(method=method, tau=tau), HEAD, None, COUNTS) for tau in (0.5, 1.5)]  # type: ignore[arg-type]
    same = torch.equal(made[0].weight, made[1].weight) and torch.equal(made[0].bias, made[1].bias)
    config = TrialConfig.from_flat({"stage2.method": method}).to_flat()
    assert applies("stage2.tau", config) != same
    assert {name for name in applicable(config) if name.startswith("stage2.")} <= {"stage2.method", "stage2.tau"}


@pytest.mark.parametrize("method", TRAINED_METHODS)
def test_the_radius_applies_where_there_is_one(method):
    config = TrialConfig.from_flat({"stage2.method": method, "stage2.maxnorm_radius": 0.5})
    bound = math.isfinite(stage2_radius(HEAD, config.stage2))
    assert applies("stage2.maxnorm_radius", config.to_flat()) == bound
    free = TrialConfig.from_flat({"stage2.method": method, "stage2.maxnorm_radius": None}).to_flat()
    assert not applies("stage2.radius_unit", free)
    assert not applies("stage2.projection", free)
    assert applies("stage2.maxnorm_radius", free) == bound  # that there is none is a setting


def test_all_else_applies_and_keeps_its_order():
    config = TrialConfig().to_flat()
    kept = list(applicable(config))
    assert kept == [name for name in FLAT_NAMES if name in kept]
    assert {name for name in FLAT_NAMES if name.startswith("task.")} <= set(kept)
    assert set(FLAT_NAMES) - set(kept) == {f"stage1.{name}" for name in OTHER} | {
        f"stage2.{name}" for name in OTHER if name != "beta"
    }
    reweighted = TrialConfig.from_flat({"stage1.drw": 0.5}).to_flat()
    assert applies("stage1.beta", reweighted)
