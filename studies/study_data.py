"""All that a study holds, read once: what figures, report and export are made from.

Nothing here draws, and nothing here touches the database but `load_study_data`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from search_spaces import Space, SpaceError, loads
from studies.applicable import applies
from studies.records import (
    BackboneRow,
    ClassRow,
    EpochRow,
    PosthocRow,
    ReadingRow,
    StudyRow,
    TrialRow,
)
from trainers.config import Scalar

if TYPE_CHECKING:
    from studies.store import Store

SEARCH_ROLES = ("search", "refine")  # trials that may be chosen; baselines may not
FRESH_SEED = "fresh_seed"  # readings of the chosen configuration trained again; they say how far seeds are apart
SEEDS = ("stage1.seed", "stage2.seed")
ACCURACY = "val.balanced_accuracy"
SLOPE = "norm.slope"
BALANCED_DIGITS = 3  # of a slope or rank correlation: norms that differ by less are equally balanced
_DIGITS = 9  # of an objective: a mean of recalls that differs beyond is the same mean, summed in another order


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The rows of one study. `classes` holds those of the trials that are shown class by class."""

    study: StudyRow
    trials: tuple[TrialRow, ...]
    backbones: tuple[BackboneRow, ...] = ()
    posthoc: tuple[PosthocRow, ...] = ()
    readings: tuple[ReadingRow, ...] = ()  # of the chosen trial and of baselines
    fresh: tuple[ReadingRow, ...] = ()  # of fresh seeds
    epochs: tuple[EpochRow, ...] = ()
    classes: Mapping[int, tuple[ClassRow, ...]] = field(default_factory=dict)  # by trial number

    @cached_property
    def space(self) -> Space:
        """The study's search space."""
        return loads(self.study.space_yaml)

    @cached_property
    def best(self) -> TrialRow | None:
        """The trial chosen on validation."""
        return best_trial(self.trials)

    @cached_property
    def tied(self) -> tuple[TrialRow, ...]:
        """Trials of the search that share the highest objective, the chosen one among them."""
        best = self.best
        return tuple(row for row in self.searched if best and _rounded(row.value) == _rounded(best.value))

    @cached_property
    def naive(self) -> TrialRow | None:
        """The naive baseline: cross-entropy alone, no weight decay, its own classifier."""
        return next((row for row in self.trials if row.role == "naive" and row.state == "COMPLETE"), None)

    @cached_property
    def complete(self) -> tuple[TrialRow, ...]:
        """Finished trials in the order of their numbers."""
        rows = (row for row in self.trials if row.state == "COMPLETE" and row.value is not None)
        return tuple(sorted(rows, key=lambda row: row.number))

    @cached_property
    def searched(self) -> tuple[TrialRow, ...]:
        """Finished trials of the search, without baselines."""
        return tuple(row for row in self.complete if row.role in SEARCH_ROLES)

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Names of the settings in which finished trials differ, in the order of the configuration.

        A setting that had no part in a trial's result makes no difference between it and others.
        """
        if not self.complete:
            return ()
        names = self.complete[0].config
        return tuple(
            name
            for name in names
            if len({row.config.get(name) for row in self.complete if applies(name, row.config)}) > 1
        )

    @cached_property
    def configuration(self) -> Mapping[str, Scalar]:
        """A whole configuration of this study, for what all its trials share; empty before the first trial."""
        row = self.best or next(iter(self.trials), None)
        return row.config if row else {}

    @property
    def thresholds(self) -> tuple[int, int]:
        """More training images than the first: many; fewer than the second: few."""
        many, few = self.configuration.get("task.many"), self.configuration.get("task.few")
        return (many if isinstance(many, int) else 100, few if isinstance(few, int) else 20)

    @cached_property
    def trial_by_number(self) -> Mapping[int, TrialRow]:
        return {row.number: row for row in self.trials}

    @cached_property
    def backbone_by_fingerprint(self) -> Mapping[str, BackboneRow]:
        return {row.fingerprint: row for row in self.backbones}

    def reading(self, role: str) -> ReadingRow | None:
        """The reading of test data under `role`; of several "best" ones that of the best trial, else the last made."""
        rows = [row for row in self.readings if row.role == role]
        if role == "best" and self.best is not None:
            rows = [row for row in rows if row.number == self.best.number]
        return rows[-1] if rows else None

    @cached_property
    def all_baselines(self) -> tuple[ReadingRow, ...]:
        """Readings of baselines, the naive one too, one a role, in the order of the space."""
        roles = dict.fromkeys(row.role for row in self.readings if row.role != "best")
        ordered = sorted(roles, key=self.place)
        return tuple(row for role in ordered if (row := self.reading(role)) is not None)

    def place(self, role: str) -> int:
        """Where a baseline stands in the order of the space; after all of them where it is none."""
        return _place(role, self.space.baselines)

    @cached_property
    def baselines(self) -> tuple[ReadingRow, ...]:
        """The same without the naive one: classifiers that were chosen on validation."""
        return tuple(row for row in self.all_baselines if row.role != "naive")

    @cached_property
    def ended(self) -> datetime:
        """The last moment the study knows of, so that the same data gives the same report and the same export."""
        moments = [row.finished for row in self.trials if row.finished]
        moments += [row.read_at for row in (*self.readings, *self.fresh) if row.read_at]
        return max(moments, default=self.study.created)

    def fresh_seeds(self, config: Mapping[str, Scalar]) -> tuple[ReadingRow, ...]:
        """The readings of a trial's configuration with other seeds, by seed."""
        rows = (row for row in self.fresh if without_seeds(row.config) == without_seeds(config))
        return tuple(sorted(rows, key=seed_of))

    def class_name(self, index: int) -> str:
        """The name of a class, or its number where it has none."""
        names = self.study.class_names
        return names[index] if index < len(names) else f"class {index}"


def without_seeds(config: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """What a run is, but for chance."""
    return {name: value for name, value in config.items() if name not in SEEDS}


def seed_of(row: ReadingRow) -> int:
    """The seed of stage 1, by which fresh seeds are named."""
    return int(row.config["stage1.seed"] or 0)


def preference(value: float, slope: float | None, number: int) -> tuple[float, float, int]:
    """What trials are chosen by, the largest first: the objective, then the most balanced norms, then the lower number.

    On few validation images many trials share the highest value; of them the one nearest to balance is on the front of
    accuracy against balance, and any other would not be.
    """
    balance = -math.inf if slope is None else -round(abs(slope), BALANCED_DIGITS)
    return _rounded(value), balance, -number


def best_trial(trials: Iterable[TrialRow]) -> TrialRow | None:
    """The finished trial of the search that `preference` puts first."""
    rows = [row for row in trials if row.state == "COMPLETE" and row.role in SEARCH_ROLES and row.value is not None]
    return max(rows, key=lambda row: preference(row.value or 0.0, row.metrics.get(SLOPE), row.number), default=None)


def _rounded(value: float | None) -> float:
    return round(value or 0.0, _DIGITS)


def with_classes(data: StudyData, store: Store, numbers: Iterable[int]) -> StudyData:
    """The same with the class rows of these trials, too."""
    more = {number: tuple(store.classes(number)) for number in numbers if number not in data.classes}
    return replace(data, classes={**data.classes, **more})


def load_study_data(store: Store) -> StudyData:
    """Reads the study from its database; class rows only of the chosen trial and of baselines."""
    trials = tuple(store.trials())
    best = best_trial(trials)
    shown = [row.number for row in trials if row.state == "COMPLETE" and (row is best or row.role not in SEARCH_ROLES)]
    study = store.study()
    readings = in_order(store.readings(), study.space_yaml)
    return StudyData(
        study=study,
        trials=trials,
        backbones=tuple(store.backbones()),
        posthoc=tuple(store.posthoc()),
        readings=tuple(row for row in readings if row.role != FRESH_SEED),
        fresh=tuple(row for row in readings if row.role == FRESH_SEED),
        epochs=tuple(store.epochs()),
        classes={number: tuple(store.classes(number)) for number in shown},
    )


def in_order(readings: Iterable[ReadingRow], space_yaml: str) -> list[ReadingRow]:
    """Best, baselines as the space names them, fresh seeds by seed; jobs that ran side by side end in any order."""
    try:
        order = ("best", *loads(space_yaml).baselines)
    except SpaceError:  # of another release, whose readings can be shown all the same
        order = ("best",)
    return sorted(
        readings,
        key=lambda row: (row.role == FRESH_SEED, seed_of(row) if row.role == FRESH_SEED else _place(row.role, order)),
    )


def _place(role: str, order: tuple[str, ...]) -> int:
    return order.index(role) if role in order else len(order)
