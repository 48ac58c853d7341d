"""Images a second of several backbones that train side by side, as a worker trains them."""

from __future__ import annotations

import dataclasses
import functools
import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import median

import torch

from benchmarks.timing import seconds
from trainers.config import Stage1Config
from trainers.data.task import Task
from trainers.results import Progress
from trainers.stage1.precision import Precision
from trainers.stage1.rates import endless_training
from trainers.stage1.step_ways import StepWay
from trainers.turns import Clock, Events, JobEnd, Together


class NoRoomError(Exception):
    """Not all backbones could begin."""


@dataclass(frozen=True)
class Rate:
    """What `at_once` backbones reach together, and the most GPU memory that they reserved (0 on a CPU)."""

    images_per_second: float
    best: float
    at_once: int
    gpu_bytes: int


@dataclass(frozen=True, kw_only=True)
class Training:
    """What each of the backbones trains; they differ in their seeds."""

    task: Task
    model: str
    config: Stage1Config
    way: StepWay
    device: torch.device

    def events(self, seed: int, begun: list[int], clock: Clock) -> Events[object]:
        """One training in turns, as a job of `Together`; adds its seed to `begun`."""
        begun.append(seed)
        config = dataclasses.replace(self.config, seed=seed)
        yield from endless_training(
            clock, task=self.task, config=config, model=self.model, device=self.device, way=self.way
        )


def rate_together(
    task: Task, count: int, *, way: StepWay, model: str, precision: Precision, device: torch.device, rounds: int
) -> Rate:
    """Trains `count` backbones at once for `rounds` epochs each, after the first ones, in which they begin.

    Raises NoRoomError, and the error of a training that fails.
    """
    config = Stage1Config(batch_size=64, lr=0.01, precision=precision)
    training = Training(task=task, model=model, config=config, way=way, device=device)
    begun: list[int] = []
    jobs = [functools.partial(training.events, seed, begun) for seed in range(count)]
    together = Together(jobs, device, at_once=count)
    wait: Callable[[], None] = torch.cuda.synchronize if device.type == "cuda" else _nothing
    if device.type == "cuda":
        gc.collect()  # the trainings measured before, with their recordings
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        _begin(together, begun, count)
        cycle = _rounds_of_an_epoch(together)

        def epoch() -> None:
            for _ in range(cycle):
                for _event in _progress(together):
                    pass
            wait()

        epoch()
        taken = [seconds(epoch) for _ in range(rounds)]
        most = torch.cuda.max_memory_reserved(device) if device.type == "cuda" else 0
    finally:
        together.close()
    images = count * len(task.train)  # in a whole cycle of turns each trains on all of its images
    return Rate(images / median(taken), images / min(taken), count, most)


def _begin(together: Together, begun: list[int], count: int) -> None:
    """Until all have begun: each waits until those before it have finished an epoch."""
    epochs = 0
    while len(begun) < count:
        epochs += sum(index == 0 for index, _ in _progress(together))
        if epochs > 2 * count + 2:
            raise NoRoomError(f"only {len(begun)} of {count} backbones fit on the GPU beside what else is on it")


def _rounds_of_an_epoch(together: Together) -> int:
    """Rounds between two ends of an epoch of the first training."""
    while all(index != 0 for index, _ in _progress(together)):
        pass
    rounds = 1
    while all(index != 0 for index, _ in _progress(together)):
        rounds += 1
    return rounds


def _progress(together: Together) -> Iterator[tuple[int, Progress]]:
    """One turn of each. Raises the error of a training that failed."""
    for index, event in [*together.round()]:
        if isinstance(event, JobEnd):
            raise event.error or RuntimeError(f"training {index} ended, though it is endless")
        yield index, event


def _nothing() -> None:
    """On a CPU there is nothing to wait for."""
