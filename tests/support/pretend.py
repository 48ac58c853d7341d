"""A job without training: what a worker would send back, made up from the configuration."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainers.results import BackboneResult, ClassCounts, EpochResult, HeadFailure, HeadResult, JobResult
from trainers.stage2.posthoc import posthoc_grid

COUNTS = (120, 40, 5)


def head_result(config: Mapping[str, Any], *, accuracy: float, read_test: bool = False) -> HeadResult:
    """A head whose every measured accuracy is `accuracy`."""
    splits = ("val", "test") if read_test else ("val",)
    names = ("balanced_accuracy", "many", "medium", "few", "top1", "ece", "ece_calibrated")
    metrics: dict[str, float | None] = {f"{split}.{name}": accuracy for split in splits for name in names}
    metrics |= {f"norm.{name}": 0.1 for name in ("cv", "max_min", "gini", "pearson", "spearman", "slope")}
    correct = tuple(round(accuracy * 20) for _ in COUNTS)
    return HeadResult(
        config={name: value for name, value in config.items() if name.startswith("stage2.")},
        metrics=metrics,
        classes={split: ClassCounts(correct=correct, total=(20,) * len(COUNTS)) for split in splits},
        norms=(1.0, 0.9, 0.8),
        temperature=1.0,
        epochs=(EpochResult(epoch=1, metrics={"loss": 1.0, "lr": 0.1, "projected_rows": 3.0}),),
    )


def job_result(
    configs: Sequence[Mapping[str, Any]],
    *,
    read_test: bool = False,
    accuracy: Callable[[Mapping[str, Any]], float] | None = None,
) -> JobResult:
    """The result of a job with these heads, as it arrives from a worker."""
    accuracy = accuracy or pretend_accuracy
    first = configs[0]
    backbone = {name: value for name, value in first.items() if not name.startswith("stage2.")}
    fingerprint = hashlib.sha256(json.dumps(backbone, sort_keys=True).encode()).hexdigest()
    flat = [{f"stage2.{k}": v for k, v in dataclasses.asdict(config).items()} for config in posthoc_grid()]
    heads: list[HeadResult | HeadFailure] = [
        head_result(config, accuracy=accuracy(config), read_test=read_test) for config in configs
    ]
    return JobResult(
        backbone=BackboneResult(
            fingerprint=fingerprint,
            config=backbone,
            data_fingerprint="data",
            class_names=("a", "b", "c"),
            train_counts=COUNTS,
            metrics={"stage1.fdr": 2.0},
            norms=(1.0, 0.8, 0.6),
            epochs=(EpochResult(epoch=1, metrics={"loss": 1.0, "lr": 0.1}),),
            posthoc=tuple(head_result(config, accuracy=0.4, read_test=read_test) for config in flat),
            parameters=10,
            device="cpu (1 threads)",
            threads=1,
            seconds=1.0,
            cached=False,
            precision="fp32",
        ),
        heads=tuple(heads),
    )


def pretend_accuracy(config: Mapping[str, Any]) -> float:
    """A smooth hill in the two weight decays, so that a sampler has something to find."""
    if config["stage2.method"] == "none":
        return 0.3
    first = (math.log10(config["stage1.weight_decay"]) + 2.3) ** 2
    second = (math.log10(config["stage2.weight_decay"]) + 1.5) ** 2
    return 0.9 * math.exp(-(first + second) / 8)
