"""All measures of linear heads on cached features, many heads at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.config import Stage2Config, TaskConfig
from trainers.features import FeatureBank, LabelledFeatures
from trainers.losses import Counts
from trainers.measures.calibration import fit_temperatures
from trainers.measures.metrics import measure
from trainers.results import ClassCounts, HeadResult, Metrics
from trainers.stage2.posthoc import posthoc_grid, posthoc_head
from trainers.weight_balance import LinearHead, norm_balances, row_norms

_LOGITS = {"cpu": 2**18, "cuda": 2**25}  # in memory at once: fits a core's cache, or 128 MiB


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The measures of one head."""

    metrics: Metrics  # `norm.*`, then `val.*`, then `test.*` if read
    classes: dict[str, ClassCounts]  # by split
    norms: tuple[float, ...]  # (C,)
    temperature: float

    def result(self, config: Stage2Config) -> HeadResult:
        """The result of the head with this configuration."""
        return HeadResult(
            config={f"stage2.{name}": value for name, value in dataclasses.asdict(config).items()},
            metrics=self.metrics,
            classes=self.classes,
            norms=self.norms,
            temperature=self.temperature,
        )


def evaluate_heads(
    heads: Sequence[LinearHead], splits: Mapping[str, LabelledFeatures], counts: Counts, *, task: TaskConfig
) -> list[Evaluation]:
    """All measures of each head on every split; temperatures are fitted on `val` alone."""
    found: list[Evaluation] = []
    for some in _chunks(heads, splits):
        weight = torch.stack([head.weight for head in some])  # (B, C, D)
        bias = torch.stack([head.bias for head in some])  # (B, C)
        temperatures = fit_temperatures(_logits(weight, bias, splits["val"]), splits["val"].labels)
        measured = {
            name: measure(
                _logits(weight, bias, split), split.labels, counts, many=task.many, few=task.few, prefix=name,
                temperatures=temperatures,
            )
            for name, split in splits.items()
        }  # fmt: skip
        norms, fitted = row_norms(weight).tolist(), temperatures.tolist()
        for b, balance in enumerate(norm_balances(weight, counts)):
            metrics: Metrics = {f"norm.{key}": value for key, value in balance.items()}
            for rows in measured.values():
                metrics |= rows[b][0]
            found.append(
                Evaluation(
                    metrics=metrics,
                    classes={name: rows[b][1] for name, rows in measured.items()},
                    norms=tuple(norms[b]),
                    temperature=fitted[b],
                )
            )
    return found


def score_grid(
    start: LinearHead, bank: FeatureBank, counts: Counts, *, task: TaskConfig, like: Stage2Config
) -> tuple[HeadResult, ...]:
    """The post-hoc classifiers of a backbone on `val`, the stage-1 classifier first; on the features of `like`."""
    grid = posthoc_grid(like)
    heads = [posthoc_head(config, start, bank, counts) for config in grid]
    measured = evaluate_heads(heads, {"val": bank.splits["val"]}, counts, task=task)
    return tuple(one.result(config) for one, config in zip(measured, grid, strict=True))


def _chunks(heads: Sequence[LinearHead], splits: Mapping[str, LabelledFeatures]) -> Iterator[Sequence[LinearHead]]:
    if not heads:
        return
    weight = heads[0].weight
    each = len(weight) * max(len(split.labels) for split in splits.values())
    most = max(1, _LOGITS["cpu" if weight.device.type == "cpu" else "cuda"] // each)
    for first in range(0, len(heads), most):
        yield heads[first : first + most]


def _logits(weight: Tensor, bias: Tensor, split: LabelledFeatures) -> Tensor:
    """(B, C, D), (B, C) -> (B, C, N)."""
    flat = torch.addmm(bias.reshape(-1, 1), weight.flatten(0, 1), split.features.float().T)
    return flat.view(*weight.shape[:2], -1)
