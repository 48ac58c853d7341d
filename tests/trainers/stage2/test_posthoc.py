from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trainers.config import POSTHOC_METHODS, Stage2Config
from trainers.errors import ConfigError, DataError
from trainers.features import FeatureBank
from trainers.stage2.posthoc import adjust_logits, posthoc_grid, posthoc_head
from trainers.weight_balance import LinearHead, row_norms, tau_normalize

COUNTS = (60, 20, 5)


def _setup() -> tuple[LinearHead, FeatureBank, Tensor]:
    generator = torch.Generator().manual_seed(0)
    head = LinearHead(torch.randn(3, 4, generator=generator), torch.randn(3, generator=generator))
    train = torch.randn(2, 85, 4, generator=generator)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    return head, FeatureBank(train, labels, 0, {}), torch.randn(50, 4, generator=generator)


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0])
@pytest.mark.parametrize(
    ("method", "kind"), [("logit_adjustment", "additive"), ("logit_adjustment_mul", "multiplicative")]
)
def test_folded_adjustment_equals_adjusting_the_logits(method: str, kind: str, tau: float) -> None:
    start, bank, x = _setup()
    head = posthoc_head(Stage2Config(method=method, tau=tau), start, bank, COUNTS)
    torch.testing.assert_close(head.logits(x), adjust_logits(start.logits(x), COUNTS, tau, kind), rtol=1e-5, atol=1e-4)


def test_adjustments_are_the_formulas() -> None:
    logits = torch.tensor([[1.0, 1.0]])
    p = torch.tensor([0.75, 0.25])
    torch.testing.assert_close(adjust_logits(logits, [3, 1], 2.0), logits - 2 * p.log())
    torch.testing.assert_close(adjust_logits(logits, [3, 1], 2.0, kind="multiplicative"), logits * p**-2)
    assert torch.equal(adjust_logits(logits, [3, 1], 0.0), logits)


def test_nearest_class_mean_is_the_nearest_class_mean() -> None:
    start, bank, x = _setup()
    head = posthoc_head(Stage2Config(method="ncm"), start, bank, COUNTS)
    means = torch.stack([bank.train[:, bank.labels == k].mean((0, 1)) for k in range(3)])
    assert torch.equal(head.logits(x).argmax(1), torch.cdist(x, means).argmin(1))


def test_norm_methods_leave_the_bias() -> None:
    start, bank, _ = _setup()
    unit = posthoc_head(Stage2Config(method="l2_norm"), start, bank, COUNTS)
    inverted = posthoc_head(Stage2Config(method="tau_norm", tau=1.9), start, bank, COUNTS)
    torch.testing.assert_close(row_norms(unit.weight), torch.ones(3))
    assert torch.equal(inverted.weight, tau_normalize(start.weight, 1.9))
    assert torch.equal(unit.bias, start.bias)
    assert torch.equal(inverted.bias, start.bias)


def test_grid_has_every_method_once_per_tau_and_starts_with_the_stage1_classifier() -> None:
    grid = posthoc_grid()
    start, bank, _ = _setup()
    assert posthoc_head(grid[0], start, bank, COUNTS) is start
    assert {config.method for config in grid} == set(POSTHOC_METHODS)
    assert len(set(grid)) == len(grid)
    for config in grid:
        assert torch.isfinite(posthoc_head(config, start, bank, COUNTS).weight).all()


def test_impossible_choices_are_named() -> None:
    start, bank, x = _setup()
    with pytest.raises(ConfigError, match="did you mean 'additive'"):
        adjust_logits(start.logits(x), COUNTS, 1.0, kind="aditive")
    with pytest.raises(ConfigError, match="'crt' is trained"):
        posthoc_head(Stage2Config(method="crt"), start, bank, COUNTS)
    with pytest.raises(DataError, match="have none: 2"):
        adjust_logits(start.logits(x), (60, 20, 0), 1.0)
