"""Control of the random numbers that networks draw from torch's global state (dropout, stochastic depth)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import TracebackType

import torch


class OwnDraws:
    """Makes draws within its blocks depend only on `seed` and `epoch`, not on other jobs or interruptions.

    Each block goes on where the last one ended, and restores the global state afterwards.
    """

    def __init__(self, seed: int, epoch: int, device: torch.device) -> None:
        self._generators = [torch.default_generator]
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]
            index = torch.cuda.current_device() if device.index is None else device.index
            self._generators.append(torch.cuda.default_generators[index])
        number = (seed * 1_000_003 + epoch) % 2**63
        self._others = [generator.get_state() for generator in self._generators]
        for generator in self._generators:
            generator.manual_seed(number)
        self._own = [generator.get_state() for generator in self._generators]
        self._set(self._others)

    def __enter__(self) -> None:
        self._others = [generator.get_state() for generator in self._generators]
        self._set(self._own)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._own = [generator.get_state() for generator in self._generators]
        self._set(self._others)

    def _set(self, states: list[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)


@contextlib.contextmanager
def same_draws(device: torch.device) -> Iterator[None]:
    """Restores the global state at the end, so that the code after the block draws the same numbers again."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield
