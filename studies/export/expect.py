"""What a run of an exported configuration should give, how far off it may be, and where that is known from.

With fresh seeds the value is their mean, for the run that a search has chosen is a lucky one. A tolerance is twice
their sample deviation plus half of the 95 % interval that the images of each class allow; never less than 0.01, nor
than what lets the study's own run pass. Without fresh seeds there are that run and the images' interval alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from studies.export.candidates import Candidate
from studies.findings.intervals import Interval, group_recalls
from studies.findings.spread import Spread, spreads
from studies.records import ClassRow, Metrics
from studies.study_data import SLOPE, StudyData, seed_of

FRESH_SEEDS, STUDY_RUN = "fresh seeds", "study run"  # where the values of `expect` are from
LEAST_TOLERANCE = 0.01  # of an accuracy: what other hardware may move even with the same seed
_ACCURACIES = ("balanced_accuracy", "many", "medium", "few")

Pair = dict[str, float | None]


class Expected(NamedTuple):
    """The block `expect` of an export, and what its provenance says of it."""

    expect: dict[str, Pair]
    origin: dict[str, Any]


def expected(data: StudyData, candidate: Candidate) -> Expected:
    """Of accuracies on validation and, where it was read, on test; the balance of the norms without tolerance."""
    own = candidate.metrics
    half = _sampling_errors(data, candidate)
    fresh = data.fresh_seeds(candidate.config)
    if len(fresh) < 2:
        expect = {name: {"value": own[name], "tolerance": half.get(name)} for name in _known(own)}
        return Expected(expect, {"from": STUDY_RUN, "seeds": [candidate.config["stage1.seed"]]})
    runs = [row.metrics for row in fresh]
    over = spreads(runs)
    expect = {name: _over_seeds(name, over[name], own.get(name), half.get(name)) for name in _known(*runs)}
    seeds = [seed_of(row) for row in fresh]
    deviations = {name: _short(over[name].deviation or 0.0) for name in expect}
    measured = {name: own[name] for name in _known(own)}
    return Expected(expect, {"from": FRESH_SEEDS, "seeds": seeds, "deviation": deviations, "study_run": measured})


def _over_seeds(name: str, over: Spread, own: float | None, half: float | None) -> Pair:
    mean = _short(over.mean)
    if name == SLOPE:
        return {"value": mean, "tolerance": None}
    tolerance = 2 * (over.deviation or 0.0) + (half or 0.0)
    reach = abs(own - mean) + LEAST_TOLERANCE if own is not None else 0.0
    return {"value": mean, "tolerance": round(max(LEAST_TOLERANCE, tolerance, reach), 4)}


def _known(*runs: Metrics) -> list[str]:
    """What is compared, in order, as far as every run has it."""
    names = [f"{split}.{name}" for split in ("val", "test") for name in _ACCURACIES]
    return [name for name in (*names, SLOPE) if all(run.get(name) is not None for run in runs)]


def _short(value: float) -> float:
    """Six digits: a mean is no setting that must come back exactly."""
    return float(f"{value:.6g}")


def _sampling_errors(data: StudyData, candidate: Candidate) -> dict[str, float | None]:
    """Half of the 95 % interval that the images allow; None where the classes are not known."""
    found: dict[str, float | None] = {}
    for split, rows in (("val", candidate.validation), ("test", candidate.test)):
        for name, limits in _limits(rows, data.thresholds).items():
            half = (limits.high - limits.low) / 2 if limits else None
            found[f"{split}.{name}"] = None if half is None else round(max(LEAST_TOLERANCE, half), 4)
    return found


def _limits(rows: Sequence[ClassRow], thresholds: tuple[int, int]) -> dict[str, Interval | None]:
    groups = group_recalls(rows, thresholds)
    return {"balanced_accuracy": groups["all"], **groups}
