"""Accuracies of long-tailed recognition, all from integers per class."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, harmonic_mean

import torch
from torch import Tensor

from trainers.calibration import expected_calibration_error
from trainers.errors import DataError
from trainers.losses import Counts
from trainers.results import ClassCounts, Metrics


def group_accuracies(
    train_counts: Sequence[int], correct: Sequence[int], total: Sequence[int], many: int = 100, few: int = 20
) -> dict[str, float | None]:
    """Mean recall over the classes of each group: `many` (n > many), `few` (n < few), `medium` (the rest), and `all`.

    Groups go by training images n; classes without test images (total 0) count nowhere; an empty group is None. Raises
    DataError when the three sequences differ in length.
    """
    if not len(train_counts) == len(correct) == len(total):
        raise DataError(
            "train_counts, correct and total must hold one number per class, but have "
            f"{len(train_counts)}, {len(correct)} and {len(total)}"
        )
    groups: dict[str, list[float]] = {"many": [], "medium": [], "few": [], "all": []}
    for n, hits, images in zip(train_counts, correct, total, strict=True):
        if images:
            groups["many" if n > many else "few" if n < few else "medium"].append(hits / images)
            groups["all"].append(hits / images)
    return {name: fmean(recalls) if recalls else None for name, recalls in groups.items()}


def evaluate_logits(
    logits: Tensor,
    labels: Tensor,
    train_counts: Counts,
    *,
    many: int = 100,
    few: int = 20,
    prefix: str = "val",
    temperature: float = 1.0,
) -> tuple[Metrics, ClassCounts]:
    """Everything measured of logits (N, C) on one split, under dotted names `prefix.*`, and its integers per class.

    `ece` and `confidence` are of softmax(z), `ece_calibrated` of softmax(z / temperature). Raises DataError when there
    are no images or a label is out of range.
    """
    check_labels(labels, logits.shape[1])
    labels = labels.to(logits.device)
    counts = count_correct(logits.argmax(1), labels, logits.shape[1])
    train = [int(n) for n in train_counts]
    groups = group_accuracies(train, counts.correct, counts.total, many, few)
    present = [value for name in ("many", "medium", "few") if (value := groups[name]) is not None]
    values: Metrics = {
        "balanced_accuracy": groups["all"],
        "many": groups["many"],
        "medium": groups["medium"],
        "few": groups["few"],
        "top1": sum(counts.correct) / sum(counts.total),
        "top5": _top_k(logits, labels, 5) if logits.shape[1] > 5 else None,
        "worst_decile_recall": worst_decile_recall(counts),
        "harmonic_mean": harmonic_mean(present),
        "confidence": logits.float().softmax(1).amax(1).mean().item(),
        "ece": expected_calibration_error(logits, labels),
        "ece_calibrated": expected_calibration_error(logits, labels, temperature=temperature),
    }
    return {f"{prefix}.{name}": value for name, value in values.items()}, counts


def count_correct(predicted: Tensor, labels: Tensor, num_classes: int) -> ClassCounts:
    """Integers per class from predicted and true classes, both (N,)."""
    total = torch.bincount(labels, minlength=num_classes)
    correct = torch.bincount(labels[predicted == labels], minlength=num_classes)
    return ClassCounts(correct=tuple(correct.tolist()), total=tuple(total.tolist()))


def worst_decile_recall(counts: ClassCounts) -> float:
    """Mean recall of the worst tenth of the classes that have images, at least one class."""
    recalls = sorted(hits / images for hits, images in zip(counts.correct, counts.total, strict=True) if images)
    return fmean(recalls[: max(1, len(recalls) // 10)])


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Raises DataError when there are no labels or one is not a class."""
    if not len(labels):
        raise DataError("a split without images cannot be measured; it needs at least one image")
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= num_classes:
        raise DataError(f"labels must be in 0..{num_classes - 1}, but go from {low} to {high}")


def _top_k(logits: Tensor, labels: Tensor, k: int) -> float:
    return (logits.topk(k, dim=1).indices == labels.unsqueeze(1)).any(1).double().mean().item()
