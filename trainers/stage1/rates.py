"""How many images per second several trainings process together on one device, measured before a study."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Sequence

import torch

from trainers.config import Stage1Config, StepWay, TrialConfig
from trainers.data.splits import MemorySplit
from trainers.data.task import Task, load_task
from trainers.errors import ConfigError, DataError
from trainers.results import Progress
from trainers.stage1 import loop
from trainers.turns import Clock, Events, JobEnd, Together, Turn

logger = logging.getLogger(__name__)

COUNTS = (1, 2, 4, 8)
_ENDLESS = 10_000  # epochs, so that few are validated
_PATIENCE = 20  # times the seconds of a measurement, until all trainings have begun
_WORTH = 1.05  # more trainings at once must be this much faster to be kept


def measured_rates(
    config: TrialConfig,
    *,
    device: torch.device,
    way: StepWay,
    seconds: float = 3.0,
    counts: Sequence[int] = COUNTS,
    task: Task | None = None,
) -> dict[int, float]:
    """Images per second by number of trainings at once; numbers that do not fit into the GPU's memory are left out.

    Raises ConfigError or DataError for a configuration that cannot be trained.
    """
    task, rates = task or load_task(config.task), dict[int, float]()
    per_turn = config.stage1.batch_size if isinstance(task.train, MemorySplit) else len(task.train)
    for count in counts:
        jobs = [
            functools.partial(
                endless_training,
                task=task,
                config=dataclasses.replace(config.stage1, seed=seed),
                model=config.task.model,
                device=device,
                way=way,
            )
            for seed in range(count)
        ]
        together = Together(jobs, device, count)
        with contextlib.closing(together):
            rate = _rate(together, per_turn, seconds)
        if rate is None:
            break
        rates[count] = rate
    logger.info("images/s by backbones at once: %s", {count: round(rate) for count, rate in rates.items()})
    return rates


def best_count(rates: dict[int, float]) -> int:
    """The number of trainings with the highest rate; a larger one must be worth it. 1 if nothing was measured."""
    best = 1
    for count in sorted(rates):
        if count == 1 or rates[count] > _WORTH * rates.get(best, 0.0):
            best = count
    return best


def endless_training(
    clock: Clock, *, task: Task, config: Stage1Config, model: str, device: torch.device, way: StepWay
) -> Events[object]:
    """A training as a job of `Together` that does not end by itself and is hardly ever validated."""
    endless = dataclasses.replace(config, epochs=_ENDLESS)
    state = loop.start(task, endless, model=model, pretrained=False, device=device)
    for event in loop.turns(loop.Run(state, task, endless, device=device, way=way, clock=clock)):
        yield event if isinstance(event, Turn) else Progress(stage=1, epoch=event.epoch, epochs=_ENDLESS, metrics={})
    return None


def _rate(together: Together, images_per_turn: int, seconds: float) -> float | None:
    """Images per second; None if not all trainings could begin, or one of them failed while it trained."""
    wanted, begun = len(together.jobs), set[int]()
    patience = time.perf_counter() + _PATIENCE * seconds
    while len(begun) < wanted:  # each begins after an epoch of those before it, and records or compiles its step
        for index, event in together.round():
            if isinstance(event, JobEnd):
                if isinstance(event.error, ConfigError | DataError):
                    raise event.error
                return None
            begun.add(index)
        if time.perf_counter() > patience:
            return None
    rounds, since = 0, _now(together.device)
    while time.perf_counter() - since < seconds:
        if any(isinstance(event, JobEnd) for _, event in together.round()):
            return None
        rounds += 1
    return rounds * wanted * images_per_turn / (_now(together.device) - since)


def _now(device: torch.device) -> float:
    """The time when the device has done what was asked of it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
