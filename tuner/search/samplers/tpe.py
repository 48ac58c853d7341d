"""Many proposals from one fit of Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS).

Optuna fits its estimators anew for each proposal. Heads of one round are trained together and give no results in
between, so one fit serves all. This file uses internals of Optuna, as `studies/sql/optuna_rows.py` does; optuna is
pinned below its next major version, and a test compares each proposal with `TPESampler`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters

from trainers.config import Scalar
from tuner.search.lessons import Lesson
from tuner.search.points import Level
from tuner.search.samplers.sampler import Ask, Points

CANDIDATES = 8  # per proposal; Optuna's 24 pull a whole round together to one place
DRAWS = 4  # from one fit
FADES = 8  # points after which a belief counts half as much as a point
ALONE = 24  # candidates of a proposal that comes alone, as in Optuna


class Parzen:
    """A round of heads, or a backbone, from one fit of the estimators."""

    startup = 5

    def propose(self, rows: Sequence[Lesson], level: Level, ask: Ask) -> Iterator[Points]:
        """Draws several times, to replace duplicates."""
        filled = [replace(row, params=level.filled(row.params)) for row in rows]
        filled = [*_believed(filled, level, own=sum(row.weight == 1 for row in rows)), *filled]  # first of equals
        candidates = CANDIDATES if ask.count > 1 else ALONE
        draw = fit(filled, level.distributions, seed=ask.seed, candidates=candidates)
        for _ in range(DRAWS):
            yield [level.existing(point, ask.context) for point in draw(ask.count)]


def _believed(rows: Sequence[Lesson], level: Level, *, own: int) -> list[Lesson]:
    """The best point with the believed values, as one more good point that counts less as `own` points come in."""
    priors = level.part(level.priors)
    if not priors or not rows:
        return []
    best = max(rows, key=lambda row: row.value)
    return [replace(best, params={**best.params, **priors}, weight=FADES / (FADES + own))]


def fit(
    rows: Sequence[Lesson], distributions: Mapping[str, BaseDistribution], *, seed: int, candidates: int = CANDIDATES
) -> Callable[[int], list[dict[str, Scalar]]]:
    """A function that draws a given number of proposals, each the best of its own `candidates` samples."""
    order = sorted(range(len(rows)), key=lambda i: -rows[i].value)
    n_good = min(math.ceil(0.1 * len(rows)), 25)  # a tenth, at most 25, as in Optuna
    n_good = max(n_good, min(3, math.ceil(0.25 * len(rows))))  # but at least three, or a quarter if that is fewer
    good = _estimator([rows[i] for i in sorted(order[:n_good])], distributions)
    rest = _estimator([rows[i] for i in sorted(order[n_good:])], distributions)
    rng = np.random.RandomState(seed)

    def draw(count: int) -> list[dict[str, Scalar]]:
        samples = good.sample(rng, candidates * count)  # name -> (count * candidates,)
        gain = (good.log_pdf(samples) - rest.log_pdf(samples)).reshape(count, candidates)  # log l(x)/g(x), eq. 2
        chosen = gain.argmax(1) + np.arange(count) * candidates  # (count,)
        return [
            {name: d.to_external_repr(samples[name][i].item()) for name, d in distributions.items()} for i in chosen
        ]

    return draw


def _estimator(rows: Sequence[Lesson], distributions: Mapping[str, BaseDistribution]) -> _ParzenEstimator:
    observations = {
        name: np.array([d.to_internal_repr(row.params[name]) for row in rows], dtype=float)
        for name, d in distributions.items()
    }
    parameters = _ParzenEstimatorParameters(
        prior_weight=1.0, consider_magic_clip=True, consider_endpoints=False, weights=np.ones, multivariate=True
    )
    return _ParzenEstimator(observations, dict(distributions), parameters, np.array([row.weight for row in rows]))
