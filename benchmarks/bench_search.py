"""How many backbones the two-level search needs for what joint TPE, one head a backbone, reaches with 24.

Both choose the configuration with the best noisy value they saw; what counts is its true value, averaged over seeds.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import optuna

from benchmarks.record import record
from benchmarks.synthetic import VARIANTS, Landscape
from trainers.config import Scalar
from tuner.search.sampling import Level, Observation, propose_backbone, propose_heads

SEEDS = range(12)
BACKBONES, HEADS, ROUNDS = 24, 32, 2
TARGET = 6


def main() -> None:
    """Prints one line a landscape; the first is the one with a target."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for landscape in VARIANTS:
        joint = [joint_tpe(landscape, seed=seed) for seed in SEEDS]
        ours = [two_levels(landscape, seed=seed) for seed in SEEDS]
        _report(landscape, joint=_mean(joint), ours=_mean(ours), deviation=_deviation(ours))


def joint_tpe(landscape: Landscape, *, seed: int) -> list[float]:
    """True value of what was chosen after 1, 2, ... backbones: Optuna's default sampler over both stages at once."""
    rng = np.random.default_rng(seed)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    chosen: list[float] = []
    for _ in range(BACKBONES):
        trial = study.ask({**landscape.stage1, **landscape.stage2})
        study.tell(trial, landscape.observe(trial.params, rng, shared=landscape.luck(rng)))
        chosen.append(landscape.true_value(study.best_params))
    return chosen


def two_levels(
    landscape: Landscape, *, seed: int, stage1: str = "gp", stage2: str = "tpe", backbones: int = BACKBONES
) -> list[float]:
    """True value of what was chosen after 1, 2, ... backbones, each with 32 heads in two rounds."""
    rng = np.random.default_rng(seed)
    outer, inner = Level(landscape.stage1), Level(landscape.stage2)
    rows: list[Observation] = []
    chosen: list[float] = []
    best, choice = -math.inf, dict[str, Scalar]()
    for index in range(backbones):
        params = propose_backbone(rows, space=outer, sampler=stage1, seed=seed, index=index, pending=())
        luck = landscape.luck(rng)
        for turn in range(ROUNDS):
            heads = propose_heads(
                rows, space=inner, sampler=stage2, seed=seed, backbone=index, round=turn, count=HEADS // ROUNDS,
                stage1_params=params,
            )  # fmt: skip
            asked = [{**params, **head} for head in heads]
            values = [landscape.observe(p, rng, shared=luck) for p in asked]
            rows += [Observation(backbone=index, params=p, value=v) for p, v in zip(asked, values, strict=True)]
            best, choice = max([(best, choice), *zip(values, asked, strict=True)], key=lambda found: found[0])
        chosen.append(landscape.true_value(choice))
    return chosen


def _report(landscape: Landscape, *, joint: list[float], ours: list[float], deviation: list[float]) -> None:
    reached = next((k for k, value in enumerate(ours, start=1) if value >= joint[-1]), BACKBONES + 1)
    record(
        "search_efficiency" if landscape is VARIANTS[0] else f"search_efficiency_{landscape.name}",
        figure=reached, unit=f"backbones for what joint TPE reaches after {BACKBONES}",
        baseline="joint TPE (Optuna's default), one head a backbone", target=TARGET, met=reached <= TARGET,
        n=len(SEEDS), ratio=BACKBONES / reached, heads_per_backbone=HEADS, rounds=ROUNDS, peak=landscape.peak,
        joint=_rounded(joint), ours=_rounded(ours), ours_deviation_of_mean=_rounded(deviation),
    )  # fmt: skip
    print(
        f"  true value after 4 / 6 / 8 / {BACKBONES} backbones: joint "
        f"{joint[3]:.1f} / {joint[5]:.1f} / {joint[7]:.1f} / {joint[-1]:.1f}, two levels "
        f"{ours[3]:.1f} / {ours[5]:.1f} / {ours[7]:.1f} / {ours[-1]:.1f}; {BACKBONES / reached:.1f}x fewer backbones"
    )


def _mean(runs: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.fmean(values) for values in zip(*runs, strict=True)]


def _deviation(runs: Sequence[Sequence[float]]) -> list[float]:
    return [statistics.stdev(values) / len(runs) ** 0.5 for values in zip(*runs, strict=True)]


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in values]


if __name__ == "__main__":
    main()
