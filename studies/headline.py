"""What a study found, in a few numbers, and what to be careful about when reading them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from studies.intervals import Interval, difference, mean_recall
from studies.records import ReadingRow
from studies.study_data import ACCURACY, StudyData

TEST_ACCURACY = "test.balanced_accuracy"
WIDE = 0.1  # a 95 % interval on test that hides differences between methods


class Compared(NamedTuple):
    """A baseline of this study on test, and how far the chosen configuration is above it (fractions)."""

    role: str
    accuracy: Interval
    gain: Interval


class Headline(NamedTuple):
    """The top of the report. `accuracy`, `naive` and `baseline` are None until test was read."""

    study: str
    state: str
    objective: str
    trial: int | None
    value: float | None  # of the objective, on validation
    accuracy: Interval | None  # balanced, on test
    few: float | None  # on test
    naive: Compared | None
    baseline: Compared | None  # of the others, the one that was best on validation
    searched: int  # finished trials that the best was chosen from
    complete: int
    failed: int
    pruned: int
    running: int
    backbones: int
    trained_hours: float  # of all workers together
    elapsed_hours: float  # in which at least one job ran
    data_fingerprint: str | None


def headline(data: StudyData) -> Headline:
    """Counts, the chosen configuration, and its distance from baselines run in the same study."""
    states = Counter(row.state for row in data.trials)
    best, reading, naive = data.best, data.reading("best"), data.reading("naive")
    baseline = max(data.baselines, key=lambda row: row.metrics.get(ACCURACY) or 0.0, default=None)
    return Headline(
        study=data.study.name,
        state=data.study.state,
        objective=data.study.objective,
        trial=best.number if best else None,
        value=best.value if best else None,
        accuracy=test_interval(reading) if reading else None,
        few=reading.metrics.get("test.few") if reading else None,
        naive=_compared(reading, naive),
        baseline=_compared(reading, baseline),
        searched=len(data.searched),
        complete=states["COMPLETE"],
        failed=states["FAIL"],
        pruned=states["PRUNED"],
        running=states["RUNNING"],
        backbones=sum(row.kind != "baseline" for row in data.backbones),
        trained_hours=_trained_seconds(data) / 3600,
        elapsed_hours=covered_seconds((row.started, row.finished) for row in data.trials) / 3600,
        data_fingerprint=data.study.data_fingerprint,
    )


def test_interval(reading: ReadingRow) -> Interval | None:
    """Balanced test accuracy of a reading with 95 % limits; limits equal the value where classes are not known."""
    value = reading.metrics.get(TEST_ACCURACY)
    return mean_recall(reading.classes) or (Interval(value, value, value) if value is not None else None)


def _compared(best: ReadingRow | None, other: ReadingRow | None) -> Compared | None:
    ours = test_interval(best) if best else None
    theirs = test_interval(other) if other else None
    if other is None or ours is None or theirs is None:
        return None
    return Compared(other.role, theirs, difference(ours, theirs))


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


def cautions(data: StudyData) -> tuple[str, ...]:
    """What a careful reader would want to be told, one sentence each."""
    return (*_edges(data), *_protocol(data), *_readings(data), *_noise(data), *_chance(data))


def remarks(data: StudyData) -> tuple[str, ...]:
    """What data and trainer had to say, which calls for no special care."""
    best = data.best
    about_best = [] if best is None else [f"Trial {best.number}: {note}" for note in best.notes]
    return (*data.study.notes, *about_best)


def _edges(data: StudyData) -> list[str]:
    if data.best is None:
        return []
    searched = data.space.searched
    found = []
    for name, end in data.space.edge(data.best.params).items():
        distribution = searched[name]
        low, high = getattr(distribution, "low", None), getattr(distribution, "high", None)
        scale = ", logarithmic" if getattr(distribution, "log", False) else ""
        found.append(
            f"{name} of the best trial is {data.best.params[name]:.4g}, at the {end} end of its range "
            f"[{low:g}, {high:g}]{scale}: the optimum may lie outside; widen the range and search again."
        )
    return found


def _protocol(data: StudyData) -> list[str]:
    if data.configuration.get("task.protocol") != "paper_leak":
        return []
    return [
        "Protocol paper_leak: epochs and configurations were selected on test data. These are not honest test results."
    ]


def _readings(data: StudyData) -> list[str]:
    chosen = [row for row in data.readings if row.role == "best"]
    if not chosen:
        return [
            "Test data has not been read yet: every accuracy here is on validation data, on which the best was chosen."
        ]
    if data.reading("best") is None:
        return ["Another trial became the best after test data was read; the new one has no test result yet."]
    if len(chosen) > 1:
        numbers = ", ".join(str(row.number) for row in chosen)
        return [
            f"Test data was read for {len(chosen)} chosen trials ({numbers}), because the search went on after "
            "the first."
        ]
    return []


def _noise(data: StudyData) -> list[str]:
    found = []
    gain = headline(data).naive
    if gain is not None and gain.gain.low <= 0:
        found.append("The 95 % interval of the gain over naive includes zero: this test set cannot tell the two apart.")
    accuracy = headline(data).accuracy
    if accuracy is not None and accuracy.high - accuracy.low > WIDE:
        found.append(
            f"The 95 % interval of the best is {100 * (accuracy.high - accuracy.low):.0f} points wide: the test set is "
            "small, and differences of a few points mean little."
        )
    count = len(data.searched)
    if 0 < count < 10:
        found.append(
            f"Only {count} trial{'s' if count > 1 else ''} of the search finished: the figures show little yet."
        )
    return found


def _chance(data: StudyData) -> list[str]:
    """Results that are no better than guessing a class, as something is then wrong with more than the tail."""
    counts = data.study.train_counts
    guessing = 1 / len(counts) if counts else 0.0
    found = []
    for row in data.readings:
        value = row.metrics.get(TEST_ACCURACY)
        if value is not None and value <= guessing:
            name = "The chosen trial" if row.role == "best" else f"Baseline {row.role}"
            found.append(
                f"{name} reads {100 * value:.1f} % on test, and guessing {100 * guessing:.1f} %: it has learnt nothing "
                "that holds, so it is nothing to compare with."
            )
    return found
