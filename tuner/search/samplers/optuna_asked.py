"""Points from one of Optuna's own samplers, through a study in memory."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator

import optuna
from optuna.samplers import BaseSampler

from tuner.search.points import Level
from tuner.search.samplers.sampler import Ask, Points


def asked(sampler: BaseSampler, level: Level, ask: Ask) -> Points:
    """`ask.count` points, one after another."""
    distributions = dict(level.distributions)
    with _muted():
        study = optuna.create_study(direction="maximize", sampler=sampler)
        return [level.existing(study.ask(distributions).params, ask.context) for _ in range(ask.count)]


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Silences Optuna's log lines and its warnings of experimental options."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
