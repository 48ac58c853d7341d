"""The rows that enter and leave the study database: one frozen dataclass per row, plain values only.

Accuracies are fractions; None stands for "none", never 0. Metric keys are the trainer's dotted ones
(`val.balanced_accuracy`, `val.few`, `norm.slope`, `test.many`, ...). `config` is always the whole flat configuration
(`task.*`, `stage1.*`, `stage2.*`), so that any row can be run again; `params` holds only what the sampler chose.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from optuna.distributions import BaseDistribution

from trainers.config import ResolvedPrecision, Scalar

StoredMetrics = Mapping[str, float | None]
JobKind = Literal["search", "baseline", "refine", "confirm", "rung"]  # rung: a backbone with a shorter schedule
JobState = Literal["running", "done", "failed"]
StudyState = Literal["running", "stopped", "done", "failed"]


class FailureKind(StrEnum):
    """Why a job or trial failed. The service decides by the kind; the text beside it is for people."""

    REFUSED = "refused"  # the trainer refuses the configuration or the data
    DIVERGED = "diverged"  # a loss, weight or measure is no longer finite
    OUT_OF_MEMORY = "out_of_memory"
    DISK_FULL = "disk_full"
    FILE = "file"  # a file cannot be used
    ERROR = "error"  # an unexpected exception of the trainer
    WORKER_DIED = "worker_died"
    OTHER_CODE = "other_code"  # the worker has other source code than the driver
    STOPPED = "stopped"  # in the middle of the job
    NOT_RUN = "not_run"  # the study ended first
    UNKNOWN = "unknown"  # written by a release that recorded no kinds

    @property
    def transient(self) -> bool:
        """True if another try may succeed."""
        return self in (self.OUT_OF_MEMORY, self.DISK_FULL, self.FILE, self.WORKER_DIED, self.STOPPED)

    @property
    def ends_launch(self) -> bool:
        """True if no job can succeed before the user acts."""
        return self in (self.DISK_FULL, self.OTHER_CODE)

    @property
    def blames_configuration(self) -> bool:
        """False if the failure says nothing about the configuration."""
        return self not in (self.WORKER_DIED, self.NOT_RUN)


@dataclass(frozen=True)
class Failure:
    """Why a job failed."""

    kind: FailureKind
    text: str  # for people


@dataclass(frozen=True, kw_only=True)
class StudyRow:
    """One named search."""

    name: str
    state: StudyState
    space_yaml: str  # the resolved space, as text that `search_spaces.loads` reads back
    space_sha256: str
    objective: str  # metric key, maximised; the first of several
    created: datetime
    data_fingerprint: str | None = None  # these four are known after the first backbone
    class_names: tuple[str, ...] = ()
    train_counts: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    spent_seconds: float = 0.0  # by drivers, in all
    trainers: tuple[int, ...] = ()  # versions that gave its results, in order; empty: not recorded
    backbones_per_gpu: int | None = None  # that train at a time; None: one, as before the setting existed
    others: tuple[str, ...] = ()  # further objectives, as `search_spaces.objectives` spells them

    @property
    def objectives(self) -> tuple[str, ...]:
        """All objectives, the first one first."""
        return (self.objective, *self.others)


@dataclass(frozen=True, kw_only=True)
class SpaceRow:
    """One of the spaces that a study has had. Each holds every configuration of the one before."""

    number: int = 1  # from 1
    first_trial: int = 0  # the first number that may be drawn from it
    since: datetime
    driver: str | None = None  # process and host that brought it; None: of the study's first one
    space_yaml: str
    space_sha256: str
    grew: tuple[str, ...] = ()  # for people: what is wider than in the one before


@dataclass(frozen=True, kw_only=True)
class HeadRequest:
    """A head about to be trained: becomes one RUNNING Optuna trial."""

    config: Mapping[str, Scalar]  # whole flat configuration
    params: Mapping[str, Scalar] = field(default_factory=dict)
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)
    role: str = "search"  # or the baseline's name, e.g. "naive"
    enqueued: int | None = None  # the number of the waiting trial that becomes this head


@dataclass(frozen=True, kw_only=True)
class WaitingRow:
    """An enqueued trial that nobody has begun. Other programs enqueue, too: anything may be in it."""

    number: int
    params: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One backbone and a batch of heads to train."""

    id: int
    kind: JobKind
    state: JobState
    backbone_index: int  # k-th backbone of the study's search, from 0; also of its runs with other seeds
    round: int  # from 0
    numbers: tuple[int, ...]  # Optuna trial numbers of its heads
    configs: tuple[Mapping[str, Scalar], ...]  # whole flat configuration per head
    attempts: int = 1
    reason: str | None = None  # for people
    failure: FailureKind | None = None


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """One Optuna trial with our columns."""

    number: int
    state: str  # COMPLETE, PRUNED, FAIL, RUNNING
    value: float | None
    params: Mapping[str, Scalar]
    config: Mapping[str, Scalar]
    metrics: StoredMetrics
    role: str
    job: int
    backbone: str | None  # fingerprint, once known
    backbone_index: int
    round: int
    temperature: float | None = None
    norms: tuple[float, ...] = ()  # (C,)
    notes: tuple[str, ...] = ()
    reason: str | None = None  # for people
    failure: FailureKind | None = None
    seconds: float | None = None
    started: datetime | None = None
    finished: datetime | None = None
    precision: ResolvedPrecision | None = None  # of its backbone; None: not recorded, or not known yet
    space: int = 1  # number of the space that it was drawn from
    others: tuple[float, ...] = ()  # its gains by the further objectives: a larger one is better

    @property
    def gains(self) -> tuple[float, ...]:
        """By all objectives, the first one first; empty unless it is COMPLETE."""
        return () if self.value is None else (self.value, *self.others)


@dataclass(frozen=True, kw_only=True)
class EpochRow:
    """One epoch of one stage; stage 1 belongs to a backbone, stage 2 to a trial."""

    stage: Literal[1, 2]
    epoch: int
    metrics: StoredMetrics
    backbone: str | None = None
    number: int | None = None
    norms: tuple[float, ...] = ()  # (C,) of the classifier's rows, at validated epochs of stage 1


@dataclass(frozen=True, kw_only=True)
class ClassRow:
    """How one trial or reading classified one class of one split; `weight_norm` is the classifier's row norm."""

    class_index: int
    split: str
    train_count: int
    correct: int
    total: int
    weight_norm: float


@dataclass(frozen=True, kw_only=True)
class PosthocRow:
    """One post-hoc classifier of one backbone. It needs no training, so it is no Optuna trial."""

    backbone: str
    config: Mapping[str, Scalar]  # whole flat configuration
    metrics: StoredMetrics
    norms: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class BackboneRow:
    """One result of stage 1."""

    fingerprint: str
    index: int  # backbone_index of the first job that used it, a job of the search before any other
    kind: JobKind
    config: Mapping[str, Scalar]  # `task.*` and `stage1.*`
    metrics: StoredMetrics
    norms: tuple[float, ...]
    parameters: int
    device: str  # for people
    threads: int | None  # torch's on a CPU; None: a GPU
    seconds: float  # of training, in whichever study
    cached: bool  # True: the first job here found it in the cache
    precision: ResolvedPrecision | None = None  # that stage 1 computed in; None: not recorded


@dataclass(frozen=True, kw_only=True)
class RunningRow:
    """A running job, as last reported to the driver."""

    what: str  # for people, e.g. "job 12 · backbone 3"
    heads: int = 1
    reading: bool = False  # True: it reads test data and trains nothing
    stage: int = 0  # 0: starting
    epoch: int = 0  # finished ones
    epochs: int = 0
    images_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class ProgressRow:
    """The driver's progress when it last wrote it."""

    updated: datetime
    running: tuple[RunningRow, ...] = ()
    seconds_left: float | None = None  # at that time; None: not measured yet


@dataclass(frozen=True, kw_only=True)
class ReadingRow:
    """A reading of test data, once for each chosen trial, baseline and fresh seed."""

    role: str  # "best", "naive", "weight_decay", "tau_norm", ..., "fresh_seed": the chosen one with another seed
    config: Mapping[str, Scalar]
    metrics: StoredMetrics  # `val.*`, `test.*`, `norm.*`
    classes: tuple[ClassRow, ...]  # of test
    temperature: float
    number: int | None = None  # of the trial that was read; None for post-hoc baselines
    backbone: str | None = None
    read_at: datetime | None = None
    precision: ResolvedPrecision | None = None  # of its backbone; None: not recorded
