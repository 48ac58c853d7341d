"""Control of the random numbers that networks draw from torch's global state (dropout, stochastic depth)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def own_draws(seed: int, epoch: int, device: torch.device) -> Iterator[None]:
    """Makes draws within the block depend only on `seed` and `epoch`, not on earlier jobs or interruptions.

    Restores the global state afterwards.
    """
    with same_draws(device):
        number = (seed * 1_000_003 + epoch) % 2**63
        torch.default_generator.manual_seed(number)
        if device.type == "cuda":
            torch.cuda.manual_seed(number)
        yield


@contextlib.contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """Restores the global state at the end, so that the code after the block draws the same numbers again."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
