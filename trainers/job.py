"""One job: a backbone (trained, or found in the cache) and the heads asked for on it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainers import stage1
from trainers.cache import Cache
from trainers.calibration import fit_temperature
from trainers.checkpoint import pack, restore
from trainers.config import POSTHOC_METHODS, Scalar, Stage1Config, Stage2Config, TaskConfig, TrialConfig
from trainers.data.task import Task, load_task
from trainers.errors import ConfigError
from trainers.features import FeatureBank, class_separation, classifier_alignment, extract_bank
from trainers.heads import train_heads
from trainers.metrics import evaluate_logits
from trainers.models import Network, build_model
from trainers.posthoc import posthoc_grid, posthoc_head
from trainers.precision import resolve_precision
from trainers.results import (
    BackboneResult,
    ClassCounts,
    EpochResult,
    HeadFailure,
    HeadResult,
    JobResult,
    Metrics,
)
from trainers.stage2_recipe import TrainedHead
from trainers.weight_balance import LinearHead, norm_balance, row_norms

TRAINER_VERSION = 1  # of what a backbone is; raise it when the same configuration would train differently
_LOOK_EVERY = 0.2  # seconds, while another worker trains the same backbone
_MISFIT = (KeyError, TypeError, ValueError, RuntimeError)  # what a file of another release, whole as it is, can raise


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to do: `heads` in order on one backbone; test data is touched only with `read_test`."""

    task: TaskConfig
    stage1: Stage1Config
    heads: tuple[Stage2Config, ...] = ()
    read_test: bool = False

    @classmethod
    def from_flat(cls, configs: Sequence[Mapping[str, Any]], *, read_test: bool = False) -> Job:
        """From whole flat configurations, one a head, that share `task.*` and `stage1.*`. Raises ConfigError."""
        trials = [TrialConfig.from_flat(config) for config in configs]
        if not trials or any((t.task, t.stage1) != (trials[0].task, trials[0].stage1) for t in trials):
            raise ConfigError("a job needs at least one head, and all of them on one backbone")
        heads = tuple(trial.stage2 for trial in trials)
        return cls(task=trials[0].task, stage1=trials[0].stage1, heads=heads, read_test=read_test)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a job is; rates in images per second."""

    stage: int
    epoch: int
    epochs: int
    metrics: Metrics
    images_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished job: its plain numbers, and what they are numbers of."""

    result: JobResult
    task: Task
    model: Network
    heads: tuple[LinearHead | None, ...]  # as asked; None where the head was lost


@dataclass(frozen=True)
class _Backbone:
    model: Network
    fingerprint: str
    history: tuple[EpochResult, ...]
    seconds: float
    cached: bool


def run_job(
    job: Job, *, cache: Cache | None, device: torch.device, checkpoint_every: float = 30.0, task: Task | None = None
) -> Generator[Progress, None, Trained]:
    """Runs a job, yielding after each stage-1 epoch. Closing the generator leaves a checkpoint in the cache.

    `task` is for data that no configuration names, such as training and validation joined; else it is loaded.
    Raises ConfigError or DataError before training starts, DivergedError when stage 1 is lost; a head that is lost
    alone becomes a HeadFailure in the result.
    """
    task = task or load_task_once(job.task)
    backbone = yield from _backbone(job, task, cache, device, checkpoint_every)
    yield Progress(stage=2, epoch=0, epochs=max((head.epochs for head in job.heads), default=0), metrics={})
    start = stage1.stage1_head(backbone.model, job.stage1)
    banks = _Banks(job, task, backbone, cache, device)
    results, heads = _run_heads(job, start, banks, task)
    bank = banks.get(_grid_features(job))
    posthoc = tuple(
        _evaluate(job.task, task, bank, config, posthoc_head(config, start, bank, task.counts))
        for config in posthoc_grid()
    )
    described = _describe(job, task, backbone, start, bank, posthoc, device)
    return Trained(result=JobResult(backbone=described, heads=results), task=task, model=backbone.model, heads=heads)


@functools.lru_cache(maxsize=2)
def load_task_once(config: TaskConfig) -> Task:
    """The task's data, kept for the next job of this process."""
    return load_task(config)


def backbone_fingerprint(job: Job, task: Task, device: torch.device) -> str:
    """SHA-256 over all that determines a backbone; not over where or how fast it is trained."""
    parts = {
        "trainer": TRAINER_VERSION,
        "data": task.fingerprint,
        "model": job.task.model,
        "pretrained": job.task.pretrained,
        "keep_best": _keeps_best(job.task),
        **dataclasses.asdict(job.stage1),
        "precision": resolve_precision(job.stage1.precision, device),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _keeps_best(task: TaskConfig) -> bool:
    return task.protocol == "paper_leak"  # as released: the best epoch on test


def _backbone(
    job: Job, task: Task, cache: Cache | None, device: torch.device, checkpoint_every: float
) -> Generator[Progress, None, _Backbone]:
    fingerprint = backbone_fingerprint(job, task, device)
    if cache is None:
        return (yield from _train(job, task, None, fingerprint, device, checkpoint_every))
    found = _find(job, task, cache, fingerprint, device)
    if found is not None:
        return found
    while True:
        with cache.lease(fingerprint) as mine:
            found = _find(job, task, cache, fingerprint, device)  # another worker may just have made it
            if found is not None:
                return found
            if mine:
                return (yield from _train(job, task, cache, fingerprint, device, checkpoint_every))
        yield Progress(stage=1, epoch=0, epochs=job.stage1.epochs, metrics={})  # another worker is training it
        time.sleep(_LOOK_EVERY)


def _find(job: Job, task: Task, cache: Cache, fingerprint: str, device: torch.device) -> _Backbone | None:
    pair = cache.load(fingerprint, "backbone")
    if pair is None:
        return None
    tensors, manifest = pair
    model = build_model(job.task.model, task.num_classes, in_channels=task.channels, image_size=task.image_size)
    try:
        model.load_state_dict(tensors)
        history = tuple(EpochResult(epoch=row["epoch"], metrics=row["metrics"]) for row in manifest["history"])
        seconds = float(manifest["seconds"])
    except _MISFIT as error:
        cache.reject(fingerprint, "backbone", error)
        return None
    model.to(device)
    model.to(memory_format=torch.channels_last)
    return _Backbone(model, fingerprint, history, seconds, cached=True)


def _train(
    job: Job, task: Task, cache: Cache | None, fingerprint: str, device: torch.device, checkpoint_every: float
) -> Generator[Progress, None, _Backbone]:
    state = _started(job, task, cache, fingerprint, device)
    saved = time.monotonic()
    for result in stage1.train(state, task, job.stage1, device=device, keep_best=_keeps_best(job.task)):
        seconds = result.metrics["seconds"] or 0.0
        rate = len(task.train) / seconds if seconds else None
        try:
            yield Progress(
                stage=1, epoch=result.epoch, epochs=job.stage1.epochs, metrics=result.metrics, images_per_second=rate
            )
        except GeneratorExit:
            if cache:
                cache.publish(fingerprint, "checkpoint", *pack(state))
            raise
        if cache and time.monotonic() - saved > checkpoint_every:
            cache.publish(fingerprint, "checkpoint", *pack(state))
            saved = time.monotonic()
    if cache:
        cache.publish(fingerprint, "backbone", state.model.state_dict(), _manifest(job, task, state))
        cache.remove(fingerprint, "checkpoint")
    return _Backbone(state.model, fingerprint, tuple(state.history), state.seconds, cached=False)


def _started(job: Job, task: Task, cache: Cache | None, fingerprint: str, device: torch.device) -> stage1.Stage1State:
    """Stage 1 as its checkpoint left it, or fresh."""
    start = functools.partial(
        stage1.start, task, job.stage1, model=job.task.model, pretrained=job.task.pretrained, device=device
    )
    state, interrupted = start(), cache.load(fingerprint, "checkpoint") if cache else None
    if cache is None or interrupted is None:
        return state
    try:
        restore(state, *interrupted)
    except torch.OutOfMemoryError:  # no fault of the file's
        raise
    except _MISFIT as error:
        cache.reject(fingerprint, "checkpoint", error)
        return start()
    return state


def _manifest(job: Job, task: Task, state: stage1.Stage1State) -> dict[str, Any]:
    return {
        "config": backbone_config(job),
        "data_fingerprint": task.fingerprint,
        "history": [{"epoch": row.epoch, "metrics": row.metrics} for row in state.history],
        "seconds": state.seconds,
        "torch": torch.__version__,
    }


def _grid_features(job: Job) -> Stage2Config:
    """Whose features the post-hoc grid is scored on: the heads' own, but no replay, which has left stage 1 behind."""
    still = (head for head in job.heads if head.features != "replay")
    return next(still, Stage2Config(features="search"))


def backbone_config(job: Job) -> dict[str, Scalar]:
    """The flat `task.*` and `stage1.*` part of a job's configuration."""
    flat = TrialConfig(task=job.task, stage1=job.stage1).to_flat()
    return {name: value for name, value in flat.items() if not name.startswith("stage2.")}


class _Banks:
    """Cached features by what determines them: in memory for this job, on disk for the next."""

    def __init__(self, job: Job, task: Task, backbone: _Backbone, cache: Cache | None, device: torch.device) -> None:
        self._job, self._task, self._backbone, self._cache, self._device = job, task, backbone, cache, device
        self._open: dict[str, FeatureBank] = {}

    def get(self, head: Stage2Config) -> FeatureBank:
        """The features that `head` is trained and measured on."""
        key = self._key(head)
        if key not in self._open:
            self._open[key] = self._load(key) or self._extract(key, head)
        return self._open[key]

    def _key(self, head: Stage2Config) -> str:
        parts = [head.features, f"seed{head.seed}"]
        if head.features != "search":
            parts.append(f"views{head.epochs}")
        if head.features == "replay":
            parts.append(f"batch{head.batch_size}")
        return "-".join(["features", *parts, *(["test"] if self._job.read_test else [])])

    def _load(self, key: str) -> FeatureBank | None:
        pair = self._cache.load(self._backbone.fingerprint, key) if self._cache else None
        if self._cache is None or pair is None:
            return None
        try:
            bank = FeatureBank.from_tensors(pair[0])
        except _MISFIT as error:
            self._cache.reject(self._backbone.fingerprint, key, error)
            return None
        return bank.to(self._device)

    def _extract(self, key: str, head: Stage2Config) -> FeatureBank:
        bank = extract_bank(
            self._backbone.model,
            self._task,
            mode=head.features,
            epochs=head.epochs,
            batch_size=head.batch_size,
            seed=head.seed,
            splits=("val", "test") if self._job.read_test else ("val",),
            device=self._device,
            precision=self._job.stage1.precision,
            mirrored=("test",) if self._job.task.flip_average else (),
        )
        if self._cache and not self._job.read_test:
            self._cache.publish(self._backbone.fingerprint, key, bank.to_tensors(), {})
        return bank


def _run_heads(
    job: Job, start: LinearHead, banks: _Banks, task: Task
) -> tuple[tuple[HeadResult | HeadFailure, ...], tuple[LinearHead | None, ...]]:
    """Every head asked for, in order; those on the same features are trained together."""
    results: dict[int, HeadResult | HeadFailure] = {}
    linear: dict[int, LinearHead | None] = {}
    together: dict[int, list[int]] = {}
    for index, config in enumerate(job.heads):
        bank = banks.get(config)
        if config.method in POSTHOC_METHODS:
            head = posthoc_head(config, start, bank, task.counts)
            linear[index], results[index] = head, _evaluate(job.task, task, bank, config, head)
        else:
            together.setdefault(id(bank), []).append(index)
    for indices in together.values():
        bank = banks.get(job.heads[indices[0]])
        began = time.perf_counter()
        trained = train_heads(bank, start, [job.heads[index] for index in indices], task.counts)
        seconds = (time.perf_counter() - began) / len(indices)
        for index, outcome in zip(indices, trained, strict=True):
            linear[index] = None if isinstance(outcome, HeadFailure) else outcome.head
            results[index] = _result(job.task, task, bank, job.heads[index], outcome, seconds)
    order = range(len(job.heads))
    return tuple(results[index] for index in order), tuple(linear[index] for index in order)


def _result(
    config: TaskConfig,
    task: Task,
    bank: FeatureBank,
    stage2: Stage2Config,
    head: TrainedHead | HeadFailure,
    seconds: float,
) -> HeadResult | HeadFailure:
    if isinstance(head, HeadFailure):
        return head
    result = _evaluate(config, task, bank, stage2, head.head, epoch=head.epoch)
    acted: Metrics = {
        "stage2.forgetting": head.forgetting,
        "stage2.projected_at_step1": float(head.projected_at_step1),
        "stage2.projected_rows": sum(epoch.metrics["projected_rows"] or 0.0 for epoch in head.epochs),
    }
    return dataclasses.replace(
        result, metrics={**result.metrics, **acted}, epochs=head.epochs, notes=head.notes, seconds=seconds
    )


def _evaluate(
    config: TaskConfig,
    task: Task,
    bank: FeatureBank,
    stage2: Stage2Config,
    head: LinearHead,
    *,
    epoch: int | None = None,
) -> HeadResult:
    """All measures of a head, on every split the bank holds; the temperature is fitted on validation alone.

    `epoch` (from 1) is when the head was kept: in a replay the network's statistics differ from epoch to epoch.
    """
    head = head.to(bank.train.device)
    splits = {name: bank.splits[name] if epoch is None else bank.split_at(name, epoch - 1) for name in bank.splits}
    logits = {name: head.logits(split.features.float()) for name, split in splits.items()}
    temperature = fit_temperature(logits["val"], splits["val"].labels)
    metrics: Metrics = {f"norm.{key}": value for key, value in norm_balance(head.weight, task.counts).items()}
    classes: dict[str, ClassCounts] = {}
    for name, values in logits.items():
        labels = splits[name].labels
        measured, classes[name] = evaluate_logits(
            values, labels, task.counts, many=config.many, few=config.few, prefix=name, temperature=temperature
        )
        metrics |= measured
    return HeadResult(
        config={f"stage2.{name}": value for name, value in dataclasses.asdict(stage2).items()},
        metrics=metrics,
        classes=classes,
        norms=tuple(row_norms(head.weight).tolist()),
        temperature=temperature,
    )


def _describe(
    job: Job,
    task: Task,
    backbone: _Backbone,
    start: LinearHead,
    bank: FeatureBank,
    posthoc: tuple[HeadResult, ...],
    device: torch.device,
) -> BackboneResult:
    view = bank.train[0].float()  # (N, D)
    separation = class_separation(view, bank.labels)
    separation["nc3"] = classifier_alignment(start.weight.to(view.device), view, bank.labels)
    metrics = {f"stage1.{name}": value for name, value in separation.items()}
    return BackboneResult(
        fingerprint=backbone.fingerprint,
        config=backbone_config(job),
        data_fingerprint=task.fingerprint,
        class_names=task.class_names,
        train_counts=task.counts,
        metrics={**metrics, **{f"stage1.{key}": value for key, value in posthoc[0].metrics.items()}},
        norms=posthoc[0].norms,
        epochs=backbone.history,
        posthoc=posthoc,
        parameters=sum(parameter.numel() for parameter in backbone.model.parameters()),
        device=_device_name(device),
        seconds=backbone.seconds,
        cached=backbone.cached,
        notes=task.notes,
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"
