"""Stage 1 of several backbones side by side, as long as there is time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from trainers.results import Progress
from trainers.turns import Clock, Events, JobEnd, Together


def train_together(
    jobs: Sequence[Callable[[Clock], Events[object]]], *, device: torch.device, is_over: Callable[[float], bool]
) -> Iterator[tuple[int, JobEnd]]:
    """Runs all jobs at once; yields the end of each by its index.

    `is_over` is asked after epochs, with the seconds that one of each job takes at most. If so, each continues to the
    end of its epoch and leaves a checkpoint; those that have not ended yield nothing.
    """
    together = Together(jobs, device, at_once=len(jobs))
    longest = 0.0  # seconds of an epoch, of which each job counts its share
    try:
        while not together.over:
            ended_an_epoch = False
            for index, event in together.round():
                if isinstance(event, JobEnd):
                    yield index, event
                else:
                    longest = max(longest, _seconds(event) * len(jobs))
                    ended_an_epoch = True
            if ended_an_epoch and is_over(longest):
                yield from ((index, end) for index, end in together.finish_epochs() if isinstance(end, JobEnd))
                return
    finally:
        together.close()


def _seconds(event: Progress) -> float:
    return event.metrics.get("seconds") or 0.0
