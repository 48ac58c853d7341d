"""Progress and results of a job: plain numbers, ready for JSON, enough to recompute every measure.

Accuracies are fractions in [0, 1]; None stands for "there is no such class". Metric keys are dotted:
`val.balanced_accuracy`, `val.many`, `val.medium`, `val.few`, `val.top1`, `val.top5`, `val.worst_decile_recall`,
`val.harmonic_mean`, `val.ece`, `val.ece_calibrated` (and the same under `test.` once test was read), `norm.cv`,
`norm.max_min`, `norm.gini`, `norm.pearson`, `norm.spearman`, `norm.slope`, `stage1.fdr`, `stage1.nc1` ...
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from trainers.config import ResolvedPrecision, Scalar

Metrics = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class ClassCounts:
    """How many of `total` images per class of one split were classified correctly. Both (C,)."""

    correct: tuple[int, ...]
    total: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class EpochResult:
    """One epoch of one stage: `loss`, `lr`, `seconds`, and measures such as `projected_rows`."""

    epoch: int  # from 1
    metrics: Metrics
    norms: tuple[float, ...] = ()  # (C,) of the classifier's rows, at validated epochs of stage 1

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]]) -> tuple[EpochResult, ...]:
        """Builds epochs from the output of `dataclasses.asdict`. Raises KeyError or TypeError for other rows."""
        return tuple(cls(epoch=row["epoch"], metrics=row["metrics"], norms=tuple(row.get("norms", ()))) for row in rows)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Progress of a job; rates in images per second."""

    stage: int
    epoch: int
    epochs: int
    metrics: Metrics
    images_per_second: float | None = None


@dataclass(frozen=True, kw_only=True)
class HeadResult:
    """One classifier on one backbone: stage 2, or a post-hoc method."""

    config: dict[str, Scalar]  # `stage2.*`
    metrics: Metrics
    classes: dict[str, ClassCounts]  # by split: "val", and "test" if read
    norms: tuple[float, ...]  # (C,) row norms of the classifier
    temperature: float
    epochs: tuple[EpochResult, ...] = ()
    notes: tuple[str, ...] = ()  # e.g. "radius inactive: no row was ever projected"
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class HeadFailure:
    """A head that could not be trained on its backbone, or diverged; other heads are not affected."""

    config: dict[str, Scalar]
    reason: str
    diverged: bool = True  # False: refused before training


@dataclass(frozen=True, kw_only=True)
class BackboneResult:
    """The result of stage 1, trained or found in the cache."""

    fingerprint: str
    config: dict[str, Scalar]  # `task.*` and `stage1.*`
    data_fingerprint: str
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    metrics: Metrics
    norms: tuple[float, ...]  # (C,) row norms of the stage-1 classifier
    epochs: tuple[EpochResult, ...]
    posthoc: tuple[HeadResult, ...]  # the free grid, stage-1 classifier ("none") first
    parameters: int
    device: str  # for people
    threads: int | None  # torch's on a CPU, which affect the last digits; None: trained on a GPU
    seconds: float
    cached: bool
    notes: tuple[str, ...] = ()
    precision: ResolvedPrecision | None = None  # that stage 1 computed in; None: result of an earlier release


@dataclass(frozen=True, kw_only=True)
class JobResult:
    """One backbone and its heads, in the order of the request."""

    backbone: BackboneResult
    heads: tuple[HeadResult | HeadFailure, ...] = field(default=())
