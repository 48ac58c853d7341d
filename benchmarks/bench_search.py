"""How many backbones the two-level search needs for what joint TPE, one head a backbone, reaches with 24.

Both choose the configuration with the best noisy value they saw; what counts is its true value, averaged over seeds.
With rungs (`fidelity` in a space) the cost is in full-length equivalents, and only full schedules can be chosen.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
import optuna

from benchmarks.record import record
from benchmarks.synthetic import MISLED, VARIANTS, Landscape
from trainers.config import Scalar
from tuner.search.lessons import EPOCHS
from tuner.search.rungs import Ladder, length_of
from tuner.search.sampling import Level, Observation, propose_backbone, propose_heads, propose_length

SEEDS = range(12)
BACKBONES, HEADS, ROUNDS = 24, 32, 2
TARGETS = {"ridge": 2, "corner": 6, "lucky": 6, "losses": 1}  # backbones
LENGTHS = (40, 120, 320)  # epochs of whole schedules
COSTS = [cost / 8 for cost in range(8, 65)]  # at which the choice with rungs is looked at
RUNG_TARGETS = {"ridge": 2, "corner": 3, "lucky": 3, "losses": 1}  # full lengths


def main() -> None:
    """Prints two lines a landscape, without rungs and with them; one where short schedules mislead."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    for landscape in VARIANTS:
        joint = [joint_tpe(landscape, seed=seed) for seed in SEEDS]
        ours = [two_levels(landscape, seed=seed) for seed in SEEDS]
        _report(landscape, joint=_mean(joint), ours=_mean(ours), deviation=_deviation(ours))
        _report_rungs(landscape, joint=_mean(joint), ours=_mean(ours))
    for landscape in MISLED:
        joint = [joint_tpe(landscape, seed=seed) for seed in SEEDS]
        ours = [two_levels(landscape, seed=seed, backbones=int(COSTS[-1])) for seed in SEEDS]
        _report_rungs(landscape, joint=_mean(joint), ours=_mean(ours))


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


def two_levels(landscape: Landscape, *, seed: int, backbones: int = BACKBONES) -> list[float]:
    """True value of what was chosen after 1, 2, ... backbones, each with 32 heads in two rounds."""
    rng = np.random.default_rng(seed)
    outer, inner = Level(landscape.stage1), Level(landscape.stage2)
    rows: list[Observation] = []
    chosen: list[float] = []
    best, choice = -math.inf, dict[str, Scalar]()
    for index in range(backbones):
        params = propose_backbone(rows, space=outer, sampler="gp", seed=seed, index=index) or {}
        found = _heads_of(landscape, rows, inner, params, rng, seed=seed, index=index)
        best, choice = max([(best, choice), *found], key=lambda one: one[0])
        chosen.append(landscape.true_value(choice))
    return chosen


def with_rungs(landscape: Landscape, *, seed: int) -> list[float]:
    """True value of what was chosen at each of COSTS; the floor before the first full schedule."""
    rng = np.random.default_rng(seed)
    outer, inner = Level(landscape.stage1), Level(landscape.stage2)
    rows: list[Observation] = []
    known: list[dict[str, Scalar]] = []
    chosen, spent = [(0.0, landscape.floor)], 0
    best = -math.inf
    while True:
        ladder = Ladder(LENGTHS, int(COSTS[-1] * LENGTHS[-1]) - spent)
        params = propose_length(rows, space=outer, ladder=ladder, seed=seed, index=len(known), known=known)
        if params is None:
            return [max((one for one in chosen if one[0] <= cost), key=lambda one: one[0])[1] for cost in COSTS]
        known.append(params)
        spent += length_of(params)
        found = _heads_of(landscape, rows, inner, params, rng, seed=seed, index=len(known) - 1)
        value, asked = max(found, key=lambda one: one[0])
        if length_of(params) == LENGTHS[-1] and value > best:
            best = value
            chosen.append((spent / LENGTHS[-1], landscape.true_value(asked)))


def _heads_of(
    landscape: Landscape, rows: list[Observation], inner: Level, params: dict[str, Scalar], rng: np.random.Generator,
    *, seed: int, index: int,
) -> list[tuple[float, dict[str, Scalar]]]:  # fmt: skip
    """The heads of one backbone, added to the rows: noisy values and parameters."""
    luck, found = landscape.luck(rng), []
    length = length_of(params) / LENGTHS[-1] if EPOCHS in params else 1.0
    for turn in range(ROUNDS):
        heads = propose_heads(
            rows, space=inner, sampler="tpe", seed=seed, backbone=index, round=turn, count=HEADS // ROUNDS,
            stage1_params=params,
        )  # fmt: skip
        asked = [{**params, **head} for head in heads]
        values = [landscape.observe(one, rng, shared=luck, length=length) for one in asked]
        rows += [Observation(backbone=index, params=p, value=v) for p, v in zip(asked, values, strict=True)]
        found += list(zip(values, asked, strict=True))
    return found


def _report_rungs(landscape: Landscape, *, joint: list[float], ours: list[float]) -> None:
    """One line: the cost with rungs; beside it that without, and the values at equal costs."""
    rungs = [with_rungs(landscape, seed=seed) for seed in SEEDS]
    mean, target = _mean(rungs), RUNG_TARGETS.get(landscape.name)
    reached = next((cost for cost, value in zip(COSTS, mean, strict=True) if value >= joint[-1]), COSTS[-1] + 0.125)
    plain = next((k for k, value in enumerate(ours, start=1) if value >= joint[-1]), BACKBONES + 1)
    record(
        f"search_efficiency_rungs_{landscape.name}",
        figure=reached, unit=f"full-length equivalents for what joint TPE reaches after {BACKBONES}",
        baseline="joint TPE (Optuna's default), one head a backbone", target=target,
        met=None if target is None else reached <= target, n=len(SEEDS), lengths=list(LENGTHS), without_rungs=plain,
        costs=COSTS, rungs=_rounded(mean), deviation_of_mean=_rounded(_deviation(rungs)),
    )  # fmt: skip
    at = [COSTS.index(float(cost)) for cost in (2, 3, 4, 6)]
    print(
        f"  true value at 2 / 3 / 4 / 6 full lengths: rungs {' / '.join(f'{mean[i]:.1f}' for i in at)}, without "
        f"{' / '.join(f'{ours[cost - 1]:.1f}' for cost in (2, 3, 4, 6))}; joint after 24 {joint[-1]:.1f}"
    )


def _report(landscape: Landscape, *, joint: list[float], ours: list[float], deviation: list[float]) -> None:
    reached = next((k for k, value in enumerate(ours, start=1) if value >= joint[-1]), BACKBONES + 1)
    record(
        "search_efficiency" if landscape is VARIANTS[0] else f"search_efficiency_{landscape.name}",
        figure=reached, unit=f"backbones for what joint TPE reaches after {BACKBONES}",
        baseline="joint TPE (Optuna's default), one head a backbone", target=TARGETS[landscape.name],
        met=reached <= TARGETS[landscape.name],
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
