"""A study's data, read once, for figures, report and export.

Only `load_study_data` and `with_classes` read the database; nothing here draws.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Final

from search_spaces import Space, SpaceError, loads
from search_spaces.objectives import DIGITS, front
from studies.applicable import applies
from studies.confirmed import CONFIRM, Confirmed, confirmed, is_finished, seed_in, without_seeds
from studies.records import (
    BackboneRow,
    ClassRow,
    EpochRow,
    PosthocRow,
    ReadingRow,
    SpaceRow,
    StudyRow,
    TrialRow,
)
from trainers.config import Scalar

if TYPE_CHECKING:
    from studies.store import Store

SEARCH_ROLES = ("search", "refine")  # trials that can be chosen; baselines cannot
RUNG: Final = "rung"  # role of trials with a shorter schedule: they teach the search and cannot be chosen
FRESH_SEED = "fresh_seed"  # readings of the chosen configuration retrained: the spread over seeds
ACCURACY = "val.balanced_accuracy"
SLOPE = "norm.slope"
BALANCED_DIGITS = 3  # of a slope or rank correlation: smaller differences do not count


@dataclass(frozen=True, kw_only=True)
class StudyData:
    """The rows of one study. `classes` has only the trials that are shown class by class."""

    study: StudyRow
    trials: tuple[TrialRow, ...]
    backbones: tuple[BackboneRow, ...] = ()
    posthoc: tuple[PosthocRow, ...] = ()
    readings: tuple[ReadingRow, ...] = ()  # of the chosen trial and of baselines
    fresh: tuple[ReadingRow, ...] = ()  # of fresh seeds
    epochs: tuple[EpochRow, ...] = ()
    classes: Mapping[int, tuple[ClassRow, ...]] = field(default_factory=dict)  # by trial number
    spaces: tuple[SpaceRow, ...] = ()  # first to newest, of a study that grew

    @cached_property
    def space(self) -> Space:
        """The study's search space, the widest one if it grew."""
        return loads(self.study.space_yaml)

    @property
    def grew(self) -> bool:
        """True if the study has had several spaces."""
        return len(self.spaces) > 1

    def space_of(self, row: TrialRow) -> Space:
        """The space that a trial was drawn from."""
        return loads(self.spaces[row.space - 1].space_yaml) if self.grew else self.space

    def params(self, row: TrialRow) -> Mapping[str, Scalar]:
        """A trial's values of what the widest space searches, which may have been fixed when it was drawn."""
        if not self.grew:
            return row.params
        return {name: row.config[name] for name in self.space.searched if self.space.active(name, row.config)}

    @cached_property
    def best(self) -> TrialRow | None:
        """The trial chosen on validation."""
        return best_trial(self.trials)

    @cached_property
    def front(self) -> tuple[TrialRow, ...]:
        """The Pareto front of the search by all objectives, the chosen trial first; with one objective, it alone."""
        return front_of(self.searched)

    @cached_property
    def confirmed(self) -> tuple[Confirmed, ...]:
        """Trials of the search with finished runs of several seeds; if there are any, the choice is among them."""
        return with_several_seeds(self.trials)

    @cached_property
    def best_confirmed(self) -> Confirmed | None:
        """The chosen trial with its runs, if the choice was by their mean."""
        return best_confirmed(self.trials)

    @cached_property
    def tied(self) -> tuple[TrialRow, ...]:
        """Trials of the search that are as good as the chosen one, by every objective or by the mean over seeds.

        The chosen one is among them.
        """
        best, several = self.best, self.best_confirmed
        if several is not None:
            mean = _rounded((several.value.mean,))
            return tuple(one.trial for one in self.confirmed if _rounded((one.value.mean,)) == mean)
        return tuple(row for row in self.searched if best and _rounded(row.gains) == _rounded(best.gains))

    @cached_property
    def naive(self) -> TrialRow | None:
        """The naive baseline: cross-entropy alone, no weight decay, its own classifier."""
        return next((row for row in self.trials if row.role == "naive" and row.state == "COMPLETE"), None)

    @cached_property
    def complete(self) -> tuple[TrialRow, ...]:
        """Finished trials in the order of their numbers, without runs of other seeds and short schedules."""
        rows = (row for row in self.trials if is_finished(row) and row.role not in (CONFIRM, RUNG))
        return tuple(sorted(rows, key=lambda row: row.number))

    @cached_property
    def searched(self) -> tuple[TrialRow, ...]:
        """Finished trials of the search, without baselines."""
        return tuple(row for row in self.complete if row.role in SEARCH_ROLES)

    @cached_property
    def varying(self) -> tuple[str, ...]:
        """Names of the settings that differ between finished trials, in the order of the configuration.

        A setting does not count for a trial whose result it did not affect.
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
        """A whole configuration, for the settings that all trials share; empty before the first trial."""
        row = self.best or next(iter(self.trials), None)
        return row.config if row else {}

    @property
    def thresholds(self) -> tuple[int, int]:
        """Many: more training images than the first; few: fewer than the second."""
        many, few = self.configuration.get("task.many"), self.configuration.get("task.few")
        return (many if isinstance(many, int) else 100, few if isinstance(few, int) else 20)

    @cached_property
    def trial_by_number(self) -> Mapping[int, TrialRow]:
        return {row.number: row for row in self.trials}

    @cached_property
    def backbone_by_fingerprint(self) -> Mapping[str, BackboneRow]:
        return {row.fingerprint: row for row in self.backbones}

    def reading(self, role: str) -> ReadingRow | None:
        """The last reading of test data under `role`; for "best", the last one of the best trial."""
        rows = [row for row in self.readings if row.role == role]
        if role == "best" and self.best is not None:
            rows = [row for row in rows if row.number == self.best.number]
        return rows[-1] if rows else None

    @cached_property
    def all_baselines(self) -> tuple[ReadingRow, ...]:
        """Readings of baselines including naive, one per role, in the order of the space."""
        roles = dict.fromkeys(row.role for row in self.readings if row.role != "best")
        ordered = sorted(roles, key=self.place)
        return tuple(row for role in ordered if (row := self.reading(role)) is not None)

    def place(self, role: str) -> int:
        """The position of a baseline in the order of the space; any other role comes last."""
        return _rank_of_role(role, self.space.baselines)

    @cached_property
    def baselines(self) -> tuple[ReadingRow, ...]:
        """The same without naive: classifiers that were chosen on validation."""
        return tuple(row for row in self.all_baselines if row.role != "naive")

    @cached_property
    def ended(self) -> datetime:
        """The latest time in the study, so that the same data gives the same report and export."""
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


def seed_of(row: ReadingRow) -> int:
    """The seed of stage 1, which names a fresh seed."""
    return seed_in(row.config)


def preference(value: float, slope: float | None, number: int, *others: float) -> tuple[float, ...]:
    """The key by which the best trial is the largest: the objective, then the balance of norms, then the lower number.

    With few validation images many trials share the highest value; only the most balanced of them is on the Pareto
    front of accuracy and balance. The gains by further objectives, `others`, come right after the first one, so that
    no trial dominates the best.
    """
    balance = -math.inf if slope is None else -round(abs(slope), BALANCED_DIGITS)
    return *_rounded((value, *others)), balance, -number


def best_trial(trials: Iterable[TrialRow]) -> TrialRow | None:
    """The finished trial of the search that `preference` ranks highest.

    Once a configuration has finished runs with two seeds or more, the choice is among such ones alone, by their means.
    """
    rows = tuple(trials)
    several = best_confirmed(rows)
    return several.trial if several else max(finished_search(rows), key=by_value, default=None)


def best_confirmed(trials: Iterable[TrialRow]) -> Confirmed | None:
    """The configuration with the highest mean over seeds, of equals as in `preference`; None if none has several."""
    return max(with_several_seeds(trials), key=_by_mean, default=None)


def with_several_seeds(trials: Iterable[TrialRow]) -> tuple[Confirmed, ...]:
    """The trials of the search whose configuration has finished runs with two seeds or more."""
    rows = tuple(trials)
    return tuple(one for one in confirmed(finished_search(rows), rows) if len(one.runs) > 1)


def finished_search(trials: Iterable[TrialRow]) -> list[TrialRow]:
    """The finished trials that can be chosen."""
    return [row for row in trials if row.role in SEARCH_ROLES and is_finished(row)]


def by_value(row: TrialRow) -> tuple[float, ...]:
    """The preference for a finished trial by its own run."""
    return preference(row.value or 0.0, row.metrics.get(SLOPE), row.number, *row.others)


def _by_mean(one: Confirmed) -> tuple[float, ...]:
    return preference(one.value.mean, one.mean(SLOPE), one.trial.number)


def front_of(trials: Iterable[TrialRow]) -> tuple[TrialRow, ...]:
    """The Pareto front of these trials by all objectives, best in the first one first; of equals the preferred one."""
    rows = sorted(trials, key=by_value, reverse=True)
    distinct = list({_rounded(row.gains): row for row in reversed(rows)}.values())[::-1]
    return tuple(distinct[place] for place in front([row.gains for row in distinct]))


def _rounded(gains: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(gain, DIGITS) for gain in gains)


def with_classes(data: StudyData, store: Store, numbers: Iterable[int]) -> StudyData:
    """The same data with the class rows of these trials added."""
    more = {number: tuple(store.classes(number)) for number in numbers if number not in data.classes}
    return replace(data, classes={**data.classes, **more})


def load_study_data(store: Store) -> StudyData:
    """Reads the study from its database; class rows only for the chosen trial and the baselines."""
    trials = tuple(store.trials())
    best = best_trial(trials)
    unshown = (*SEARCH_ROLES, CONFIRM, RUNG)
    shown = [row.number for row in trials if row.state == "COMPLETE" and (row is best or row.role not in unshown)]
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
        spaces=tuple(store.spaces()),
    )


def in_order(readings: Iterable[ReadingRow], space_yaml: str) -> list[ReadingRow]:
    """Best, baselines in the space's order, fresh seeds by seed: parallel jobs end in any order."""
    try:
        order = ("best", *loads(space_yaml).baselines)
    except SpaceError:  # a space of another release: its readings can still be shown
        order = ("best",)
    return sorted(
        readings,
        key=lambda row: (
            row.role == FRESH_SEED,
            seed_of(row) if row.role == FRESH_SEED else _rank_of_role(row.role, order),
        ),
    )


def _rank_of_role(role: str, order: tuple[str, ...]) -> int:
    return order.index(role) if role in order else len(order)
