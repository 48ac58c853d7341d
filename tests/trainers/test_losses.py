from __future__ import annotations

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from trainers.config import LossName
from trainers.errors import ConfigError, DataError
from trainers.losses import class_balanced_weights, make_loss

COUNTS = (500, 120, 37, 5)
NAMES = get_args(LossName)


def _batch(scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = scale * torch.randn(64, len(COUNTS), generator=generator, dtype=torch.float64)
    return logits, torch.randint(len(COUNTS), (64,), generator=generator)


def _weights(beta: float = 0.9999) -> Tensor:
    inverse = torch.tensor([(1 - beta) / (1 - beta**n) for n in COUNTS], dtype=torch.float64)
    return len(COUNTS) * inverse / inverse.sum()


def _cb_focal(z: Tensor, y: Tensor) -> Tensor:
    t = F.one_hot(y, len(COUNTS)).double()
    p_t = torch.where(t.bool(), z.sigmoid(), 1 - z.sigmoid())
    bce = F.binary_cross_entropy_with_logits(z, t, reduction="none")
    return (_weights()[y] * ((1 - p_t) ** 1.5 * bce).sum(1)).mean()


def _cb_bce_softmax(z: Tensor, y: Tensor) -> Tensor:
    t = F.one_hot(y, len(COUNTS)).double()
    return F.binary_cross_entropy(z.softmax(1), t, weight=_weights()[y].unsqueeze(1).expand_as(t))


def _cb_sigmoid(z: Tensor, y: Tensor) -> Tensor:
    t = F.one_hot(y, len(COUNTS)).double()
    return F.binary_cross_entropy_with_logits(z, t, weight=_weights()[y].unsqueeze(1).expand_as(t))


def _ldam(z: Tensor, y: Tensor) -> Tensor:
    n = torch.tensor(COUNTS, dtype=torch.float64)
    margin = 0.4 * n**-0.25 / (n**-0.25).max()
    shifted = z.clone()
    shifted[torch.arange(len(y)), y] = z[torch.arange(len(y)), y] - margin[y]
    return F.cross_entropy(10 * shifted, y)


_N = torch.tensor(COUNTS, dtype=torch.float64)
DEFINITIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ce": F.cross_entropy,
    "logit_adjusted": lambda z, y: F.cross_entropy(z + 1.3 * (_N / _N.sum()).log(), y),
    "vs": lambda z, y: F.cross_entropy(z * (_N / 500) ** 1.5 + 1.3 * (_N / _N.sum()).log(), y),
    "cb_ce": lambda z, y: (_weights()[y] * F.cross_entropy(z, y, reduction="none")).mean(),
    "cb_focal": _cb_focal,
    "cb_bce_softmax": _cb_bce_softmax,
    "cb_sigmoid": _cb_sigmoid,
    "ldam": _ldam,
}
OPTIONS = {"beta": 0.9999, "gamma": 1.5, "tau": 1.3, "max_margin": 0.4, "scale": 10.0}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_value_and_gradient_agree_with_the_definition(name: str, dtype: torch.dtype) -> None:
    logits, labels = _batch()
    expected_logits = logits.clone().requires_grad_()
    expected = DEFINITIONS[name](expected_logits, labels)
    expected.backward()
    ours = logits.to(dtype).requires_grad_()
    value = make_loss(name, COUNTS, **OPTIONS)(ours, labels)
    value.backward()
    torch.testing.assert_close(value.double(), expected, rtol=2e-5, atol=0)
    torch.testing.assert_close(ours.grad.double(), expected_logits.grad, rtol=2e-5, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("true_logit", [-1000.0, -90.0, 1000.0])
def test_saturated_logits_stay_finite(name: str, true_logit: float) -> None:
    logits = torch.zeros(2, len(COUNTS))
    logits[0, 1], logits[1, 2] = true_logit, -true_logit
    logits.requires_grad_()
    loss = make_loss(name, COUNTS, **OPTIONS)(logits, torch.tensor([1, 2]))
    loss.backward()
    assert math.isfinite(loss.item())
    assert loss.item() > 0
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("name", ["cb_focal", "cb_sigmoid"])
def test_a_true_logit_of_minus_1000_costs_1000(name: str) -> None:
    logits = torch.full((1, 4), -1000.0)
    loss = make_loss(name, COUNTS, beta=0.0)(logits, torch.tensor([3]))
    assert loss.item() == pytest.approx(1000 if name == "cb_focal" else 250)


def test_bce_softmax_clamps_its_logarithms_as_torch_does() -> None:
    logits = torch.tensor([[300.0, 0.0, 0.0, 0.0]])
    loss = make_loss("cb_bce_softmax", COUNTS, beta=0.0)(logits, torch.tensor([2]))
    assert loss.item() == pytest.approx((100 + 100) / 4)  # ln p_y and ln(1 - p_0), mean over classes


def test_bce_softmax_gradient_survives_rounding_of_the_largest_probability() -> None:
    """At a gap of 20 float32's 1 - p is 0, where softmax followed by BCE has gradients in the thousands."""
    gradients = []
    for dtype in (torch.float32, torch.float64):
        logits = torch.tensor([[20.0, 0.0, -1.0, 0.5]], dtype=dtype, requires_grad=True)
        make_loss("cb_bce_softmax", COUNTS, beta=0.0)(logits, torch.tensor([1])).backward()
        gradients.append(logits.grad.double())
    torch.testing.assert_close(gradients[0], gradients[1], rtol=2e-5, atol=1e-8)


def test_class_balanced_weights_of_cifar100_lt() -> None:
    counts = [int(500 * 0.01 ** (k / 99)) for k in range(100)]
    weights = class_balanced_weights(counts, 0.9999)
    assert weights.dtype == torch.float64
    assert weights.mean().item() == pytest.approx(1, abs=1e-12)
    assert weights[0].item() == pytest.approx(0.0449, abs=5e-5)  # of the released code
    assert weights[-1].item() == pytest.approx(4.378, abs=5e-4)


def test_beta_zero_weighs_all_classes_alike() -> None:
    assert class_balanced_weights(COUNTS, 0.0).tolist() == [1.0] * 4


def test_deferred_reweighting_switches_plain_to_class_balanced() -> None:
    logits, labels = _batch()
    plain, balanced = make_loss("ce", COUNTS), make_loss("cb_ce", COUNTS)
    assert plain.with_class_weights(0.9999)(logits, labels) == balanced(logits, labels)
    assert balanced.with_class_weights(0.0)(logits, labels) == plain(logits, labels)


def test_balanced_softmax_is_unmoved_by_classes_of_one_size() -> None:
    logits, labels = _batch()
    torch.testing.assert_close(
        make_loss("logit_adjusted", [7] * 4)(logits, labels), make_loss("ce", [7] * 4)(logits, labels)
    )


def test_half_precision_logits_are_raised_to_float32() -> None:
    logits, labels = _batch()
    assert make_loss("ce", COUNTS)(logits.bfloat16(), labels).dtype == torch.float32


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: make_loss("cb_c", COUNTS), ConfigError, "did you mean 'cb_ce'"),
        (lambda: make_loss("ce", COUNTS, betta=1.0), ConfigError, "did you mean 'beta'"),
        (lambda: class_balanced_weights(COUNTS, 1.0), ConfigError, r"\[0, 1\)"),
        (lambda: class_balanced_weights([3, 0, 2], 0.9), DataError, "1 of 3 have none: 1"),
        (lambda: make_loss("ce", [3]), DataError, "at least two"),
    ],
)
def test_wrong_settings_are_named(call: Callable[[], object], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call()
