"""What a search makes large or small: one accuracy on validation images, or two or three measures at once.

An objective is the key of a measure. A minus before it says that smaller is better: `-val.ece`. Of the norm slope,
which has a sign of its own, the distance from 0 counts. The first objective is always an accuracy: one trial must be
chosen in the end, and a classifier that answers at random has no calibration error.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from search_spaces.parameters import ONE, SEVERAL, distinct

Accuracy = Literal[
    "val.balanced_accuracy", "val.many", "val.medium", "val.few", "val.top1", "val.top5",
    "val.worst_decile_recall", "val.harmonic_mean",
]  # fmt: skip
Minimised = Literal["-val.ece", "-val.ece_calibrated", "-norm.slope"]
MOST = 3  # more objectives leave few trials that are worse than another
DIGITS = 9  # of a gain: later digits depend on the order of summation


def _ordered(objectives: tuple[str, ...]) -> tuple[str, ...]:
    """Returns them unchanged. Raises PydanticCustomError for too few, too many, or none that can be chosen by."""
    if not 2 <= len(objectives) <= MOST:
        one = f"; write objective: {objectives[0]}" if len(objectives) == 1 else ""
        raise PydanticCustomError("objectives", f"must hold two or three objectives, but got {len(objectives)}{one}")
    if objectives[0] not in get_args(Accuracy):
        text = f"must begin with an accuracy, by which one trial is chosen, but begins with {objectives[0]}"
        raise PydanticCustomError("objectives", text)
    return objectives


def _form(value: Any) -> str:
    return SEVERAL if isinstance(value, list | tuple) else ONE


_One = Annotated[Accuracy, Tag(ONE)]
_Several = Annotated[
    tuple[Literal[Accuracy, Minimised], ...],
    Field(strict=False, json_schema_extra={"minItems": 2, "maxItems": MOST}),
    AfterValidator(distinct),
    AfterValidator(_ordered),
    Tag(SEVERAL),
]
Objective = Annotated[_One | _Several, Discriminator(_form)]


def measure(objective: str) -> str:
    """The key of its measure."""
    return objective.removeprefix("-")


def label(objective: str) -> str:
    """Its measure for readers: `val.ece`, `|norm.slope|`."""
    return "|norm.slope|" if measure(objective) == "norm.slope" else measure(objective)


def is_minimised(objective: str) -> bool:
    """True if a smaller measure is better."""
    return objective.startswith("-")


def value_of(objective: str, metrics: Mapping[str, float | None]) -> float | None:
    """Its measure among these, without sign for the norm slope; None if it is missing or not finite."""
    value = metrics.get(measure(objective))
    if value is None or not math.isfinite(value):
        return None
    return abs(value) if measure(objective) == "norm.slope" else value


def gains(objectives: Sequence[str], metrics: Mapping[str, float | None]) -> tuple[float, ...] | None:
    """The measures with the sign that makes larger ones better; None unless all are finite."""
    found = [(name, value_of(name, metrics)) for name in objectives]
    known = [-value if is_minimised(name) else value for name, value in found if value is not None]
    return tuple(known) if len(known) == len(found) else None


def front(points: Sequence[Sequence[float]]) -> list[int]:
    """Positions of the gains that no other gains dominate, in order; equal ones are all on the front."""
    rows = [tuple(round(gain, DIGITS) for gain in point) for point in points]
    kept: list[tuple[float, ...]] = []
    for row in sorted(set(rows), reverse=True):  # whatever dominates a point stands before it
        if not any(all(a >= b for a, b in zip(other, row, strict=True)) for other in kept):
            kept.append(row)
    best = set(kept)
    return [place for place, row in enumerate(rows) if row in best]
