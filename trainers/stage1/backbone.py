"""The result of stage 1: found in the cache by fingerprint, or trained and cached."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainers.config import Scalar, Stage1Config, StepWay, TaskConfig, TrialConfig
from trainers.data.task import Task
from trainers.files.cache import MISFIT, Cache
from trainers.files.checkpoint import pack, restore
from trainers.results import EpochResult, Progress
from trainers.stage1 import loop
from trainers.stage1.models import Network, build_model
from trainers.stage1.precision import cache_name
from trainers.stage1.step import Stage1State
from trainers.stage1.step_ways import DEFAULT_WAY
from trainers.turns import Clock, Events, Turn

TRAINER_VERSION = 2  # raise it when the same configuration would train differently
_ONCE = (100, 20)  # the thresholds in files of releases that did not store them


@dataclass(frozen=True)
class Backbone:
    """A trained network and its history."""

    model: Network
    fingerprint: str
    history: tuple[EpochResult, ...]
    seconds: float  # of training, in whichever process
    cached: bool  # found, not trained


@dataclass(frozen=True, kw_only=True)
class Training:
    """The configuration, data and device of a training."""

    config: TaskConfig
    stage1: Stage1Config
    task: Task
    device: torch.device
    way: StepWay = DEFAULT_WAY  # of computing a step; no part of the fingerprint
    clock: Clock = time.perf_counter

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that determines the backbone; of the device, only what it computes in."""
        parts = {
            "trainer": TRAINER_VERSION,
            "data": self.task.fingerprint,
            "model": self.config.model,
            "pretrained": self.config.pretrained,
            "keep_best": self.keep_best,
            **dataclasses.asdict(self.stage1),
            "precision": cache_name(self.stage1.precision, self.device),
        }
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    @property
    def keep_best(self) -> bool:
        """True if the best epoch on test is kept, as in the released code."""
        return self.config.protocol == "paper_leak"

    @property
    def thresholds(self) -> tuple[int, int]:
        """Thresholds of many and few: they group the measures and are not part of the fingerprint."""
        return self.config.many, self.config.few

    @property
    def flat(self) -> dict[str, Scalar]:
        """The `task.*` and `stage1.*` of its configuration."""
        flat = TrialConfig(task=self.config, stage1=self.stage1).to_flat()
        return {name: value for name, value in flat.items() if not name.startswith("stage2.")}


def obtain(training: Training, *, cache: Cache | None, checkpoint_every: float) -> Events[Backbone]:
    """Finds or trains a backbone, in turns. Closing the generator after an epoch leaves a checkpoint in the cache.

    One job trains it; others that need it wait. Raises DivergedError.
    """
    if cache is None:
        return (yield from _train(training, None, checkpoint_every))
    while True:
        found = _find(training, cache)
        if found is not None:
            return found
        with cache.lease(training.fingerprint) as mine:
            if mine:
                found = _find(training, cache)  # another worker may just have made it
                return found or (yield from _train(training, cache, checkpoint_every))
        yield Progress(stage=1, epoch=0, epochs=training.stage1.epochs, metrics={})  # another job is training it
        yield Turn.WAIT


def _find(training: Training, cache: Cache) -> Backbone | None:
    pair = cache.load(training.fingerprint, "backbone")
    if pair is None:
        return None
    tensors, manifest = pair
    task = training.task
    model = build_model(training.config.model, task.num_classes, in_channels=task.channels, image_size=task.image_size)
    try:
        model.load_state_dict(tensors)
        history = _regrouped(EpochResult.from_rows(manifest["history"]), manifest, training)
        seconds = float(manifest["seconds"])
    except MISFIT as error:
        cache.reject(training.fingerprint, "backbone", error)
        return None
    model.to(training.device)
    model.to(memory_format=torch.channels_last)
    return Backbone(model, training.fingerprint, history, seconds, cached=True)


def _train(training: Training, cache: Cache | None, checkpoint_every: float) -> Events[Backbone]:
    fingerprint, epochs = training.fingerprint, training.stage1.epochs
    state = _started(training, cache)
    saved = began = time.monotonic()
    run = loop.Run(
        state,
        training.task,
        training.stage1,
        device=training.device,
        keep_best=training.keep_best,
        thresholds=training.thresholds,
        way=training.way,
        clock=training.clock,
    )
    for result in loop.turns(run):
        if isinstance(result, Turn):
            yield result
            continue
        passed = time.monotonic() - began  # on the wall: of jobs side by side each has only a share of the seconds
        rate = len(training.task.train) / passed if passed else None
        try:
            yield Progress(stage=1, epoch=result.epoch, epochs=epochs, metrics=result.metrics, images_per_second=rate)
        except GeneratorExit:
            if cache:
                cache.publish(fingerprint, "checkpoint", *_checkpoint(training, state))
            raise
        if cache and time.monotonic() - saved > checkpoint_every:
            cache.publish(fingerprint, "checkpoint", *_checkpoint(training, state))
            saved = time.monotonic()
        began = time.monotonic()
    if cache:
        cache.publish(fingerprint, "backbone", state.model.state_dict(), _manifest(training, state))
        cache.remove(fingerprint, "checkpoint")
    return Backbone(state.model, fingerprint, tuple(state.history), state.seconds, cached=False)


def _started(training: Training, cache: Cache | None) -> Stage1State:
    """Stage 1 from its checkpoint, or fresh."""
    start = functools.partial(
        loop.start,
        training.task,
        training.stage1,
        model=training.config.model,
        pretrained=training.config.pretrained,
        device=training.device,
    )
    state, interrupted = start(), cache.load(training.fingerprint, "checkpoint") if cache else None
    if cache is None or interrupted is None:
        return state
    try:
        restore(state, *interrupted)
        state.history = [*_regrouped(state.history, interrupted[1], training)]
    except torch.OutOfMemoryError:  # the file is not at fault
        raise
    except MISFIT as error:
        cache.reject(training.fingerprint, "checkpoint", error)
        return start()
    return state


def _regrouped(
    history: Sequence[EpochResult], manifest: Mapping[str, Any], training: Training
) -> tuple[EpochResult, ...]:
    """The epochs, without group measures if another study's thresholds differ from `task.many` and `task.few`."""
    if tuple(manifest.get("thresholds", _ONCE)) == training.thresholds:
        return tuple(history)
    return tuple(
        dataclasses.replace(row, metrics={key: row.metrics[key] for key in row.metrics if key not in loop.GROUPS})
        for row in history
    )


def _checkpoint(training: Training, state: Stage1State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors, manifest = pack(state)
    return tensors, {**manifest, "thresholds": training.thresholds}


def _manifest(training: Training, state: Stage1State) -> dict[str, Any]:
    return {
        "config": training.flat,
        "data_fingerprint": training.task.fingerprint,
        "history": [dataclasses.asdict(row) for row in state.history],
        "seconds": state.seconds,
        "thresholds": training.thresholds,
        "torch": torch.__version__,
    }
