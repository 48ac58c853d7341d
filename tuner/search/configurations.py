"""Whole configurations: searched values, fixed values and defaults; and that of the naive baseline."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces import Space, geometry
from trainers.config import Scalar, TrialConfig

NAIVE_SETTINGS: dict[str, Scalar] = {
    "stage1.loss": "ce",
    "stage1.drw": None,
    "stage1.classifier": "linear",
    "stage1.feature_regularization": 0.0,
    "stage1.weight_decay": 0.0,
    "stage2.method": "none",
    "stage2.features": "search",  # no replay, which would move BatchNorm's statistics after stage 1
}  # cross-entropy alone, classifier as it was learned


def with_defaults(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """The configuration with every default written out, so that a row means the same in any later release."""
    return TrialConfig.from_flat(config).to_flat()


def naive(space: Space) -> dict[str, Scalar]:
    """No weight decay and stage 1's own classifier; every other searched parameter is at the middle of its range."""
    middle = {name: geometry.middle(distribution) for name, distribution in space.searched.items()}
    return with_defaults(space.fixed | middle | NAIVE_SETTINGS)
