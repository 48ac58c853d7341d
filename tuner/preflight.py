"""Everything cheap that can fail is tried before the study is opened: a bad name costs a second, not a night."""

from __future__ import annotations

from dataclasses import dataclass

from search_spaces import Space
from trainers.config import TrialConfig
from trainers.errors import ConfigError, TrainerError
from tuner.errors import TunerError, UsageError


@dataclass(frozen=True)
class Preflight:
    """What the dry build learned about the task."""

    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    data_fingerprint: str
    parameters: int
    notes: tuple[str, ...]


def dry_build(space: Space) -> Preflight:
    """Loads the data and builds model and losses for the space's corners. Raises UsageError or TunerError."""
    try:
        return _build(space)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    except TrainerError as error:
        raise TunerError(str(error)) from error


def _build(space: Space) -> Preflight:
    from trainers.job import load_task_once
    from trainers.models import build_model
    from trainers.stage1 import criteria
    from trainers.stage2_recipe import stage2_loss

    configs = [TrialConfig.from_flat({**space.fixed, **corner}) for corner in space.corners()]
    task = load_task_once(configs[0].task)
    for config in configs:
        criteria(config.stage1, task.counts)
        stage2_loss(config.stage2, task.counts)
    first = configs[0].task
    model = build_model(
        first.model,
        task.num_classes,
        in_channels=task.channels,
        image_size=task.image_size,
        pretrained=first.pretrained,
    )
    return Preflight(
        class_names=task.class_names,
        train_counts=task.counts,
        data_fingerprint=task.fingerprint,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        notes=task.notes,
    )
