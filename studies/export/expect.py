"""The expected result of an exported configuration: values, tolerances, and their source.

With fresh seeds the value is their mean, because the run that a search chooses is a lucky one. The tolerance is twice
their sample deviation plus half of the 95 % interval from the images of each class. It is at least 0.01, and wide
enough for the study's own run to pass. Without fresh seeds, only that run and the images' interval are known.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from studies.export.candidates import Candidate
from studies.findings.intervals import Interval, group_recalls
from studies.findings.spread import Spread, spreads
from studies.records import ClassRow, StoredMetrics
from studies.study_data import SLOPE, StudyData, seed_of

FRESH_SEEDS, STUDY_RUN = "fresh seeds", "study run"  # sources of the values of `expect`
LEAST_TOLERANCE = 0.01  # of an accuracy: other hardware may move it, even with the same seed
_ACCURACIES = ("balanced_accuracy", "many", "medium", "few")

Pair = dict[str, float | None]


class Expected(NamedTuple):
    """The block `expect` of an export, and its entry in the provenance."""

    expect: dict[str, Pair]
    origin: dict[str, Any]


def expected(data: StudyData, candidate: Candidate) -> Expected:
    """Expected accuracies on validation and, if read, on test; the balance of norms has no tolerance."""
    own = candidate.metrics
    half = _sampling_errors(data, candidate)
    fresh = data.fresh_seeds(candidate.config)
    if len(fresh) < 2:
        expect = {name: {"value": own[name], "tolerance": half.get(name)} for name in _measures_of_all(own)}
        return Expected(expect, {"from": STUDY_RUN, "seeds": [candidate.config["stage1.seed"]]})
    runs = [row.metrics for row in fresh]
    over = spreads(runs)
    expect = {name: _over_seeds(name, over[name], own.get(name), half.get(name)) for name in _measures_of_all(*runs)}
    seeds = [seed_of(row) for row in fresh]
    deviations = {name: _six_digits(over[name].deviation or 0.0) for name in expect}
    measured = {name: own[name] for name in _measures_of_all(own)}
    return Expected(expect, {"from": FRESH_SEEDS, "seeds": seeds, "deviation": deviations, "study_run": measured})


def _over_seeds(name: str, over: Spread, own: float | None, half: float | None) -> Pair:
    mean = _six_digits(over.mean)
    if name == SLOPE:
        return {"value": mean, "tolerance": None}
    tolerance = 2 * (over.deviation or 0.0) + (half or 0.0)
    reach = abs(own - mean) + LEAST_TOLERANCE if own is not None else 0.0
    return {"value": mean, "tolerance": round(max(LEAST_TOLERANCE, tolerance, reach), 4)}


def _measures_of_all(*runs: StoredMetrics) -> list[str]:
    """The measures to compare that every run has, in order."""
    names = [f"{split}.{name}" for split in ("val", "test") for name in _ACCURACIES]
    return [name for name in (*names, SLOPE) if all(run.get(name) is not None for run in runs)]


def _six_digits(value: float) -> float:
    """Rounded to six digits: a mean, unlike a setting, need not be exact."""
    return float(f"{value:.6g}")


def _sampling_errors(data: StudyData, candidate: Candidate) -> dict[str, float | None]:
    """Half of the 95 % interval from the images; None if the classes are unknown."""
    found: dict[str, float | None] = {}
    for split, rows in (("val", candidate.validation), ("test", candidate.test)):
        for name, limits in _accuracy_limits(rows, data.thresholds).items():
            half = (limits.high - limits.low) / 2 if limits else None
            found[f"{split}.{name}"] = None if half is None else round(max(LEAST_TOLERANCE, half), 4)
    return found


def _accuracy_limits(rows: Sequence[ClassRow], thresholds: tuple[int, int]) -> dict[str, Interval | None]:
    groups = group_recalls(rows, thresholds)
    return {"balanced_accuracy": groups["all"], **groups}
