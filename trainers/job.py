"""One job: a backbone (trained, or found in the cache) and heads on it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainers.config import POSTHOC_METHODS, Stage1Config, Stage2Config, StepWay, TaskConfig, TrialConfig
from trainers.data.pixel_scale import PixelScale
from trainers.data.task import Task, load_task
from trainers.errors import ConfigError
from trainers.feature_store import Banks
from trainers.features import FeatureBank
from trainers.files.cache import Cache
from trainers.measures.evaluation import Evaluation, evaluate_heads
from trainers.measures.posthoc_scores import Scores, known_scores
from trainers.results import BackboneResult, HeadFailure, HeadResult, JobResult, Metrics, Progress
from trainers.stage1 import loop
from trainers.stage1.backbone import Backbone, Training, obtain
from trainers.stage1.models import Network
from trainers.stage1.precision import arithmetic, resolve_precision
from trainers.stage1.step_ways import DEFAULT_WAY
from trainers.stage2.heads import train_heads
from trainers.stage2.posthoc import posthoc_head
from trainers.stage2.recipe import TrainedHead
from trainers.turns import Clock, Events, alone
from trainers.weight_balance import LinearHead

__all__ = ["Job", "Progress", "Trained", "job_in_turns", "load_task_once", "run_job"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """The request: `heads` on one backbone; test data is read only with `read_test`."""

    task: TaskConfig
    stage1: Stage1Config
    heads: tuple[Stage2Config, ...] = ()
    read_test: bool = False

    @classmethod
    def from_flat(cls, configs: Sequence[Mapping[str, Any]], *, read_test: bool = False) -> Job:
        """Builds a job from whole flat configurations, one per head, with equal `task.*` and `stage1.*`.

        Raises ConfigError.
        """
        trials = [TrialConfig.from_flat(config) for config in configs]
        if not trials or any((t.task, t.stage1) != (trials[0].task, trials[0].stage1) for t in trials):
            raise ConfigError("a job needs at least one head, and all of them on one backbone")
        heads = tuple(trial.stage2 for trial in trials)
        return cls(task=trials[0].task, stage1=trials[0].stage1, heads=heads, read_test=read_test)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished job: its results, and the models behind them."""

    result: JobResult
    task: Task
    model: Network
    heads: tuple[LinearHead | None, ...]  # in the order of the request; None where the head failed


def run_job(
    job: Job,
    *,
    cache: Cache | None,
    device: torch.device,
    checkpoint_every: float = 30.0,
    task: Task | None = None,
    way: StepWay = DEFAULT_WAY,
) -> Generator[Progress, None, Trained]:
    """Runs a job, yielding after each stage-1 epoch. Closing the generator leaves a checkpoint in the cache.

    `task` is for data that no configuration describes, such as joined training and validation; by default the job
    loads it. Raises ConfigError or DataError before training, DivergedError when stage 1 diverges. A failed head
    becomes a HeadFailure in the result.
    """
    return alone(job_in_turns(job, cache=cache, device=device, checkpoint_every=checkpoint_every, task=task, way=way))


def job_in_turns(
    job: Job,
    *,
    cache: Cache | None,
    device: torch.device,
    checkpoint_every: float = 30.0,
    task: Task | None = None,
    way: StepWay = DEFAULT_WAY,
    clock: Clock = time.perf_counter,
) -> Events[Trained]:
    """`run_job` in turns, for `trainers.turns.Together`; `clock` counts the seconds of stage 1."""
    task = task or load_task_once(job.task)
    training = Training(config=job.task, stage1=job.stage1, task=task, device=device, way=way, clock=clock)
    with cache.use(training.fingerprint) if cache else contextlib.nullcontext():
        backbone = yield from obtain(training, cache=cache, checkpoint_every=checkpoint_every)
        yield Progress(stage=2, epoch=0, epochs=max((head.epochs for head in job.heads), default=0), metrics={})
        start = loop.stage1_head(backbone.model, job.stage1)
        banks = Banks(
            config=job.task,
            heads=job.heads,
            task=task,
            model=backbone.model,
            fingerprint=backbone.fingerprint,
            precision=job.stage1.precision,
            read_test=job.read_test,
            cache=cache,
            device=device,
        )
        with arithmetic("fp32", device):  # stage 2's matrix products, whatever this process has set
            results, heads = _run_heads(job, start, banks, task)
            scores = known_scores(start, banks, like=_grid_features(job), cache=cache)
    described = _describe(training, backbone, scores)
    return Trained(result=JobResult(backbone=described, heads=results), task=task, model=backbone.model, heads=heads)


@functools.lru_cache(maxsize=2)
def load_task_once(config: TaskConfig, scale: PixelScale | None = None) -> Task:
    """The task's data, cached for the next job of this process; `scale` is that of a trained model."""
    return load_task(config, scale)


def _grid_features(job: Job) -> Stage2Config:
    """Settings of the features for the post-hoc grid: the first trained head's without replay, else `search`."""
    still = (head for head in job.heads if head.features != "replay" and head.method not in POSTHOC_METHODS)
    return next(still, Stage2Config(features="search"))


def _run_heads(
    job: Job, start: LinearHead, banks: Banks, task: Task
) -> tuple[tuple[HeadResult | HeadFailure, ...], tuple[LinearHead | None, ...]]:
    """All requested heads, in order; heads on the same features are trained and measured together."""
    results: dict[int, HeadResult | HeadFailure] = {}
    linear: dict[int, LinearHead | None] = {}
    together: dict[int, list[int]] = {}
    for index, config in enumerate(job.heads):
        together.setdefault(id(banks.get(config)), []).append(index)
    for indices in together.values():
        configs = [job.heads[index] for index in indices]
        bank = banks.get(configs[0])
        outcomes = _outcomes(bank, start, configs, task)
        linear |= zip(indices, (_linear(outcome) for outcome in outcomes), strict=True)
        results |= zip(indices, _results(job.task, task, bank, configs, outcomes), strict=True)
    order = range(len(job.heads))
    return tuple(results[index] for index in order), tuple(linear[index] for index in order)


@dataclass(frozen=True)
class _Timed:
    head: TrainedHead
    seconds: float


_Outcome = LinearHead | _Timed | HeadFailure  # post hoc, trained, or failed


def _outcomes(bank: FeatureBank, start: LinearHead, configs: Sequence[Stage2Config], task: Task) -> list[_Outcome]:
    trained = [config for config in configs if config.method not in POSTHOC_METHODS]
    began = time.perf_counter()
    heads = iter(train_heads(bank, start, trained, task.counts))
    seconds = (time.perf_counter() - began) / max(1, len(trained))
    found: list[_Outcome] = []
    for config in configs:
        if config.method in POSTHOC_METHODS:
            found.append(posthoc_head(config, start, bank, task.counts))
        else:
            head = next(heads)
            found.append(head if isinstance(head, HeadFailure) else _Timed(head, seconds))
    return found


def _linear(outcome: _Outcome) -> LinearHead | None:
    if isinstance(outcome, _Timed):
        return outcome.head.head
    return None if isinstance(outcome, HeadFailure) else outcome


def _results(
    config: TaskConfig, task: Task, bank: FeatureBank, configs: Sequence[Stage2Config], outcomes: Sequence[_Outcome]
) -> list[HeadResult | HeadFailure]:
    """Measures the heads that did not fail; in a replay, each on the features of the epoch it was kept from."""
    found: dict[int, HeadResult | HeadFailure] = {
        index: outcome for index, outcome in enumerate(outcomes) if isinstance(outcome, HeadFailure)
    }
    at_epoch: dict[int | None, list[int]] = {}
    for index, outcome in enumerate(outcomes):
        if not isinstance(outcome, HeadFailure):
            moment = outcome.head.epoch - 1 if bank.replay and isinstance(outcome, _Timed) else None
            at_epoch.setdefault(moment, []).append(index)
    for epoch, indices in at_epoch.items():
        splits = {name: bank.splits[name] if epoch is None else bank.split_at(name, epoch) for name in bank.splits}
        heads = [linear.to(bank.train.device) for i in indices if (linear := _linear(outcomes[i])) is not None]
        measured = evaluate_heads(heads, splits, task.counts, task=config)
        for index, one in zip(indices, measured, strict=True):
            found[index] = _result(configs[index], outcomes[index], one)
    return [found[index] for index in range(len(outcomes))]


def _result(config: Stage2Config, outcome: _Outcome, measured: Evaluation) -> HeadResult:
    result = measured.result(config)
    if not isinstance(outcome, _Timed):
        return result
    head = outcome.head
    acted: Metrics = {
        "stage2.forgetting": head.forgetting,
        "stage2.projected_at_step1": float(head.projected_at_step1),
        "stage2.projected_rows": sum(epoch.metrics["projected_rows"] or 0.0 for epoch in head.epochs),
    }
    return dataclasses.replace(
        result, metrics={**result.metrics, **acted}, epochs=head.epochs, notes=head.notes, seconds=outcome.seconds
    )


def _describe(training: Training, backbone: Backbone, scores: Scores) -> BackboneResult:
    as_learned = scores.posthoc[0]
    task = training.task
    return BackboneResult(
        fingerprint=backbone.fingerprint,
        config=training.flat,
        data_fingerprint=task.fingerprint,
        class_names=task.class_names,
        train_counts=task.counts,
        metrics={**scores.separation, **{f"stage1.{key}": value for key, value in as_learned.metrics.items()}},
        norms=as_learned.norms,
        epochs=backbone.history,
        posthoc=scores.posthoc,
        parameters=sum(parameter.numel() for parameter in backbone.model.parameters()),
        device=_device_name(training.device),
        threads=None if training.device.type == "cuda" else torch.get_num_threads(),
        seconds=backbone.seconds,
        cached=backbone.cached,
        notes=task.notes,
        precision=resolve_precision(training.stage1.precision, training.device),
    )


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"cpu ({torch.get_num_threads()} threads)"
