"""A training step recorded once as a CUDA graph and played again for each batch: the host no longer sets the pace.

At batch 64 a step of a ResNet is some 500 kernels that take the host longer to ask for than a large GPU to compute.
What the step reads lies in tensors that stay where they are: batch, weights, momenta, learning rate.

NOT YET SEEN ON A GPU. So each recording is held against the step itself before it is used: where it cannot be made, or
moves the weights otherwise, training goes on without it and says so.
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
_WARM_UP = 3  # steps before a recording, as PyTorch asks for
_AGREEMENT = 0.05  # of the length of the step: other kernels round otherwise, a wrong recording is off by all of it


def recorded_on_cuda(step: Step, changed: Callable[[], Snapshot], device: torch.device) -> Step:
    """The step as a graph on a GPU; the step itself elsewhere."""
    return RecordedStep(step, changed) if device.type == "cuda" else step


class RecordedStep:
    """`step` for batches of the first one's shape as a graph; a batch of another shape goes through `step` itself."""

    def __init__(self, step: Step, changed: Callable[[], Mapping[str, Sequence[Tensor]]]) -> None:
        """`changed` gives all tensors that a step changes, in groups of one kind: they are put back after trials."""
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
            if not apart <= _AGREEMENT:  # nor where it is no number
                raise RuntimeError(f"it moves the weights otherwise than the step itself, by {apart:.2g} of the step")
        except RuntimeError as error:
            self._refused = True
            logger.warning("the training step was not recorded as a CUDA graph, so it is slower: %s", error)
        else:
            self._graph, self._batch = graph, batch
        finally:
            self._put_back(kept)

    def capture(self, images: Tensor, labels: Tensor, kept: Snapshot) -> torch.cuda.CUDAGraph:
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # one of its own: recordings share no workspace
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._step(images, labels)
            self._put_back(kept)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):  # a loader's threads may go on
            self._step(images, labels)
        torch.cuda.current_stream().wait_stream(side)
        return graph

    def _apart(self, graph: torch.cuda.CUDAGraph, images: Tensor, labels: Tensor, kept: Snapshot) -> float:
        """How far the recording ends from the step itself, from one start: distance over the step's, of the worst."""
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
    """Root of the sum of squares over all elements; infinite where it is not a number."""
    total = math.fsum(float((a.double() - b.double()).square().sum()) for a, b in zip(ones, others, strict=True))
    return math.inf if math.isnan(total) else math.sqrt(total)
