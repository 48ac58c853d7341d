"""The computation of one training step of stage 1: plain, and with fewer kernels for the same bits."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainers.config import Stage1Config
from trainers.losses import Loss
from trainers.results import EpochResult
from trainers.stage1.models import Network
from trainers.stage1.precision import autocast, resolve_precision

_LOWERED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # autocast computes them in bfloat16
_COUNTED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

Features = Callable[[Network, Tensor], Tensor]  # network, images (B, C, H, W) -> (B, D)


@dataclass
class Stage1State:
    """Everything that training needs to resume exactly."""

    model: Network
    optimizer: torch.optim.SGD
    generator: torch.Generator  # order and augmentation draws
    history: list[EpochResult]
    seconds: float = 0.0
    best: tuple[float, dict[str, Tensor]] | None = None  # (value, weights) if the best epoch is kept

    @property
    def epoch(self) -> int:
        """Epochs done."""
        return len(self.history)


def classify(model: Network, features: Tensor, config: Stage1Config) -> Tensor:
    """Stage-1 logits (B, C): cosines for LDAM (Cao et al. 2019), the linear classifier's for all others."""
    if config.loss == "ldam":
        return F.linear(F.normalize(features), F.normalize(model.classifier.weight))
    logits: Tensor = model.classifier(features)
    return logits


@dataclass(frozen=True)
class PlainStep:
    """Forward and backward pass under autocast, and SGD: the reference for every other way."""

    state: Stage1State
    config: Stage1Config
    criterion: Loss
    loss_sum: Tensor  # grows by loss times B, without synchronising

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step on a batch (B, C, H, W) with labels (B,)."""
        loss = self.loss(images, labels, _features)
        self.state.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.state.optimizer.step()
        self.loss_sum.add_(loss.detach() * len(labels))

    def loss(self, images: Tensor, labels: Tensor, features_of: Features) -> Tensor:
        """The mean loss of a batch."""
        model, config = self.state.model, self.config
        with autocast(config.precision, images.device):
            features = features_of(model, images)  # (B, D)
            logits = classify(model, features, config)  # (B, C)
        loss = self.criterion(logits.float(), labels)
        if config.feature_regularization:
            loss = loss + config.feature_regularization / 2 * features.float().square().sum(1).mean()
        return loss

    def changed(self) -> dict[str, list[Tensor]]:
        """All tensors that a step changes, by kind."""
        state = self.state
        return {
            "weights": [*state.model.parameters()],
            "statistics": [buffer for buffer in state.model.buffers() if buffer.is_floating_point()],
            "counters": [buffer for buffer in state.model.buffers() if not buffer.is_floating_point()],
            "momenta": [entry["momentum_buffer"] for entry in state.optimizer.state.values() if entry],
            "loss": [self.loss_sum],
        }


class LeanStep:
    """The plain step with fewer kernels and the same bits.

    Under autocast a ResNet-34's step casts each weight and each gradient by a kernel of its own, and counts the batches
    of each BatchNorm by another: a quarter of its operators. Here bfloat16 copies of the trunk's weights take part in
    the step, made in one operation from the float32 weights, and their gradients are cast in one; all counters
    advance in one.
    """

    def __init__(self, plain: PlainStep, features_of: Features | None = None) -> None:
        self._plain, self._features_of = plain, features_of or _features
        modules = [*plain.state.model.trunk.modules()]
        self._norms: list[Any] = [m for m in modules if isinstance(m, _COUNTED) and _counts_in_vain(m)]
        self._counters: list[Tensor] = [norm.num_batches_tracked for norm in self._norms]
        self._places = _lowered_places(modules) if _is_lowered(plain) else []
        weights = {id(place.weight): place.weight for place in self._places}
        self._weights = [*weights.values()]
        copies = {key: nn.Parameter(w.detach().bfloat16(), w.requires_grad) for key, w in weights.items()}
        self._copies = [*copies.values()]
        self._copy_of = copies
        self._gradients = [torch.empty_like(weight) for weight in self._weights]

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step on a batch (B, C, H, W) with labels (B,)."""
        optimizer = self._plain.state.optimizer
        optimizer.zero_grad(set_to_none=True)
        for copy in self._copies:
            copy.grad = None
        if self._copies:
            torch._foreach_copy_(self._copies_data(), self._weights_data())
        with self._lean():
            loss = self._plain.loss(images, labels, self._features_of)
            loss.backward()  # type: ignore[no-untyped-call]
        self._hand_back_gradients()
        optimizer.step()
        if self._counters:
            torch._foreach_add_(self._counters, 1)
        self._plain.loss_sum.add_(loss.detach() * len(labels))

    def _copies_data(self) -> list[Tensor]:
        return [copy.detach() for copy in self._copies]

    def _weights_data(self) -> list[Tensor]:
        return [weight.detach() for weight in self._weights]

    def _hand_back_gradients(self) -> None:
        """Casts the copies' gradients to float32; a weight that took no part keeps none, and SGD leaves it alone."""
        found: list[Tensor] = []
        cast: list[Tensor] = []
        for weight, copy, gradient in zip(self._weights, self._copies, self._gradients, strict=True):
            if copy.grad is not None:
                found.append(copy.grad)
                cast.append(gradient)
                weight.grad = gradient
        if found:
            torch._foreach_copy_(cast, found)

    @contextlib.contextmanager
    def _lean(self) -> Iterator[None]:
        """Copies stand in the place of weights, and nothing is counted."""
        for place in self._places:
            place.module._parameters[place.name] = self._copy_of[id(place.weight)]
        for norm in self._norms:
            norm._buffers["num_batches_tracked"] = None
        try:
            yield
        finally:
            for place in self._places:
                place.module._parameters[place.name] = place.weight
            for norm, counter in zip(self._norms, self._counters, strict=True):
                norm._buffers["num_batches_tracked"] = counter


@dataclass(frozen=True)
class _Place:
    module: nn.Module
    name: str
    weight: nn.Parameter


def _lowered_places(modules: list[nn.Module]) -> list[_Place]:
    """Where the weights stand that autocast casts in each step."""
    return [
        _Place(module, name, weight)
        for module in modules
        if isinstance(module, _LOWERED)
        for name, weight in module._parameters.items()
        if weight is not None
    ]


def _is_lowered(plain: PlainStep) -> bool:
    return resolve_precision(plain.config.precision, plain.loss_sum.device) == "bf16"


def _counts_in_vain(norm: Any) -> bool:
    """True if a BatchNorm counts batches without using the number."""
    return norm.momentum is not None and norm.num_batches_tracked is not None


def _features(model: Network, images: Tensor) -> Tensor:
    return model.features(images)


@functools.cache
def compiled_features(mode: str = "default") -> Features:
    """`Network.features` by torch.compile, compiled once per process for all networks of one structure."""
    compiled: Features = torch.compile(_features, dynamic=False, mode=mode)
    return compiled
