"""Scores of a backbone without a trained head: the post-hoc grid, and how well its features separate classes.

They depend only on the backbone, its features and the group thresholds, and cost more than a round of heads. So the
cache keeps them beside the backbone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainers.config import Stage2Config
from trainers.feature_store import Banks
from trainers.features import class_separation, classifier_alignment, views
from trainers.files.cache import MISFIT, Cache
from trainers.measures.evaluation import score_grid
from trainers.results import ClassCounts, HeadResult, Metrics
from trainers.weight_balance import LinearHead

SCORES_VERSION = 1  # raise it when the same features would give other numbers


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of one backbone, on validation and training images."""

    separation: Metrics  # `stage1.fdr`, `stage1.nc1`, ...
    posthoc: tuple[HeadResult, ...]  # the stage-1 classifier ("none") first


def known_scores(start: LinearHead, banks: Banks, *, like: Stage2Config, cache: Cache | None) -> Scores:
    """Scores from the cache, or computed and cached; on the features of `like`."""
    task = banks.config
    name = f"scores-seed{like.seed}-views{views(like.features, like.epochs)}-many{task.many}-few{task.few}"
    found = _load_scores(name, banks, cache)
    if found is not None:
        return found
    made = _make(start, banks, like)
    if cache:
        cache.publish(banks.fingerprint, name, {}, {"version": SCORES_VERSION, **dataclasses.asdict(made)})
    return made


def _make(start: LinearHead, banks: Banks, like: Stage2Config) -> Scores:
    bank, counts = banks.get(like), banks.task.counts
    start = start.to(bank.train.device)
    view = bank.train[0].float()  # (N, D)
    separation = class_separation(view, bank.labels)
    separation["nc3"] = classifier_alignment(start.weight, view, bank.labels)
    return Scores(
        separation={f"stage1.{name}": value for name, value in separation.items()},
        posthoc=score_grid(start, bank, counts, task=banks.config, like=like),
    )


def _load_scores(name: str, banks: Banks, cache: Cache | None) -> Scores | None:
    pair = cache.load(banks.fingerprint, name) if cache else None
    if cache is None or pair is None or pair[1].get("version") != SCORES_VERSION:
        return None
    try:
        return Scores(separation=pair[1]["separation"], posthoc=tuple(_head(row) for row in pair[1]["posthoc"]))
    except MISFIT as error:
        cache.reject(banks.fingerprint, name, error)
        return None


def _head(row: Mapping[str, Any]) -> HeadResult:
    classes = {
        split: ClassCounts(correct=tuple(found["correct"]), total=tuple(found["total"]))
        for split, found in row["classes"].items()
    }
    return HeadResult(
        config=row["config"],
        metrics=row["metrics"],
        classes=classes,
        norms=tuple(row["norms"]),
        temperature=row["temperature"],
    )
