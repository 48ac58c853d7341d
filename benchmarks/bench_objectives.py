"""What a search by two objectives finds, against random search with the same budget: the hypervolume of the front.

The first objective is a landscape of `synthetic`; the second is the same one moved aside, as the rare classes want
more decay and a smaller radius in stage 2 than all classes do. Heads are chosen by their noisy values; what counts is
their true ones. The hypervolume is the area, in square points, that lies below the front and above `REFERENCE`.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.record import record
from benchmarks.synthetic import VARIANTS, Landscape
from search_spaces import loads
from search_spaces.objectives import front
from trainers.config import Scalar
from tuner.search.asking import Search

SEEDS = range(6)
LANDSCAPES = VARIANTS[:2]  # the ridge and the corner
REFERENCE = 40.0  # points in either objective; chance is 10, the best 58
MOVED = {"stage1.weight_decay": -0.4, "stage2.weight_decay": -0.5, "stage2.maxnorm_radius": 1.0}  # decades
SPACE = """
version: 1
name: two-objectives
task: {{dataset: digits-lt}}
stage1:
  lr: {{low: 1e-3, high: 0.3, log: true}}
  weight_decay: {{low: 1e-4, high: 5e-2, log: true}}
stage2:
  lr: {{low: 1e-3, high: 1.0, log: true}}
  weight_decay: {{low: 1e-4, high: 0.5, log: true}}
  maxnorm_radius: {{low: 0.1, high: 3.0, log: true}}
objective: [val.balanced_accuracy, val.few]
budget: {{backbones: 12, heads_per_backbone: 16, rounds: 2}}
sampler: {{stage1: {stage1}, stage2: {stage2}, seed: {seed}}}
"""


def main() -> None:
    """Prints one line a landscape."""
    for landscape in LANDSCAPES:
        ours = [found(landscape, seed=seed) for seed in SEEDS]
        chance = [found(landscape, seed=seed, stage1="random", stage2="random") for seed in SEEDS]
        _report(landscape, ours=ours, chance=chance)


def found(landscape: Landscape, *, seed: int, stage1: str = "gp", stage2: str = "tpe") -> float:
    """The hypervolume of the true values of what lies on the front of the noisy ones."""
    rng = np.random.default_rng(seed)
    space = loads(SPACE.format(stage1=stage1, stage2=stage2, seed=seed))
    search = Search(space)
    luck: dict[int, float] = {}
    noisy: list[tuple[float, ...]] = []
    true: list[tuple[float, float]] = []
    while (asked := search.next(searching=False)) is not None:
        shared = luck.setdefault(asked.backbone, landscape.luck(rng))
        for head in asked.heads:
            params = {**asked.stage1, **head}
            true.append((landscape.true_value(params), landscape.true_value(_moved(params))))
            noisy.append(tuple(value + shared + landscape.noise * rng.standard_normal() for value in true[-1]))
            search.observe(asked.backbone, {**space.fixed, **params}, *noisy[-1])
    return hypervolume([true[place] for place in front(noisy)], reference=REFERENCE)


def hypervolume(points: Sequence[tuple[float, float]], *, reference: float) -> float:
    """The area that the points dominate, above `reference` in either objective."""
    area, reached = 0.0, reference
    for first, second in sorted(set(points), reverse=True):
        if first > reference and second > reached:
            area, reached = area + (first - reference) * (second - reached), second
    return area


def _moved(params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {
        name: value * 10 ** MOVED.get(name, 0.0) if isinstance(value, float) else value
        for name, value in params.items()
    }


def _report(landscape: Landscape, *, ours: list[float], chance: list[float]) -> None:
    figure, baseline = statistics.fmean(ours), statistics.fmean(chance)
    record(
        f"objectives_{landscape.name}", figure=figure, unit="square points of hypervolume after 12 backbones",
        baseline="random search with the same budget", target=baseline, met=figure >= baseline, n=len(SEEDS),
        ratio=figure / baseline, deviation_of_mean=_deviation(ours), random_deviation_of_mean=_deviation(chance),
    )  # fmt: skip
    print(
        f"  hypervolume {figure:.0f} ± {_deviation(ours)}, at random {baseline:.0f} ± {_deviation(chance)}: "
        f"{figure / baseline:.2f}x"
    )


def _deviation(runs: Sequence[float]) -> float:
    return round(statistics.stdev(runs) / len(runs) ** 0.5, 1)


if __name__ == "__main__":
    main()
