"""What several trainings at once are worth is measured, and the fewest that are worth it are kept."""

from __future__ import annotations

import pytest
import torch

from trainers.config import Stage1Config, TaskConfig, TrialConfig
from trainers.errors import ConfigError
from trainers.stage1.rates import best_count, measured_rates

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("rates", "best"),
    [
        ({}, 1),
        ({1: 100.0}, 1),
        ({1: 100.0, 2: 104.0, 4: 90.0}, 1),
        ({1: 100.0, 2: 150.0, 4: 240.0, 8: 245.0}, 4),
        ({1: 100.0, 2: 99.0, 4: 130.0}, 4),
    ],
)
def test_more_at_once_must_be_worth_it(rates: dict[int, float], best: int) -> None:
    assert best_count(rates) == best


def test_rates_are_measured_of_whole_trainings() -> None:
    config = TrialConfig(stage1=Stage1Config(precision="fp32", epochs=1))
    rates = measured_rates(config, device=CPU, way="plain", seconds=0.05, counts=(1, 2))
    assert set(rates) == {1, 2}
    assert all(rate > 0 for rate in rates.values())


def test_a_training_that_fails_leaves_its_number_out() -> None:
    diverging = TrialConfig(stage1=Stage1Config(precision="fp32", lr=1e30))
    assert measured_rates(diverging, device=CPU, way="plain", seconds=0.05) == {}


def test_a_configuration_that_cannot_be_trained_is_an_error() -> None:
    with pytest.raises(ConfigError):
        measured_rates(TrialConfig(task=TaskConfig(model="nothing")), device=CPU, way="plain", seconds=0.05)
