from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.measures.calibration import (
    below_largest,
    confidences,
    expected_calibration_errors,
    fit_temperatures,
)


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Of one classifier: logits (N, C)."""
    return fit_temperatures(logits.T.unsqueeze(0), labels).item()


def expected_calibration_error(logits: Tensor, labels: Tensor, *, temperature: float = 1.0, bins: int = 15) -> float:
    """Of one classifier: logits (N, C)."""
    z = below_largest(logits.T.unsqueeze(0))
    right = (logits.argmax(1) == labels).unsqueeze(0)
    return expected_calibration_errors(confidences(z, torch.tensor([temperature])), right, bins=bins).item()


def _calibrated(images: int = 4000, classes: int = 8) -> tuple[Tensor, Tensor]:
    """Logits that are the true log-probabilities, and labels drawn from them."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(images, classes, generator=generator)
    return logits, torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 50.0])
def test_temperature_undoes_a_scale(scale: float) -> None:
    logits, labels = _calibrated()
    assert fit_temperature(scale * logits, labels) == pytest.approx(scale, rel=0.05)


def test_temperature_is_where_the_nll_is_least() -> None:
    logits, labels = _calibrated()
    logits = 3 * logits + 0.5 * torch.randn(logits.shape, generator=torch.Generator().manual_seed(1))
    best = fit_temperature(logits, labels)
    nll = {t: F.cross_entropy(logits.double() / t, labels).item() for t in (1.0, 0.98 * best, best, 1.02 * best)}
    assert min(nll, key=nll.__getitem__) == best


def test_many_heads_are_fitted_as_each_alone() -> None:
    logits, labels = _calibrated(500)
    heads = torch.stack([logits, 1e-3 * logits, logits.flip(1), torch.zeros_like(logits)])
    alone = [fit_temperature(head, labels) for head in heads]
    assert fit_temperatures(heads.transpose(1, 2), labels).tolist() == pytest.approx(alone, rel=1e-5)
    assert alone[3] == 1  # any temperature is as good


def test_temperature_without_minimum_is_bounded() -> None:
    right = torch.eye(3)
    labels = torch.arange(3)
    assert 1e-5 < fit_temperature(right, labels) < 0.1
    assert 1e3 < fit_temperature(-right, labels) < 1e5


def test_error_falls_when_a_flat_head_gets_its_temperature() -> None:
    logits, labels = _calibrated()
    flat = 1e-3 * logits  # confidences near 1/C, as after weight balancing
    before = expected_calibration_error(flat, labels)
    after = expected_calibration_error(flat, labels, temperature=fit_temperature(flat, labels))
    assert before > 0.3
    assert after < 0.03


def test_error_of_known_bins() -> None:
    logits = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.4, 0.6]]).log()
    labels = torch.tensor([0, 1, 0, 1])
    assert expected_calibration_error(logits, labels, bins=10) == pytest.approx((0.8 + 0.8) / 4, abs=1e-6)
