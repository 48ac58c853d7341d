"""Random numbers that networks draw by themselves (dropout, stochastic depth), from torch's global state."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def own_draws(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Within the block they depend on `seed` and `epoch` alone: neither on earlier jobs of this process, nor on whether
    training was interrupted. Afterwards the global state is as it was."""
    with same_draws(device):
        number = (seed * 1_000_003 + epoch) % 2**63
        torch.default_generator.manual_seed(number)
        if device.type == "cuda":
            torch.cuda.manual_seed(number)
        yield


@contextlib.contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """Puts the global state back at the end, so that what follows draws what was drawn in the block."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
