"""Many proposals from one fit of Optuna's tree-structured Parzen estimator (Bergstra et al. 2011, NeurIPS).

Optuna fits its estimators anew for each proposal. Heads of one round are trained together and give no results in
between, so one fit serves all. This file uses internals of Optuna, as `studies/sql/optuna_rows.py` does; optuna is
pinned below its next major version, and a test compares each proposal with `TPESampler`'s.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator, _ParzenEstimatorParameters

from trainers.config import Scalar
from tuner.search.points import Params

CANDIDATES = 8  # per proposal; Optuna's 24 pull a whole round together to one place


@dataclass(frozen=True)
class Learned:
    """A finished trial to learn from. Larger values are better."""

    params: Params  # every parameter of the level
    value: float
    weight: float = 1.0  # how much the trial counts


def fit(
    rows: Sequence[Learned], distributions: Mapping[str, BaseDistribution], *, seed: int, candidates: int = CANDIDATES
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


def _estimator(rows: Sequence[Learned], distributions: Mapping[str, BaseDistribution]) -> _ParzenEstimator:
    observations = {
        name: np.array([d.to_internal_repr(row.params[name]) for row in rows], dtype=float)
        for name, d in distributions.items()
    }
    parameters = _ParzenEstimatorParameters(
        prior_weight=1.0, consider_magic_clip=True, consider_endpoints=False, weights=np.ones, multivariate=True
    )
    return _ParzenEstimator(observations, dict(distributions), parameters, np.array([row.weight for row in rows]))
