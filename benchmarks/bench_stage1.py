"""A stage-1 step, fast (channels_last, bf16, fused SGD, no synchronisation) against straightforward, one thread.

Both take the same batch of 64 images; steps alternate, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch
from torch import nn

from benchmarks.noise import seconds
from benchmarks.record import record
from benchmarks.straightforward import stage1_step
from trainers.models import build_model
from trainers.precision import autocast

TARGETS = {"resnet32": 2.0, "resnet18": 2.7, "resnet34": 2.7}
ROUNDS = 4


def main() -> None:
    """Prints one line a network."""
    torch.set_num_threads(1)
    native = torch.cpu._is_amx_tile_supported()
    for name, target in TARGETS.items():
        slow, fast = _straightforward(name), _fast(name)
        slow(), fast()
        pairs = [(seconds(slow), seconds(fast)) for _ in range(ROUNDS)]
        ratio = median(a / b for a, b in pairs)
        record(
            name=f"stage1_step_{name}", figure=ratio, unit="x", baseline="float32, NCHW, for-loop SGD, item() per step",
            target=target, met=ratio >= target, n=ROUNDS, amx=native,
            images_per_second=64 / median(b for _, b in pairs),
        )  # fmt: skip


def _batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(64, 3, 32, 32, generator=generator), torch.randint(0, 10, (64,), generator=generator)


def _straightforward(name: str) -> Callable[[], object]:
    model = build_model(name, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, foreach=False)
    images, labels = _batch()
    return lambda: stage1_step(model, optimizer, images, labels)


def _fast(name: str) -> Callable[[], object]:
    model = build_model(name, 10).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, fused=True)
    images, labels = _batch()
    images = images.contiguous(memory_format=torch.channels_last)
    device = torch.device("cpu")

    def step() -> None:
        with autocast("bf16", device):
            logits = model(images)
        loss = nn.functional.cross_entropy(logits.float(), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
