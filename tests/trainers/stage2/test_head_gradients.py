from __future__ import annotations

from typing import get_args

import pytest
import torch
from torch import Tensor

from trainers.config import LossName
from trainers.losses import Loss, make_loss
from trainers.stage2.head_gradients import StackedLosses

COUNTS = (500, 120, 37, 9, 5)
CPU = torch.device("cpu")


def _losses(name: str) -> list[Loss]:
    options = [
        {"beta": 0.9, "gamma": 0.0, "tau": 0.0, "max_margin": 0.0, "scale": 1.0},
        {"beta": 0.9999, "gamma": 2.0, "tau": 1.5, "max_margin": 0.5, "scale": 30.0},
        {"beta": 0.99, "gamma": 0.5, "tau": 0.7, "max_margin": 0.3, "scale": 5.0},
    ]
    return [make_loss(name, COUNTS, **each) for each in options]


def _logits(scale: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(33, 3, len(COUNTS), generator=generator)
    return logits, torch.randint(len(COUNTS), (33,), generator=generator)


def _agrees_with_autograd(name: str, logits: Tensor, labels: Tensor) -> None:
    losses = _losses(name)
    values, gradients = StackedLosses.of(losses, CPU).value_and_gradient(logits.clone(), labels)
    for b, loss in enumerate(losses):
        gradient, value = torch.func.grad_and_value(loss)(logits[:, b].double(), labels)
        torch.testing.assert_close(values[b], value.float(), rtol=2e-5, atol=1e-6)
        torch.testing.assert_close(gradients[:, b], gradient.float(), rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 8.0])
@pytest.mark.parametrize("name", get_args(LossName))
def test_closed_form_agrees_with_autograd_in_float64(name: str, scale: float) -> None:
    _agrees_with_autograd(name, *_logits(scale))


@pytest.mark.parametrize("gap", [17.0, 60.0, 95.0, 150.0, 1000.0])
@pytest.mark.parametrize("name", get_args(LossName))
def test_closed_form_agrees_with_autograd_at_saturation(name: str, gap: float) -> None:
    logits, labels = _logits(1.0)
    for row in range(len(labels)):  # a third each: the true class, another one, or the true class downwards
        column = int(labels[row]) if row % 3 else (int(labels[row]) + 1) % len(COUNTS)
        logits[row, :, column] += -gap if row % 3 == 2 else gap
    _agrees_with_autograd(name, logits, labels)


@pytest.mark.parametrize("name", get_args(LossName))
def test_vmap_over_heads_gives_the_same(name: str) -> None:
    """One loss for all heads, vectorised by torch.func instead of by hand."""
    logits, labels = _logits(3.0)
    loss = _losses(name)[1]
    values, gradients = StackedLosses.of([loss] * 3, CPU).value_and_gradient(logits.clone(), labels)
    vmapped = torch.func.vmap(torch.func.grad_and_value(loss), in_dims=(1, None), out_dims=(1, 0))
    expected_gradients, expected = vmapped(logits, labels)
    torch.testing.assert_close(values, expected, rtol=2e-5, atol=1e-6)
    torch.testing.assert_close(gradients, expected_gradients, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", get_args(LossName))
def test_a_head_of_nan_leaves_its_neighbours_bitwise(name: str) -> None:
    logits, labels = _logits(3.0)
    stacked = StackedLosses.of(_losses(name), CPU)
    values, gradients = stacked.value_and_gradient(logits.clone(), labels)
    logits[:, 1] = torch.nan
    broken_values, broken = stacked.value_and_gradient(logits.clone(), labels)
    assert torch.equal(broken[:, [0, 2]], gradients[:, [0, 2]])
    assert torch.equal(broken_values[[0, 2]], values[[0, 2]])
    assert broken_values[1].isnan()
