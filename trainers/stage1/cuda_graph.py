"""A training step recorded once as a CUDA graph and replayed for each batch, so that the host is no bottleneck.

At batch 64 a ResNet's step is some 500 kernels, and the host takes longer to launch them than a large GPU to run them.
The step reads tensors at fixed addresses: batch, weights, momenta, learning rate.

No recording, and no other way of computing a step, is used on trust. From the same start it must change everything as
the plain step does: on the batch and at the rate it was recorded with, and on another batch at another rate. A way that
rounds differently is compared with a step in float32, and may be no further from it than the plain one: in bfloat16 a
ResNet-34's own first step is 0.6 of its length away from float32's. If a way cannot be made or does not agree, training
continues in the next simpler way, and a warning is logged.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.stage1.random_numbers import same_draws

logger = logging.getLogger(__name__)

Step = Callable[[Tensor, Tensor], None]  # images (B, C, H, W), labels (B,)
Snapshot = dict[str, list[Tensor]]
_WARM_UP = 3  # steps before a recording, as PyTorch recommends
_AGREEMENT = 0.05  # of the step's length: other kernels round differently, a wrong step differs by all of it
_AS_ROUGH = 1.25  # times the plain step's distance from the exact one: two roundings of the same size


@dataclass(frozen=True, kw_only=True)
class StepCandidate:
    """A way of computing a training step, and the plain step that it must agree with."""

    name: str
    step: Step
    plain: Step
    changed: Callable[[], Snapshot]  # all tensors that a step changes, grouped by kind
    rates: Sequence[Tensor]  # learning rates, read in each step
    exact: Step | None = None  # in float32, for a candidate that rounds differently from the plain step


class VerifiedStep:
    """A candidate for batches of the first one's shape, once it agrees with the plain step; else `otherwise`."""

    def __init__(self, candidate: StepCandidate, otherwise: Step) -> None:
        self.candidate, self._otherwise = candidate, otherwise
        self._shape: torch.Size | None = None  # of the first batch
        self._made: Step | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step."""
        if self._shape is None:
            self._shape = images.shape
            self._made = self._verified(images, labels)
        if self._made is not None and images.shape == self._shape:
            self._made(images, labels)
        elif self._made is not None:
            self.for_other_shapes(images, labels)
        else:
            self._otherwise(images, labels)

    @property
    def is_used(self) -> bool:
        """True once the candidate was found to agree."""
        return self._made is not None

    def make(self, images: Tensor, labels: Tensor) -> Step:
        """The step for batches of this shape. Raises RuntimeError if it cannot be made."""
        return self.candidate.step

    def for_other_shapes(self, images: Tensor, labels: Tensor) -> None:
        """A step for a batch of another shape, such as the last of an epoch."""
        self.candidate.plain(images, labels)

    def _verified(self, images: Tensor, labels: Tensor) -> Step | None:
        """The made step if it agrees; leaves everything as it was."""
        kept = snapshot(self.candidate.changed)
        try:
            with same_draws(images.device):
                made = self.make(images.clone(), labels.clone())
            put_back(self.candidate.changed, kept)
            for batch, factor in (((images, labels), 1.0), (_other_batch(images, labels), 0.5)):
                self._compare(made, *batch, factor, kept)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # compilers raise errors of many classes
            logger.warning(
                "the training step is not %s, so it is slower: %s", self.candidate.name, str(error).partition("\n")[0]
            )
            return None
        finally:
            put_back(self.candidate.changed, kept)
        return made

    def _compare(self, made: Step, images: Tensor, labels: Tensor, factor: float, kept: Snapshot) -> None:
        """Raises RuntimeError if the step does not change each kind of tensors as it should."""
        plain, exact = self.candidate.plain, self.candidate.exact
        found, ours = (self._end(step, images, labels, factor, kept) for step in (made, plain))
        wanted = ours if exact is None else self._end(exact, images, labels, factor, kept)
        for kind, before in kept.items():
            length = _distance(before, wanted[kind]) or 1.0
            allowed = _AGREEMENT + _AS_ROUGH * _distance(ours[kind], wanted[kind]) / length
            apart = _distance(found[kind], wanted[kind]) / length
            if not apart <= allowed:  # also true for NaN
                raise RuntimeError(f"it changes the {kind} differently from the step, by {apart:.2g} of the step")

    def _end(self, step: Step, images: Tensor, labels: Tensor, factor: float, kept: Snapshot) -> Snapshot:
        """All changed tensors after a step from `kept`, at `factor` times the rate."""
        before = [rate.clone() for rate in self.candidate.rates]
        try:
            for rate in self.candidate.rates:
                rate.mul_(factor)
            put_back(self.candidate.changed, kept)
            with same_draws(images.device):
                step(images, labels)
            return snapshot(self.candidate.changed)
        finally:
            for rate, value in zip(self.candidate.rates, before, strict=True):
                rate.copy_(value)


class RecordedStep(VerifiedStep):
    """The candidate as a CUDA graph."""

    def make(self, images: Tensor, labels: Tensor) -> Step:
        """Records the step on this batch. Raises RuntimeError if something in it cannot be recorded."""
        kept = snapshot(self.candidate.changed)
        graph = self.capture(images, labels, kept)

        def replay(others: Tensor, their_labels: Tensor) -> None:
            images.copy_(others)
            labels.copy_(their_labels)
            graph.replay()

        return replay

    def capture(self, images: Tensor, labels: Tensor, kept: Snapshot) -> torch.cuda.CUDAGraph:
        step = self.candidate.step
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # a separate one, so that recordings share no workspace
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                step(images, labels)
            put_back(self.candidate.changed, kept)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):  # a loader's threads may continue
            step(images, labels)
        torch.cuda.current_stream().wait_stream(side)
        return graph


def snapshot(changed: Callable[[], Snapshot]) -> Snapshot:
    """Copies of all tensors that a step changes."""
    return {kind: [tensor.detach().clone() for tensor in tensors] for kind, tensors in changed().items()}


@torch.no_grad()
def put_back(changed: Callable[[], Snapshot], kept: Snapshot) -> None:
    """Gives the tensors the values of a snapshot."""
    for kind, tensors in changed().items():
        for tensor, before in zip(tensors, kept[kind], strict=True):
            tensor.copy_(before)


def _other_batch(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Other images and labels of the same shapes."""
    return images.flip(3), labels.roll(1)


def _distance(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Root of the sum of squares over all elements; infinite instead of NaN."""
    total = math.fsum(float((a.double() - b.double()).square().sum()) for a, b in zip(ones, others, strict=True))
    return math.inf if math.isnan(total) else math.sqrt(total)
