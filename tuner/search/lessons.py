"""What the samplers learn from: outside one lesson a backbone, inside heads relative to the best of their backbone.

A flat list would take one backbone's many good heads for a good region of stage 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainers.config import Scalar
from tuner.search.points import Level, Params

NEIGHBOURS = 4  # backbones whose heads another learns from
WIDTH = 0.2  # width of the Gaussian weight of a neighbour's heads: root mean square of decades of stage-1 parameters
HEADS = 128  # heads taken from a neighbour, at most
EPOCHS = "stage1.epochs"  # among the parameters of an observation where the study has shorter schedules


@dataclass(frozen=True)
class Observation:
    """One finished trial of the search. A larger value is better; None means that it failed."""

    backbone: int
    params: Params  # `stage1.*` and `stage2.*`
    value: float | None


@dataclass(frozen=True)
class Lesson:
    """A finished point of one level. Larger values are better."""

    params: Params
    value: float
    weight: float = 1.0  # how much it counts
    epochs: int = 1  # of stage 1, where these differ


def backbone_values(rows: Sequence[Observation]) -> dict[int, float]:
    """Each backbone's value: the mean of its best eighth of heads, at least one; none if all its heads failed."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row.value is not None:
            found.setdefault(row.backbone, []).append(row.value)
    return {backbone: _best_eighth(values) for backbone, values in sorted(found.items())}


def of_backbones(rows: Sequence[Observation], level: Level) -> list[Lesson]:
    """One lesson a backbone, by index; one whose heads all failed counts as the worst."""
    values = backbone_values(rows)
    worst = min(values.values(), default=0.0)
    points = {row.backbone: row.params for row in rows}
    return [
        Lesson(level.part(points[index]), values.get(index, worst), epochs=int(points[index].get(EPOCHS) or 1))
        for index in sorted(points)
    ]


def of_heads(rows: Sequence[Observation], level: Level, backbone: int, stage1_params: Params) -> list[Lesson]:
    """The backbone's own heads, then those of its nearest neighbours; values are relative to their backbone's best.

    Neighbours come from the better half of the backbones: on a collapsed network all heads are alike, so that each
    would look like the best.
    """
    heads: dict[int, list[Observation]] = {backbone: []}
    for row in rows:
        heads.setdefault(row.backbone, []).append(row)
    values = backbone_values(rows)
    others = sorted((index for index in values if index != backbone), key=lambda index: (-values[index], index))
    apart = {index: _decades(heads[index][0].params, stage1_params) for index in others[: math.ceil(len(others) / 2)]}
    lessons = _relative_to_best(heads[backbone], level, weight=1.0) if backbone in values else []
    for index in sorted(apart, key=lambda index: (apart[index], index))[:NEIGHBOURS]:
        weight = max(1e-3, math.exp(-0.5 * (apart[index] / WIDTH) ** 2))
        found = _relative_to_best(heads[index], level, weight=weight)
        lessons += found[:: math.ceil(len(found) / HEADS)]
    return lessons


def _relative_to_best(heads: Sequence[Observation], level: Level, *, weight: float) -> list[Lesson]:
    """Heads of one backbone, best first, with values minus the best one's; a failed head counts as the worst."""
    values = [row.value for row in heads if row.value is not None]
    best, worst = max(values), min(values)
    found = [
        Lesson(level.filled(level.part(row.params)), (worst if row.value is None else row.value) - best, weight)
        for row in heads
    ]
    return sorted(found, key=lambda row: (-row.value, level.place(row.params)))


def _decades(a: Params, b: Params) -> float:
    """The distance of two stage-1 configurations: root mean square of decades; a different choice counts as 1."""
    names = [name for name in b if name.startswith("stage1.")]
    gaps = [_gap(a.get(name), b[name]) for name in names]
    return math.sqrt(sum(gap**2 for gap in gaps) / len(gaps)) if gaps else 0.0


def _gap(a: Scalar, b: Scalar) -> float:
    if isinstance(a, bool | str | None) or isinstance(b, bool | str | None) or a <= 0 or b <= 0:
        return float(a != b)
    return math.log10(a / b)


def _best_eighth(values: Sequence[float]) -> float:
    count = math.ceil(len(values) / 8)
    return math.fsum(sorted(values, reverse=True)[:count]) / count
