"""The arithmetic of a training step, and the most that a device does of it, for shares of the peak."""

from __future__ import annotations

import torch

from benchmarks.timing import seconds
from trainers.stage1.models import Network


def flops_per_image(model: Network, device: torch.device) -> float:
    """Of a training step: backward costs twice the forward pass, which PyTorch counts."""
    from torch.utils.flop_counter import FlopCounterMode

    model.eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, 3, 32, 32, device=device))
    model.train()
    return float(3 * counter.get_total_flops())


def peak_flops(device: torch.device) -> float:
    """Of the largest matrix product this device does well, a second, measured now."""
    is_gpu = device.type == "cuda"
    size, dtype = (8192, torch.bfloat16) if is_gpu else (512, torch.float32)
    matrix = torch.randn(size, size, device=device, dtype=dtype)

    def multiply() -> None:
        for _ in range(5):
            matrix @ matrix
        if is_gpu:
            torch.cuda.synchronize(device)

    multiply()
    best = min(seconds(multiply) for _ in range(5))
    return float(5 * 2 * size**3 / best)
