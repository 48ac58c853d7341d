"""The final readings: the configurations that are measured on test data, once each, when a search ends.

These are the chosen one, each baseline, and the chosen one trained again with other seeds. Nothing is selected by them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from search_spaces import Space
from studies.confirmed import SEEDS, confirmed, seed_in
from studies.records import PosthocRow, TrialRow
from studies.store import Store
from studies.study_data import FRESH_SEED, best_trial
from trainers.config import Scalar

POSTHOC_BASELINES: Mapping[str, str] = {  # baseline -> the post-hoc method it is
    "weight_decay": "none",  # a tuned stage 1 with its own classifier
    "l2_norm": "l2_norm",
    "tau_norm": "tau_norm",
    "logit_adjustment": "logit_adjustment",
    "logit_adjustment_mul": "logit_adjustment_mul",
    "ncm": "ncm",
}


@dataclass(frozen=True)
class Reading:
    """One configuration to read on test, and its role; `number` if it is a trial of the study."""

    role: str
    config: Mapping[str, Scalar]
    number: int | None = None

    @property
    def trains(self) -> bool:
        """True if its backbone is trained for it; those of trials and of post-hoc classifiers exist."""
        return self.role == FRESH_SEED and self.number is None


def readings_due(space: Space, store: Store) -> list[Reading]:
    """The readings that the study does not hold yet. Selection is on validation, among this study's own results."""
    trials = store.trials()
    due: list[Reading] = []
    best = best_trial(trials)
    if best is not None:
        due.append(Reading("best", best.config, best.number))
    for row in trials:
        if row.role == "naive" and row.state == "COMPLETE":
            due.append(Reading("naive", row.config, row.number))
    searched = {row.fingerprint for row in store.backbones() if row.kind == "search"}
    candidates = [row for row in store.posthoc() if row.backbone in searched]
    for role in space.baselines:
        if role in POSTHOC_BASELINES:
            chosen = _best_posthoc(candidates, POSTHOC_BASELINES[role], space.objectives[0])
            due += [Reading(role, chosen.config)] if chosen else []
    if best is not None:
        due += _other_seeds(space, best, trials)
    held = {(reading.role, _key(reading.config)) for reading in store.readings()}
    return [reading for reading in due if (reading.role, _key(reading.config)) not in held]


def _other_seeds(space: Space, best: TrialRow, trials: Sequence[TrialRow]) -> list[Reading]:
    """The chosen configuration with other seeds: its runs of the confirmation, and fresh ones up to the budget."""
    (runs,) = confirmed([best], trials) or [None]
    known = [Reading(FRESH_SEED, row.config, row.number) for row in (runs.runs[1:] if runs else ())]
    tried = {seed_in(row.config) for row in (runs.others if runs else ())}
    more = with_fresh_seeds(best.config, max(0, space.budget.fresh_seeds - len(known)), besides=tried)
    return [*known, *(Reading(FRESH_SEED, config) for config in more)]


def with_fresh_seeds(
    config: Mapping[str, Scalar], count: int, *, besides: Collection[int] = ()
) -> list[dict[str, Scalar]]:
    """`count` copies of the configuration, with the smallest seeds that neither it nor `besides` has."""
    own = {*(config[name] for name in SEEDS), *besides}
    fresh = (seed for seed in itertools.count() if seed not in own)
    return [{**config, **dict.fromkeys(SEEDS, seed)} for seed in itertools.islice(fresh, count)]


def by_backbone(readings: Sequence[Reading]) -> Iterator[list[Reading]]:
    """Groups readings that share a backbone; one job makes a group."""
    groups: dict[tuple[tuple[str, Scalar], ...], list[Reading]] = {}
    for reading in readings:
        key = tuple(sorted((k, v) for k, v in reading.config.items() if not k.startswith("stage2.")))
        groups.setdefault(key, []).append(reading)
    yield from groups.values()


def _best_posthoc(rows: Sequence[PosthocRow], method: str, objective: str) -> PosthocRow | None:
    of_method = [row for row in rows if row.config["stage2.method"] == method and row.metrics[objective] is not None]
    value: Callable[[PosthocRow], float] = lambda row: row.metrics[objective] or 0.0  # noqa: E731
    return max(of_method, key=value, default=None)


def _key(config: Mapping[str, Scalar]) -> tuple[tuple[str, Scalar], ...]:
    return tuple(sorted(config.items()))
