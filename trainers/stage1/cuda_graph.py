"""A training step recorded once as a CUDA graph and replayed for each batch, so that the host is no bottleneck.

At batch 64 a ResNet's step is some 500 kernels, and the host takes longer to launch them than a large GPU to run them.
The step reads tensors at fixed addresses: batch, weights, momenta, learning rate.

NOT YET TESTED ON A GPU. So each recording is compared with the step before use. If recording fails, or the recording
changes the weights differently, training continues without it and logs a warning.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from trainers.stage1.random_numbers import same_draws

logger = logging.getLogger(__name__)

Step = Callable[[Tensor, Tensor], None]  # images (B, C, H, W), labels (B,)
Snapshot = dict[str, list[Tensor]]
WrapStep = Callable[[Step, Callable[[], Snapshot], torch.device], Step]  # a step and all tensors that it changes
_WARM_UP = 3  # steps before a recording, as PyTorch recommends
_AGREEMENT = 0.05  # of the step's length: other kernels round differently, a wrong recording differs by all of it


def recorded_on_cuda(step: Step, changed: Callable[[], Snapshot], device: torch.device) -> Step:
    """The step as a CUDA graph on a GPU; the step itself on other devices."""
    return RecordedStep(step, changed) if device.type == "cuda" else step


class RecordedStep:
    """`step` as a graph for batches of the first one's shape; other batches run `step` itself."""

    def __init__(self, step: Step, changed: Callable[[], Mapping[str, Sequence[Tensor]]]) -> None:
        """`changed` returns all tensors that a step changes, grouped by kind, to restore them after trial steps."""
        self._step, self._changed = step, changed
        self._graph: torch.cuda.CUDAGraph | None = None
        self._batch: tuple[Tensor, Tensor] | None = None
        self._refused = False

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step."""
        if self._batch is None and not self._refused:
            self._record(images, labels)
        if self._graph is None or self._batch is None or images.shape != self._batch[0].shape:
            self._step(images, labels)
            return
        self._batch[0].copy_(images)
        self._batch[1].copy_(labels)
        self._graph.replay()

    def _record(self, images: Tensor, labels: Tensor) -> None:
        kept = self._snapshot()
        batch = images.clone(), labels.clone()
        try:
            with same_draws(images.device):
                graph = self.capture(*batch, kept)
            apart = self._apart(graph, *batch, kept)
            if not apart <= _AGREEMENT:  # also true for NaN
                raise RuntimeError(f"it changes the weights differently from the step, by {apart:.2g} of the step")
        except RuntimeError as error:
            self._refused = True
            logger.warning("the training step was not recorded as a CUDA graph, so it is slower: %s", error)
        else:
            self._graph, self._batch = graph, batch
        finally:
            self._put_back(kept)

    def capture(self, images: Tensor, labels: Tensor, kept: Snapshot) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # a separate one, so that recordings share no workspace
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._step(images, labels)
            self._put_back(kept)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):  # a loader's threads may continue
            self._step(images, labels)
        torch.cuda.current_stream().wait_stream(side)
        return graph

    def _apart(self, graph: torch.cuda.CUDAGraph, images: Tensor, labels: Tensor, kept: Snapshot) -> float:
        """The worst relative distance between recording and step from the same start, over all groups of tensors."""
        self._put_back(kept)
        with same_draws(images.device):
            self._step(images, labels)
        wanted = self._snapshot()
        self._put_back(kept)
        with same_draws(images.device):
            graph.replay()
        found = self._snapshot()
        return max(_distance(found[kind], wanted[kind]) / (_distance(kept[kind], wanted[kind]) or 1.0) for kind in kept)

    def _snapshot(self) -> Snapshot:
        return {kind: [tensor.detach().clone() for tensor in tensors] for kind, tensors in self._changed().items()}

    @torch.no_grad()
    def _put_back(self, kept: Snapshot) -> None:
        for kind, tensors in self._changed().items():
            for tensor, before in zip(tensors, kept[kind], strict=True):
                tensor.copy_(before)


def _distance(ones: Sequence[Tensor], others: Sequence[Tensor]) -> float:
    """Root of the sum of squares over all elements; infinite instead of NaN."""
    total = math.fsum(float((a.double() - b.double()).square().sum()) for a, b in zip(ones, others, strict=True))
    return math.inf if math.isnan(total) else math.sqrt(total)
