"""Divides the machine's CPUs and GPUs among workers."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, replace
from typing import Literal

from trainers.config import StepWay
from tuner.errors import UsageError

ExecutorName = Literal["ray", "inline"]


@dataclass(frozen=True)
class Resources:
    """Where a study runs, on how much of the machine (None: all of it), and by which trainers."""

    executor: ExecutorName = "ray"
    parallel: int | None = None  # jobs at a time
    gpus_per_trial: float | None = None
    backbones_per_gpu: int | Literal["auto"] | None = None  # None: as the study was begun, else one
    way: StepWay = "recorded"  # of computing a training step
    cache_bytes: int | None = None  # size limit of the backbone cache
    mixed_trainers: bool = False  # allow results of several trainer versions in one study


@dataclass(frozen=True)
class Slots:
    """Equal workers. Their torch threads together never exceed the CPUs."""

    workers: int
    cpus_each: int
    gpus_each: float
    gpus: int


def cut_slots(resources: Resources, *, cpus: int, gpus: int) -> Slots:
    """By default one worker per GPU, or per CPU without GPUs; `parallel` above the number of GPUs shares them.

    Raises UsageError for an impossible share of GPUs, for two ways of sharing them, and for several workers in one
    process.
    """
    if resources.executor == "inline":
        if (resources.parallel or 1) > 1:
            raise UsageError("--executor inline runs one job at a time; leave out --parallel, or --executor inline")
        resources = replace(resources, parallel=1)
    share = _gpu_share(resources, gpus)
    if 0 < share < 1 and resources.backbones_per_gpu not in (None, 1):
        raise UsageError(
            "--backbones-per-gpu trains several in one worker, but --parallel or --gpus-per-trial divides each GPU "
            "among workers; give only one of them"
        )
    if not share:
        workers = max(1, min(resources.parallel or cpus, cpus))
        return Slots(workers=workers, cpus_each=max(1, cpus // workers), gpus_each=0.0, gpus=0)
    possible = gpus * math.floor(1 / share + 1e-6) if share <= 1 else gpus // int(share)
    workers = max(1, min(resources.parallel or possible, possible, cpus))
    return Slots(workers=workers, cpus_each=max(1, cpus // workers), gpus_each=share, gpus=gpus)


def _gpu_share(resources: Resources, gpus: int) -> float:
    """GPUs per worker; 0 if there are none or none is wanted."""
    asked = resources.gpus_per_trial
    if asked is None:
        return 1 / math.ceil((resources.parallel or 1) / gpus) if gpus else 0.0  # no job is split over two GPUs
    if asked and not gpus:
        raise UsageError(f"--gpus-per-trial is {asked:g}, but this machine has no GPU that torch can use; leave it out")
    if asked < 0 or asked > gpus:
        raise UsageError(f"--gpus-per-trial must be between 0 and the {gpus} GPU(s) of this machine, but is {asked:g}")
    if asked > 1 and asked != int(asked):
        raise UsageError(f"--gpus-per-trial must be a whole number above 1, or a share up to 1, but is {asked:g}")
    return asked


def gpu_count() -> int:
    """GPUs that this process may use."""
    import torch

    return torch.cuda.device_count()


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0))


def workers_in_words(slots: Slots, resources: Resources) -> str:
    """The workers in words, and whether they are fewer than asked for."""
    where = f"{slots.gpus} GPU(s), {slots.gpus_each:g} each" if slots.gpus else "CPU"
    asked = resources.parallel or slots.workers
    fewer = f" ({asked} were asked for, but there is no room for more)" if asked > slots.workers else ""
    threads = f"{slots.cpus_each} thread(s)"
    if resources.executor == "inline":
        return f"in this process with {threads} on {where}{fewer}"
    return f"{slots.workers} worker(s) with {threads} each on {where}{fewer}"
