"""95 % intervals of accuracies, from correct and total images per class.

Each class has Wilson's limits (Wilson 1927); means over classes and differences combine them by the square-and-add rule
(Newcombe 1998; Zou & Donner 2008, "MOVER"): no simulation, sensible at 0 and 1, and the estimate is always inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from studies.records import ClassRow

Z = 1.959963984540054  # 97.5 % point of the normal distribution


class Interval(NamedTuple):
    """An estimate between its 95 % limits, all fractions."""

    value: float
    low: float
    high: float


def wilson(correct: int, total: int) -> Interval:
    """Wilson's limits for one proportion. Raises ValueError without images."""
    if total <= 0:
        raise ValueError(f"a proportion needs images, but got {total=}; leave the class out")
    share = correct / total
    centre = (share + Z**2 / (2 * total)) / (1 + Z**2 / total)
    half = Z / (1 + Z**2 / total) * math.sqrt(share * (1 - share) / total + Z**2 / (4 * total**2))
    return Interval(share, min(share, centre - half), max(share, centre + half))


def mean_recall(rows: Iterable[ClassRow]) -> Interval | None:
    """Balanced accuracy of the classes given: the mean of their recalls; None when no class has images."""
    classes = [wilson(row.correct, row.total) for row in rows if row.total > 0]
    if not classes:
        return None
    count = len(classes)
    value = sum(c.value for c in classes) / count
    below = math.sqrt(sum((c.value - c.low) ** 2 for c in classes)) / count  # Zou & Donner 2008, eq. 3
    above = math.sqrt(sum((c.high - c.value) ** 2 for c in classes)) / count
    return Interval(value, max(0.0, value - below), min(1.0, value + above))


def independent_difference(first: Interval, second: Interval) -> Interval:
    """first - second, as if independent; on the same images the true interval is usually narrower."""
    value = first.value - second.value
    below = math.hypot(first.value - first.low, second.high - second.value)  # Newcombe 1998, method 10
    above = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - below, value + above)


def group_of(train_count: int, thresholds: tuple[int, int]) -> str:
    """The group of a class, many, medium or few, by its number of training images."""
    many, few = thresholds
    if train_count > many:
        return "many"
    return "few" if train_count < few else "medium"


def group_recalls(rows: Sequence[ClassRow], thresholds: tuple[int, int]) -> dict[str, Interval | None]:
    """Balanced accuracy of many, medium, few and all; None for a group without classes."""
    groups = {
        name: mean_recall(row for row in rows if group_of(row.train_count, thresholds) == name)
        for name in ("many", "medium", "few")
    }
    return {**groups, "all": mean_recall(rows)}
