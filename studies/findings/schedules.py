"""How ranks carried over from short schedules to the full one, over configurations that were trained with both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from studies.confirmed import is_finished
from studies.study_data import RUNG, StudyData
from trainers.config import Scalar

FEW = 4  # pairs: fewer tell nothing of ranks
CARRIED = 0.3  # a lower rank correlation is warned of


class Pair(NamedTuple):
    """One configuration of stage 1 at two lengths."""

    backbones: tuple[int, int]  # the short one, the full one
    epochs: int  # of the short one
    short: float  # value of the best head
    full: float


def pairs(data: StudyData) -> tuple[Pair, ...]:
    """Each configuration that was trained in full, beside each shorter training of it."""
    short = _best_by_backbone(data, role=RUNG)
    full = {_without_epochs(config): (index, value) for index, (config, value) in _best_by_backbone(data).items()}
    found = []
    for index, (config, value) in sorted(short.items()):
        if (other := full.get(_without_epochs(config))) is not None:
            found.append(Pair((index, other[0]), int(dict(config)["stage1.epochs"] or 0), value, other[1]))
    return tuple(found)


def agreement(found: Sequence[Pair]) -> dict[int, float]:
    """Spearman's rank correlation by length, where there are enough pairs that differ."""
    from scipy.stats import spearmanr  # noqa: PLC0415

    ranks: dict[int, float] = {}
    for length in sorted({pair.epochs for pair in found}):
        own = [pair for pair in found if pair.epochs == length]
        differ = len({pair.short for pair in own}) > 1 and len({pair.full for pair in own}) > 1
        if len(own) >= FEW and differ:
            ranks[length] = float(spearmanr([pair.short for pair in own], [pair.full for pair in own]).statistic)
    return ranks


def schedules_cautions(data: StudyData) -> list[str]:
    """A warning for each length whose ranks did not carry over."""
    if not data.space.ladder:
        return []
    found = pairs(data)
    return [
        f"Schedules of {length} epochs ranked configurations unlike the full one (rank correlation {rank:.2f} over "
        f"{sum(pair.epochs == length for pair in found)}): search with longer ones, or without fidelity."
        for length, rank in agreement(found).items()
        if rank < CARRIED
    ]


_Config = tuple[tuple[str, Scalar], ...]


def _best_by_backbone(data: StudyData, *, role: str = "search") -> dict[int, tuple[_Config, float]]:
    best: dict[int, tuple[_Config, float]] = {}
    for row in filter(is_finished, data.trials):
        value = row.value or 0.0
        if row.role == role and value > best.get(row.backbone_index, ((), -1.0))[1]:
            stage1 = tuple((name, value) for name, value in row.config.items() if name.startswith("stage1."))
            best[row.backbone_index] = (stage1, value)
    return best


def _without_epochs(config: _Config) -> _Config:
    return tuple((name, value) for name, value in config if name != "stage1.epochs")
