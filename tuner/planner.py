"""Which job comes next: interrupted ones, baselines, second rounds, new backbones, refinement, and the final readings.

The planner reads the study once, then follows its own jobs. What it proposes is a pure function of the study's finished
rows and the seed, so that a resumed study goes on as it would have gone on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from search_spaces import Space
from studies.records import HeadAsked, JobKind, JobRow, Scalar
from studies.store import Store
from studies.study_data import FRESH_SEED
from tuner.configurations import naive, whole
from tuner.readings import Reading, by_backbone, readings_due
from tuner.sampling import Level, Observation, propose_backbone, propose_heads

DEATH = "the worker process died"


@dataclass(frozen=True)
class Task:
    """What a worker is given: heads on one backbone. A reading has no job, for it is no trial."""

    kind: JobKind | Literal["reading"]
    configs: tuple[Mapping[str, Scalar], ...]
    job: JobRow | None = None
    readings: tuple[Reading, ...] = ()


@dataclass
class Tally:
    """What the study holds, counted in trials; `failed_jobs` in jobs."""

    total: int
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    failed_jobs: int = 0


@dataclass(frozen=True)
class Leader:
    """The best trial so far, by the objective on validation."""

    number: int
    value: float
    few: float | None


@dataclass
class _Backbone:
    params: dict[str, Scalar]
    rounds_asked: int = 0
    under_way: int = 0
    lost: bool = False


def is_death(reason: str | None) -> bool:
    """Whether a reason is the worker's and says nothing about the configuration."""
    return (reason or "").startswith(DEATH)


class Planner:
    """Hands out tasks until the budget is spent, and takes their results into the study."""

    def __init__(self, space: Space, store: Store) -> None:
        self.space = space
        self.store = store
        self.tally = Tally(total=space.trials)
        self.leader: Leader | None = None
        self.failures: list[str] = []
        self.closed = False  # a stop was asked for: nothing more is handed out
        self.time_is_up = False  # no new jobs, but the final readings are still made
        self._observations: list[Observation] = []
        self._backbones: dict[int, _Backbone] = {}
        self._baselines: set[str] = set()
        self._waiting: list[JobRow] = []  # interrupted or to be tried again
        self._under_way: set[int] = set()
        self._readings: list[Task] | None = None
        self._readings_under_way = 0
        self._load()

    @property
    def hopeless(self) -> bool:
        """More jobs failed than the budget allows."""
        return self.tally.failed_jobs > self.space.budget.max_failed

    @property
    def finished(self) -> bool:
        """Nothing is under way and nothing is left to hand out."""
        if self._under_way or self._readings_under_way:
            return False
        return self.closed or self.hopeless or self._readings == []

    def has_work(self) -> bool:
        """Whether the study's budget, or a reading, still asks for anything."""
        if self.hopeless:
            return False
        searching = (
            self._waiting
            or ("naive" in self.space.baselines and "naive" not in self._baselines)
            or len(self._backbones) < self.space.budget.backbones
            or self._with_open_round() is not None
            or self._to_refine() is not None
        )
        return bool(searching and not self.time_is_up) or bool(readings_due(self.space, self.store))

    @property
    def jobs_left(self) -> int:
        """Jobs that the budget still asks for, those under way included."""
        rounds = len(self._round_sizes)
        known = sum(max(0, rounds - b.rounds_asked) for b in self._backbones.values() if not b.lost)
        new = rounds * max(0, self.space.budget.backbones - len(self._backbones))
        refined = sum(b.rounds_asked > rounds for b in self._backbones.values())
        refine = min(self.space.refine.top, self.space.budget.backbones) - refined if self.space.refine else 0
        return known + new + refine + len(self._waiting) + len(self._under_way)

    @property
    def work_left(self) -> tuple[int, int]:
        """Jobs that are still to be handed out: those that will train a backbone, and those that will find one."""
        trainings = max(0, self.space.budget.backbones - len(self._backbones))
        trainings += sum(job.round == 0 for job in self._waiting)
        others = max(0, self.jobs_left - len(self._under_way) - trainings)
        if self._readings is None:
            return trainings + self.space.budget.fresh_seeds, others + 1 + len(self.space.baselines)
        fresh = sum(task.readings[0].role == FRESH_SEED for task in self._readings)
        return trainings + fresh, others + len(self._readings) - fresh

    def next_task(self) -> Task | None:
        """The next task; None when all is done or everything left waits for what is under way."""
        if self.closed or self.hopeless:
            return None
        if not self.time_is_up:
            if self._waiting:
                return self._hand_out(self._waiting.pop(0))
            for propose in (self._baseline, self._next_round, self._new_backbone, self._refinement):
                job = propose()
                if job is not None:
                    self.tally.running += len(job.numbers)
                    return self._hand_out(job)
        return None if self._under_way else self._reading()

    def complete(self, task: Task, result: Mapping[str, Any]) -> None:
        """Takes the result of a task into the study, once."""
        if task.job is None:
            self._readings_under_way -= 1
            for reading, head in zip(task.readings, result["heads"], strict=True):
                if "reason" in head:
                    self.failures.append(f"final reading of {reading.role}: {head['reason']}")
                    continue
                self.store.record_reading(reading.role, reading.config, head, number=reading.number, job_result=result)
            return
        self.store.finish_job(task.job.id, result)
        self._settle(task.job)
        for number, config, head in zip(task.job.numbers, task.job.configs, result["heads"], strict=True):
            self._count(task.job, number, config, head)

    def fail(self, task: Task, reason: str, *, transient: bool = False) -> None:
        """A task came to nothing. What can pass is tried again, up to the budget's `max_retries`."""
        if task.job is None:
            self._readings_under_way -= 1
            self.failures.append(f"final reading: {reason}")
            return
        self._settle(task.job)
        if transient and task.job.attempts <= self.space.budget.max_retries:
            self._waiting.append(self.store.retry_job(task.job.id))
            return
        self.store.fail_job(task.job.id, reason)
        self.failures.append(reason)
        self.tally.failed_jobs += 1
        self.tally.failed += len(task.job.numbers)
        self.tally.running -= len(task.job.numbers)
        if task.job.kind == "search":
            self._backbones[task.job.backbone_index].lost = True
            for config in task.configs if not is_death(reason) else ():
                self._observe("search", task.job.backbone_index, config, None)

    def interrupted(self, task: Task) -> None:
        """A task was stopped in the middle: its trials stay RUNNING and are adopted by the next launch."""
        if task.job is None:
            self._readings_under_way -= 1
        else:
            self._settle(task.job)

    # -- what there is ------------------------------------------------------------------------------------------

    def _load(self) -> None:
        rows = {row.number: row for row in self.store.trials()}
        for job in self.store.jobs():
            self._baselines |= {rows[number].role for number in job.numbers if job.kind == "baseline"}
            if job.kind != "baseline":
                backbone = self._backbones.setdefault(
                    job.backbone_index, _Backbone(self._stage1_params(job.configs[0]))
                )
                backbone.rounds_asked = max(backbone.rounds_asked, job.round + 1)
                backbone.lost = backbone.lost or job.state == "failed"
            if job.state == "running":
                self._waiting.append(job)
            self.tally.failed_jobs += job.state == "failed"
        for row in rows.values():
            state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(row.state, "running")
            setattr(self.tally, state, getattr(self.tally, state) + 1)
            if row.state == "FAIL" and not is_death(row.reason):
                self._observe(row.role, row.backbone_index, row.config, None)
            if row.state == "COMPLETE" and row.value is not None:
                self._observe(row.role, row.backbone_index, row.config, row.value)
                self._lead(row.role, row.number, row.value, row.metrics.get("val.few"))

    def _count(self, job: JobRow, number: int, config: Mapping[str, Scalar], head: Mapping[str, Any]) -> None:
        value = head.get("metrics", {}).get(self.space.objective)
        role = "search" if job.kind != "baseline" else "baseline"
        self.tally.running -= 1
        if "reason" in head or value is None or not math.isfinite(value):
            self.tally.failed += 1
            self._observe(role, job.backbone_index, config, None)
            return
        self.tally.complete += 1
        self._observe(role, job.backbone_index, config, value)
        self._lead(role, number, value, head["metrics"].get("val.few"))

    def _observe(self, role: str, backbone: int, config: Mapping[str, Scalar], value: float | None) -> None:
        if role == "search":
            params = {name: config[name] for name in self.space.searched if self.space.active(name, config)}
            self._observations.append(Observation(backbone=backbone, params=params, value=value))

    def _lead(self, role: str, number: int, value: float, few: float | None) -> None:
        if role == "search" and (self.leader is None or (value, -number) > (self.leader.value, -self.leader.number)):
            self.leader = Leader(number, value, few)

    def _hand_out(self, job: JobRow) -> Task:
        self._under_way.add(job.id)
        if job.kind != "baseline":
            self._backbones[job.backbone_index].under_way += 1
        return Task(kind=job.kind, configs=job.configs, job=job)

    def _settle(self, job: JobRow) -> None:
        self._under_way.discard(job.id)
        if job.kind != "baseline":
            self._backbones[job.backbone_index].under_way -= 1

    # -- what comes next ----------------------------------------------------------------------------------------

    def _baseline(self) -> JobRow | None:
        if "naive" not in self.space.baselines or "naive" in self._baselines:
            return None
        self._baselines.add("naive")
        head = HeadAsked(config=naive(self.space), role="naive")
        return self.store.record_job("baseline", backbone_index=0, round=0, heads=[head])

    def _next_round(self) -> JobRow | None:
        index = self._with_open_round()
        if index is None or self._backbones[index].under_way:
            return None
        backbone = self._backbones[index]
        return self._ask("search", index, backbone, self._round_sizes[backbone.rounds_asked])

    def _with_open_round(self) -> int | None:
        """The first backbone that has rounds left, free ones before those at work."""
        left = [i for i, b in self._backbones.items() if not b.lost and b.rounds_asked < len(self._round_sizes)]
        return min(left, key=lambda index: (self._backbones[index].under_way, index), default=None)

    def _new_backbone(self) -> JobRow | None:
        index = len(self._backbones)
        if index >= self.space.budget.backbones:
            return None
        params = propose_backbone(
            self._observations,
            space=self._level("stage1."),
            sampler=self.space.sampler.stage1,
            seed=self.space.sampler.seed,
            index=index,
            pending=[backbone.params for backbone in self._backbones.values() if backbone.under_way],
        )
        self._backbones[index] = _Backbone(params)
        return self._ask("search", index, self._backbones[index], self._round_sizes[0])

    def _refinement(self) -> JobRow | None:
        index = None if self._under_way else self._to_refine()
        if index is None or self.space.refine is None:
            return None
        return self._ask("refine", index, self._backbones[index], self.space.refine.heads)

    def _to_refine(self) -> int | None:
        """The first of the best backbones (by their best head) that has not had its extra heads."""
        if self.space.refine is None:
            return None
        best: dict[int, float] = {}
        for row in self._observations:
            if row.value is not None:
                best[row.backbone] = max(row.value, best.get(row.backbone, -math.inf))
        top = sorted(best, key=lambda index: (-best[index], index))[: self.space.refine.top]
        return next((i for i in top if self._backbones[i].rounds_asked <= len(self._round_sizes)), None)

    def _ask(self, kind: JobKind, index: int, backbone: _Backbone, count: int) -> JobRow:
        heads = propose_heads(
            self._observations,
            space=self._level("stage2."),
            sampler=self.space.sampler.stage2,
            seed=self.space.sampler.seed,
            backbone=index,
            round=backbone.rounds_asked,
            count=count,
            stage1_params=backbone.params,
        )
        asked = [self._head(backbone.params, params) for params in heads]
        job = self.store.record_job(kind, backbone_index=index, round=backbone.rounds_asked, heads=asked)
        backbone.rounds_asked += 1
        return job

    def _head(self, stage1: Mapping[str, Scalar], stage2: Mapping[str, Scalar]) -> HeadAsked:
        params = {**stage1, **stage2}
        distributions = {name: self.space.searched[name] for name in params}
        return HeadAsked(config=whole({**self.space.fixed, **params}), params=params, distributions=distributions)

    def _reading(self) -> Task | None:
        if self._readings is None:
            due = readings_due(self.space, self.store)
            due = [reading for reading in due if reading.role != FRESH_SEED or not self.time_is_up]  # they train
            self._readings = [
                Task(kind="reading", configs=tuple(r.config for r in group), readings=tuple(group))
                for group in by_backbone(due)
            ]
        if not self._readings:
            return None
        self._readings_under_way += 1
        return self._readings.pop(0)

    @property
    def _round_sizes(self) -> tuple[int, ...]:
        return self.space.budget.heads_by_round()

    def _level(self, prefix: str) -> Level:
        searched = {name: d for name, d in self.space.searched.items() if name.startswith(prefix)}
        return Level(distributions=searched, active=self._active)

    def _active(self, name: str, params: Mapping[str, Scalar]) -> bool:
        return self.space.active(name, {**self.space.fixed, **params})

    def _stage1_params(self, config: Mapping[str, Scalar]) -> dict[str, Scalar]:
        return {
            name: config[name]
            for name in self.space.searched
            if name.startswith("stage1.") and self.space.active(name, config)
        }
