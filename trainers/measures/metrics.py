"""Accuracies of long-tailed recognition, from integers per class."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, harmonic_mean

import torch
from torch import Tensor

from trainers.errors import DataError
from trainers.losses import Counts
from trainers.measures.calibration import below_largest, confidences, expected_calibration_errors
from trainers.results import ClassCounts, Metrics


def group_accuracies(
    train_counts: Sequence[int], correct: Sequence[int], total: Sequence[int], many: int, few: int
) -> dict[str, float | None]:
    """Mean recall over the classes of each group: `many` (n > many), `few` (n < few), `medium` (the rest), and `all`.

    n is the number of training images. Classes without images (total 0) do not count; an empty group is None. Raises
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
    many: int,
    few: int,
    prefix: str = "val",
    temperature: float = 1.0,
) -> tuple[Metrics, ClassCounts]:
    """`measure` of one classifier: logits (N, C)."""
    fitted = torch.tensor([temperature], dtype=torch.float64, device=logits.device)
    (found,) = measure(
        logits.T.unsqueeze(0), labels, train_counts, many=many, few=few, prefix=prefix, temperatures=fitted
    )
    return found


@torch.no_grad()
def measure(
    logits: Tensor,
    labels: Tensor,
    train_counts: Counts,
    *,
    many: int,
    few: int,
    prefix: str,
    temperatures: Tensor,
) -> list[tuple[Metrics, ClassCounts]]:
    """All measures of B heads on one split, under dotted names `prefix.*`, and each head's integers per class.

    Logits are (B, C, N), labels (N,), temperatures (B,). `ece` and `confidence` use softmax(z), `ece_calibrated`
    softmax(z / temperature). Raises DataError when there are no images or a label is out of range.
    """
    classes = logits.shape[1]
    check_labels(labels, classes)
    labels = labels.to(logits.device)
    right = classified_right(logits, labels)  # (B, N)
    z = below_largest(logits)
    confidence, calibrated = (confidences(z, t) for t in (torch.ones_like(temperatures), temperatures))
    columns = {
        "top5": _top_k(logits, labels, 5) if classes > 5 else [None] * len(logits),
        "confidence": confidence.mean(1, dtype=torch.float64).tolist(),
        "ece": expected_calibration_errors(confidence, right).tolist(),
        "ece_calibrated": expected_calibration_errors(calibrated, right).tolist(),
    }
    found = []
    for head, counts in enumerate(_count_right(right, labels, classes)):
        values = _accuracies(counts, train_counts, many=many, few=few)
        values |= {name: column[head] for name, column in columns.items()}
        found.append(({f"{prefix}.{name}": value for name, value in values.items()}, counts))
    return found


@torch.no_grad()
def classified_right(logits: Tensor, labels: Tensor) -> Tensor:
    """True where the first largest logit of (B, C, N) is that of the true class (N,): (B, N).

    `argmax` is slow on a CPU and a maximum is not, so there `argmax` runs only if two classes share the largest logit.
    A GPU would have to wait for the answer to that.
    """
    if logits.is_cuda:
        return logits.argmax(1) == labels
    index = labels.view(1, 1, -1).expand(len(logits), 1, -1)
    true = logits.gather(1, index).squeeze(1)  # (B, N)
    others = logits.scatter(1, index, -torch.inf).amax(1)
    if bool((true == others).any()):
        return logits.argmax(1) == labels
    return true > others


def _accuracies(counts: ClassCounts, train_counts: Counts, *, many: int, few: int) -> Metrics:
    groups = group_accuracies([int(n) for n in train_counts], counts.correct, counts.total, many, few)
    present = [value for name in ("many", "medium", "few") if (value := groups[name]) is not None]
    return {
        "balanced_accuracy": groups["all"],
        "many": groups["many"],
        "medium": groups["medium"],
        "few": groups["few"],
        "top1": sum(counts.correct) / sum(counts.total),
        "worst_decile_recall": worst_decile_recall(counts),
        "harmonic_mean": harmonic_mean(present),
    }


def _count_right(right: Tensor, labels: Tensor, classes: int) -> list[ClassCounts]:
    """Integers per class, from the correct images (B, N) and the labels (N,)."""
    total = tuple(torch.bincount(labels, minlength=classes).tolist())
    correct = torch.zeros(classes, len(right), dtype=torch.float64, device=right.device)  # sums of ones are exact
    correct.index_add_(0, labels, right.T.double())
    return [ClassCounts(correct=tuple(map(int, row)), total=total) for row in correct.T.tolist()]


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


def _top_k(logits: Tensor, labels: Tensor, k: int) -> list[float | None]:
    """Share of images (B,) with fewer than k classes above the true one."""
    true = logits.gather(1, labels.view(1, 1, -1).expand(len(logits), 1, -1))  # (B, 1, N)
    shares: list[float | None] = ((logits > true).sum(1) < k).double().mean(1).tolist()
    return shares
