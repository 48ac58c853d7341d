"""A stage-1 step as one CUDA graph: hyperparameters are tensors on the device, so another trial needs no new capture.

NOT YET RUN ON A GPU: on a CPU, where nothing is captured, the step is held against `torch.optim.SGD` by a test, and
`benchmarks.gpu_speed` measures it where there is one. Until that has been seen, `trainers.stage1` does without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from trainers.losses import Loss
from trainers.models import Network
from trainers.precision import Precision, autocast

_WARM_UP = 3  # steps before a capture, as PyTorch asks for


class CapturedStep:
    """SGD with momentum and coupled weight decay on batches of one shape; a smaller batch goes through uncaptured."""

    def __init__(
        self, model: Network, criterion: Loss, *, images: Tensor, labels: Tensor, momentum: float, precision: Precision
    ) -> None:
        """`images` (B, C, H, W) and `labels` (B,) only give shape and device; `model` is trained in place."""
        self.model, self.criterion, self._precision = model, criterion, precision
        self._device = images.device
        self._images, self._labels = images.clone(), labels.clone()
        self._parameters: list[Tensor] = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._momenta = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._lr, self._decay = (torch.zeros((), device=self._device) for _ in range(2))
        self._momentum = torch.tensor(momentum, device=self._device)
        self.loss_sum = torch.zeros((), device=self._device)  # of loss times images, since the last `restart`
        self._graph: torch.cuda.CUDAGraph | None = None

    def restart(self, weights: dict[str, Tensor], *, lr: float, weight_decay: float) -> None:
        """Another trial: its weights are copied into the ones that were captured, and momentum is forgotten."""
        self.model.load_state_dict(weights)
        for momentum in self._momenta:
            momentum.zero_()
        self.set(lr=lr, weight_decay=weight_decay)
        self.loss_sum.zero_()

    def set(self, *, lr: float, weight_decay: float) -> None:
        """From the next step on."""
        self._lr.fill_(lr)
        self._decay.fill_(weight_decay)

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step."""
        if self._device.type != "cuda" or images.shape != self._images.shape:
            self._step(images, labels)
            return
        self._images.copy_(images)
        self._labels.copy_(labels)
        if self._graph is None:
            self._graph = self._capture()
        self._graph.replay()

    def _step(self, images: Tensor, labels: Tensor) -> None:
        with autocast(self._precision, self._device):
            logits = self.model(images)  # (B, C)
        loss = self.criterion(logits.float(), labels)
        gradients = list(torch.autograd.grad(loss, self._parameters))
        with torch.no_grad():
            # torch.optim.SGD's order: g += wd w; m = mu m + g; w -= lr m
            moved = torch._foreach_mul(self._parameters, self._decay)
            torch._foreach_add_(moved, gradients)
            torch._foreach_mul_(self._momenta, self._momentum)
            torch._foreach_add_(self._momenta, moved)
            torch._foreach_sub_(self._parameters, torch._foreach_mul(self._momenta, self._lr))
            self.loss_sum += loss * len(labels)

    def _capture(self) -> torch.cuda.CUDAGraph:
        """Records the step; what the warm-up changes is put back, so the first replay is the first step."""
        kept = [tensor.clone() for tensor in self._changed()]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UP):
                self._step(self._images, self._labels)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self._step(self._images, self._labels)
        with torch.no_grad():
            for tensor, before in zip(self._changed(), kept, strict=True):
                tensor.copy_(before)
        return graph

    def _changed(self) -> Iterable[Tensor]:
        yield from self.model.state_dict().values()
        yield from self._momenta
        yield self.loss_sum


def interleaved(steps: Iterable[Callable[[], None]]) -> Callable[[], None]:
    """One step of each of several trials on one GPU, each on a stream of its own."""
    pairs = [(step, torch.cuda.Stream()) for step in steps]  # type: ignore[no-untyped-call]

    def advance() -> None:
        for step, stream in pairs:
            with torch.cuda.stream(stream):
                step()

    return advance
