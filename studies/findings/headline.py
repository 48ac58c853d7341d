"""The result of a study in a few numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from studies.applicable import applicable
from studies.confirmed import CONFIRM
from studies.findings.intervals import Interval, group_recalls, independent_difference
from studies.findings.spread import Spread, spreads
from studies.records import ClassRow, ReadingRow, StoredMetrics
from studies.study_data import ACCURACY, StudyData, seed_of
from trainers.config import Scalar

TEST_ACCURACY = "test.balanced_accuracy"
GROUPS_WITH_ALL = ("many", "medium", "few", "all")
_FROM_RARE = ("few", "medium", "many", "all")


class Compared(NamedTuple):
    """A baseline of this study on test, and the gain of the chosen configuration over it (fractions).

    `gains` has the groups that have classes, rarest first; the gain over all classes is `gain`.
    """

    role: str
    accuracy: Interval
    gain: Interval
    gains: dict[str, Interval]
    settings: dict[str, Scalar]  # those that affected its result


class Fresh(NamedTuple):
    """The chosen configuration retrained: mean and deviation of every measure over seeds."""

    seeds: tuple[int, ...]
    measures: dict[str, Spread]

    def of(self, name: str) -> Spread | None:
        """One measure, such as `test.few`; None for a group without classes."""
        return self.measures.get(name)


class Choice(NamedTuple):
    """A configuration that was chosen, or could have been, by its mean over seeds on validation."""

    trial: int  # of the search
    single: float  # the objective of this trial, by which it came among them
    seeds: tuple[int, ...]  # of the finished runs, this trial's first
    objective: Spread
    failed: int  # runs without a result


class Headline(NamedTuple):
    """The top of the report. `accuracy`, `naive` and `baseline` are None until test is read."""

    study: str
    state: str
    objective: str
    trial: int | None
    value: float | None  # of the objective, on validation
    tied: int  # trials of the search that share this value, or the mean over seeds
    confirmed: Choice | None  # None if the choice was by single runs
    rivals: tuple[Choice, ...]  # the others of that choice, the best first
    method: Scalar  # of stage 2
    accuracy: Interval | None  # balanced, on test
    rarest: str  # the rarest group that has classes
    rarest_accuracy: Interval | None  # on test
    fresh: Fresh | None  # None without two fresh seeds
    naive: Compared | None
    baseline: Compared | None  # the other baseline that is best on validation
    searched: int  # finished trials of the search
    complete: int
    failed: int
    pruned: int
    running: int
    never_asked: int  # trials of the budget that a finished search did not run
    backbones: int
    trained_hours: float  # summed over workers, without fresh seeds
    elapsed_hours: float  # during which at least one job ran
    data_fingerprint: str | None


def headline(data: StudyData) -> Headline:
    """Counts, the chosen configuration, and its gains over the baselines of the study."""
    states = Counter(row.state for row in data.trials)
    best, reading, naive = data.best, data.reading("best"), data.reading("naive")
    baseline = max(data.baselines, key=lambda row: row.metrics.get(ACCURACY) or 0.0, default=None)
    groups = test_groups(reading, data.thresholds) if reading else {}
    choices = ranked_choices(data)
    rarest = rarest_group(data)
    return Headline(
        study=data.study.name,
        state=data.study.state,
        objective=data.study.objective,
        trial=best.number if best else None,
        value=best.value if best else None,
        tied=len(data.tied),
        confirmed=next((one for one in choices if best and one.trial == best.number), None),
        rivals=tuple(one for one in choices if best and one.trial != best.number),
        method=best.config.get("stage2.method") if best else None,
        accuracy=groups.get("all"),
        rarest=rarest,
        rarest_accuracy=groups.get(rarest),
        fresh=over_fresh_seeds(data),
        naive=_compared(reading, naive, data.thresholds),
        baseline=_compared(reading, baseline, data.thresholds),
        searched=len(data.searched),
        complete=states["COMPLETE"],
        failed=states["FAIL"],
        pruned=states["PRUNED"],
        running=states["RUNNING"],
        never_asked=never_asked(data),
        backbones=sum(row.kind not in ("baseline", CONFIRM) for row in data.backbones),
        trained_hours=_trained_seconds(data) / 3600,
        elapsed_hours=covered_seconds((row.started, row.finished) for row in data.trials) / 3600,
        data_fingerprint=data.study.data_fingerprint,
    )


def test_groups(reading: ReadingRow, thresholds: tuple[int, int]) -> dict[str, Interval]:
    """Test accuracy of each group that has classes, in the order of GROUPS_WITH_ALL, with 95 % limits."""
    return group_intervals(reading.metrics, "test", reading.classes, thresholds)


def group_intervals(
    metrics: StoredMetrics, split: str, classes: Iterable[ClassRow], thresholds: tuple[int, int]
) -> dict[str, Interval]:
    """The trainer's accuracies, with 95 % limits from the images of each class.

    Limits equal the value if the classes are unknown.
    """
    limits = group_recalls(tuple(classes), thresholds)
    found = {}
    for group in GROUPS_WITH_ALL:
        known = limits[group]
        value = metrics.get(f"{split}.{'balanced_accuracy' if group == 'all' else group}")
        if known is not None:
            value = known.value if value is None else value
            found[group] = Interval(value, min(value, known.low), max(value, known.high))
        elif value is not None:
            found[group] = Interval(value, value, value)
    return found


def rarest_group(data: StudyData) -> str:
    """The rarest group that has classes: few, else medium, else many."""
    measured = [*(row.metrics for row in data.readings), *(row.metrics for row in data.complete)]
    present = (
        group
        for group in ("few", "medium", "many")
        if any(row.get(f"{split}.{group}") is not None for row in measured for split in ("val", "test"))
    )
    return next(present, "few")


def over_fresh_seeds(data: StudyData) -> Fresh | None:
    """The chosen configuration over fresh seeds; None for fewer than two, because one has no deviation."""
    rows = data.fresh_seeds(data.best.config) if data.best else ()
    if len(rows) < 2:
        return None
    return Fresh(tuple(seed_of(row) for row in rows), spreads([row.metrics for row in rows]))


def ranked_choices(data: StudyData) -> tuple[Choice, ...]:
    """The configurations that the choice was among, if it was by means over seeds: the highest mean first."""
    found = [
        Choice(one.trial.number, one.trial.value or 0.0, one.seeds, one.value, len(one.failed))
        for one in data.confirmed
    ]
    return tuple(sorted(found, key=lambda one: (-one.objective.mean, one.trial)))


def never_asked(data: StudyData) -> int:
    """How many trials of the budget a finished search did not run; 0 while it may continue."""
    if data.study.state not in ("done", "failed") or data.space.ladder:  # then the budget is in epochs
        return 0
    return max(0, data.space.trials - len(data.trials))


def _compared(best: ReadingRow | None, other: ReadingRow | None, thresholds: tuple[int, int]) -> Compared | None:
    if best is None or other is None:
        return None
    ours, theirs = test_groups(best, thresholds), test_groups(other, thresholds)
    both = [group for group in _FROM_RARE if group in ours and group in theirs]
    gains = {group: independent_difference(ours[group], theirs[group]) for group in both}
    if "all" not in gains:
        return None
    gain = gains.pop("all")
    return Compared(other.role, theirs["all"], gain, gains, applicable(other.config))


def _trained_seconds(data: StudyData) -> float:
    backbones = sum(row.seconds for row in data.backbones if not row.cached)
    return backbones + sum(row.seconds or 0.0 for row in data.trials)


def covered_seconds(spans: Iterable[tuple[datetime | None, datetime | None]]) -> float:
    """Length of the union of the spans."""
    known = sorted((began, ended) for began, ended in spans if began is not None and ended is not None)
    total, until = 0.0, None
    for began, ended in known:
        start = began if until is None else max(began, until)
        if ended > start:
            total += (ended - start).total_seconds()
            until = ended
    return total
