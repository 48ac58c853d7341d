"""A two-stage objective that costs nothing, for comparing ways to search.

In decades around a landscape's best place, with a = log10 lr and d = log10 weight decay of stage 1:

    u = a + d           across the ridge: what counts in stage 1 is lr x weight decay
    v = a               along it: flat
    w = log10 weight decay of stage 2, less its optimum, which moves with d
    x = log10 lr of stage 2, y = log10 MaxNorm radius, which moves with d the other way

    value = peak - 8 u^2 - 2 v^2 - 5 w^2 - 3 x^2 - 4 y^2 + noise,    in points of balanced accuracy

with two cliffs, a little beyond the best places: too much lr x weight decay and the network collapses to chance; too
much weight decay in stage 2 and the classifier does. A whole schedule of a share s of the epochs has its ridge at
u = -DRIFT log10 s and loses -SHORTER log10 s points, as in real runs (fidelity_runs.py). This is the shape of weight
balancing in small (the best decay near a cliff, lr x decay what counts, stages that depend on each other), not a fit to
any data set. The variants differ in what a search could come to rely on by accident: where the optimum lies, luck of a
backbone, a choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from trainers.config import Scalar

STAGE1: dict[str, BaseDistribution] = {
    "stage1.lr": FloatDistribution(1e-3, 0.3, log=True),
    "stage1.weight_decay": FloatDistribution(1e-4, 5e-2, log=True),
}
STAGE2: dict[str, BaseDistribution] = {
    "stage2.lr": FloatDistribution(1e-3, 1.0, log=True),
    "stage2.weight_decay": FloatDistribution(1e-4, 0.5, log=True),
    "stage2.maxnorm_radius": FloatDistribution(0.1, 3.0, log=True),
}
DRIFT, SHORTER = 0.66, 9.9  # per decade of epochs, as fitted to fidelity_runs.json
LOSSES = ("cb_ce", "logit_adjusted", "ldam")


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """Where the optimum lies and how steep its surroundings are; `seed_noise` is what all heads of a backbone share."""

    name: str
    lr: float = 0.02
    weight_decay: float = 5e-3
    moves: float = 0.7  # decades of stage-2 weight decay per decade of stage-1 weight decay
    peak: float = 58.0
    floor: float = 10.0  # chance, ten classes
    ridge: float = 8.0  # points per square decade across the ridge
    along: float = 2.0  # and along it
    cliff: float = 0.7  # decades beyond the optimum at which training collapses
    noise: float = 0.5  # standard deviation of one head's value, points
    seed_noise: float = 0.0  # standard deviation of what all heads of a backbone share, points
    losses: bool = False  # stage 2 has a choice of losses, each with its own best weight decay
    drift: float = DRIFT  # decades by which the best lr x weight decay of stage 1 falls per decade of epochs
    shorter: float = SHORTER  # points lost per decade of fewer epochs
    astray: float = 0.0  # decades by which the best place of every shorter schedule lies elsewhere, u up and v down

    @property
    def stage1(self) -> dict[str, BaseDistribution]:
        """What is searched in stage 1."""
        return STAGE1

    @property
    def stage2(self) -> dict[str, BaseDistribution]:
        """What is searched in stage 2."""
        return {"stage2.loss": CategoricalDistribution(LOSSES), **STAGE2} if self.losses else STAGE2

    def true_value(self, params: Mapping[str, Scalar], *, length: float = 1.0) -> float:
        """The value without noise, in points, of a whole schedule of this share of the full one's epochs."""
        found = {name: math.log10(value) for name, value in params.items() if isinstance(value, float)}
        d = found["stage1.weight_decay"] - math.log10(self.weight_decay)
        v = found["stage1.lr"] - math.log10(self.lr)
        shorter = -math.log10(length)
        u = v + d - self.drift * shorter - (self.astray if shorter else 0.0)
        v += self.astray if shorter else 0.0
        loss, price = _LOSS[str(params.get("stage2.loss", "cb_ce"))]
        w = found["stage2.weight_decay"] + 2.0 - loss - self.moves * d
        x = found["stage2.lr"] + 1.5
        y = found["stage2.maxnorm_radius"] + 0.3 * d
        if u > self.cliff or w > self.cliff:
            return self.floor
        return max(
            self.floor,
            self.peak
            - self.shorter * shorter
            - price
            - self.ridge * u**2
            - self.along * v**2
            - 5 * w**2
            - 3 * x**2
            - 4 * y**2,
        )

    def observe(
        self, params: Mapping[str, Scalar], rng: np.random.Generator, *, shared: float = 0.0, length: float = 1.0
    ) -> float:
        """One noisy reading; `shared` is the backbone's own luck, as drawn by `luck`."""
        return self.true_value(params, length=length) + shared + self.noise * float(rng.standard_normal())

    def luck(self, rng: np.random.Generator) -> float:
        """What all heads of one backbone share."""
        return self.seed_noise * float(rng.standard_normal())


_LOSS: dict[str, tuple[float, float]] = {  # decades by which the best weight decay moves; points that the loss costs
    "cb_ce": (0.0, 0.0),
    "logit_adjusted": (-0.8, 0.7),
    "ldam": (0.5, 2.5),
}

RIDGE = Landscape(name="ridge")
VARIANTS = (
    RIDGE,
    Landscape(name="corner", lr=0.1, weight_decay=1.5e-2, moves=-0.5, ridge=12.0, along=3.0, cliff=0.4),
    Landscape(name="lucky", lr=0.004, weight_decay=5e-4, seed_noise=0.7, noise=0.8, along=1.0),
    Landscape(name="losses", lr=0.05, weight_decay=1e-3, losses=True),
)
MISLED = (  # landscapes on which short schedules mislead
    Landscape(name="backwards", drift=-0.8),  # shorter ones want less lr x weight decay, not more
    Landscape(name="elsewhere", astray=1.0),
)
