"""The dry build: finds errors of space, data and model before the study is opened, in seconds instead of hours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from search_spaces import Space
from trainers.config import TaskConfig, TrialConfig
from trainers.errors import ConfigError, TrainerError
from tuner.errors import TunerError, UsageError

if TYPE_CHECKING:
    from trainers.data.task import Task


@dataclass(frozen=True)
class Preflight:
    """Facts about the task, from the dry build."""

    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]
    data_fingerprint: str
    parameters: int
    notes: tuple[str, ...]


def dry_build(space: Space) -> Preflight:
    """Loads the data, builds the model, and the losses at each corner of the space. Raises UsageError or TunerError."""
    try:
        return _build(space)
    except ConfigError as error:
        raise UsageError(str(error)) from error
    except TrainerError as error:
        raise TunerError(str(error)) from error


def refuse_tf32_on_a_cpu(space: Space) -> None:
    """Raises UsageError if a configuration of the space computes in TF32: for launches without a GPU."""
    import torch

    from trainers.stage1.precision import resolve_precision

    try:
        for corner in space.corners():
            config = TrialConfig.from_flat({**space.fixed, **corner})
            resolve_precision(config.stage1.precision, torch.device("cpu"))
    except ConfigError as error:
        raise UsageError(str(error)) from error


def _build(space: Space) -> Preflight:
    import torch

    from trainers.job import load_task_once
    from trainers.stage1.loop import criteria
    from trainers.stage1.models import build_model, simplex_etf
    from trainers.stage2.recipe import stage2_loss

    configs = [TrialConfig.from_flat({**space.fixed, **corner}) for corner in space.corners()]
    task = load_task_once(configs[0].task)
    for config in configs:
        criteria(config.stage1, task.counts)
        stage2_loss(config.stage2, task.counts)
    first = configs[0].task
    for objective in space.objectives:
        _refuse_unmeasurable(objective, task, first)
    model = build_model(
        first.model,
        task.num_classes,
        in_channels=task.channels,
        image_size=task.image_size,
        pretrained=first.pretrained,
    )
    if any(config.stage1.classifier == "etf" for config in configs):
        simplex_etf(task.num_classes, model.feature_dim, generator=torch.Generator())
    return Preflight(
        class_names=task.class_names,
        train_counts=task.counts,
        data_fingerprint=task.fingerprint,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        notes=task.notes,
    )


def _refuse_unmeasurable(objective: str, task: Task, config: TaskConfig) -> None:
    """Raises UsageError for an objective that is undefined here: its group is empty, top5 of at most 5 classes, or the
    norms' slope over classes of one size."""
    import torch

    from trainers.measures.metrics import group_accuracies

    images = torch.bincount(task.val.labels, minlength=task.num_classes).tolist()
    groups = group_accuracies(task.counts, images, images, config.many, config.few)
    name = objective.removeprefix("val.")
    if groups.get(name, 1.0) is None:
        raise UsageError(
            f"objective: {objective} cannot be measured: no class with validation images is in the group {name!r} "
            f"(task.many={config.many}, task.few={config.few}; classes have {min(task.counts)} to {max(task.counts)} "
            "training images); take val.balanced_accuracy, or other thresholds"
        )
    if name == "top5" and task.num_classes <= 5:
        raise UsageError(
            f"objective: {objective} cannot be measured with {task.num_classes} classes; take val.balanced_accuracy"
        )
    if objective == "-norm.slope" and len(set(task.counts)) == 1:
        raise UsageError(
            f"objective: {objective} cannot be measured: all classes have {task.counts[0]} training images, so "
            "there is no slope over class size; leave it out, or set task.imbalance_factor above 1"
        )
