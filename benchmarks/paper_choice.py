"""What the honest protocol has chosen: the configuration that is worth training once more, on all images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from benchmarks.paper_heads import VALUE
from benchmarks.paper_lines import Line
from trainers.config import Stage2Config


class NothingChosenError(Exception):
    """There is no row to choose from yet."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A stage 1, a row of the table and one head of it."""

    lr: float
    weight_decay: float
    row: str
    head: Stage2Config
    value: float  # mean validation accuracy over seeds
    seeds: int

    @property
    def text(self) -> str:
        """In one line."""
        stage1 = f"lr {self.lr:g}, weight decay {self.weight_decay:g}"
        return f"{self.row} on {stage1}, validation {self.value:.1%}, mean over {self.seeds} seeds"


def choose_final(lines: Iterable[Line], *, setting: Mapping[str, Any]) -> Choice:
    """The stage 1 and row best on validation in the mean over seeds, and of its seeds the head that is best there.

    Only what ran on the most seeds is compared, and the mean rather than the luckiest seed decides. Raises
    NothingChosenError.
    """
    found: dict[tuple[float, float, str], list[Mapping[str, Any]]] = {}
    for line in lines:
        if line["piece"] == "rows" and line["protocol"] == "honest" and line["setting"] == setting:
            for row, metrics in line.get("rows", {}).items():
                if metrics is not None:
                    found.setdefault((line["lr"], line["weight_decay"], row), []).append(metrics)
    if not found:
        raise NothingChosenError(
            f"no row of the protocol honest is there for {dict(setting)}; run the same command with --protocol honest "
            "and without --final first"
        )
    most = max(map(len, found.values()))
    means = {key: fmean(m[VALUE] for m in metrics) for key, metrics in found.items() if len(metrics) == most}
    best = max(means, key=lambda key: means[key])
    head = max(found[best], key=lambda metrics: metrics[VALUE])["config"]
    config = Stage2Config(**{name.removeprefix("stage2."): value for name, value in head.items()})
    return Choice(lr=best[0], weight_decay=best[1], row=best[2], head=config, value=means[best], seeds=most)
