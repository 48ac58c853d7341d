"""The learning rate of an epoch, in either stage."""

from __future__ import annotations

import math

from trainers.config import Stage1Config, Stage2Config


def learning_rate(config: Stage1Config | Stage2Config, epoch: int) -> float:
    """Cosine from `lr` towards 0, epoch from 0; `cosine_ahead` steps before the epoch and ends at lr 0."""
    position = epoch + 1 if config.schedule == "cosine_ahead" else epoch
    return config.lr / 2 * (1 + math.cos(math.pi * position / config.epochs))
