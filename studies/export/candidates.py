"""What can be exported: a trial of the study, or a baseline with a test reading."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from studies.export.read import ExportError
from studies.records import ClassRow, ReadingRow, StoredMetrics, TrialRow
from studies.study_data import StudyData
from trainers.config import Scalar

BEST_RULE = "highest objective; of equals the most balanced norms"
FRONT_RULE = "of the Pareto front by all objectives, highest first one; of equals the most balanced norms"
CONFIRMED_RULE = "highest mean objective over seeds; of equals the most balanced norms"
NUMBER_RULE = "named by its number"
NAIVE_RULE = "not selected: no weight decay, other searched settings in the middle of their ranges"
BASELINE_RULE = "the best of its method on the search's backbones"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration to export, its measures, and the rule that selected it."""

    rule: str
    config: Mapping[str, Scalar]
    metrics: StoredMetrics  # on validation, and on test if it was read
    among: int  # candidates that the rule chose from
    number: int | None  # of its trial; None for a post-hoc classifier
    backbone: str | None
    temperature: float | None
    baseline: str | None = None
    validation: tuple[ClassRow, ...] = ()  # empty if unknown
    test: tuple[ClassRow, ...] = ()


def trial_candidate(data: StudyData, number: int | None = None) -> Candidate:
    """The chosen trial, or trial `number`. Raises ExportError if it is missing or not COMPLETE."""
    trial = _named(data, number) if number is not None else data.best
    if trial is None:
        raise ExportError(
            f"study {data.study.name!r} has no finished trial to export; let it run until one is COMPLETE"
        )
    reading = next((row for row in reversed(data.readings) if row.number == trial.number), None)
    if number is None and data.best_confirmed is not None:
        return _of_trial(data, trial, reading, CONFIRMED_RULE, among=len(data.confirmed))
    best_rule = BEST_RULE if len(data.study.objectives) == 1 else FRONT_RULE
    rule = best_rule if number is None else NUMBER_RULE
    return _of_trial(data, trial, reading, rule, among=len(data.searched))


def baseline_candidate(data: StudyData, role: str) -> Candidate:
    """The baseline with a test reading under `role`. Raises ExportError with the existing ones."""
    reading = data.reading(role) if role != "best" else None
    if reading is None:
        known = [row.role for row in data.readings if row.role != "best"]
        there = f"it has {', '.join(known)}" if known else "baselines are read when the search ends"
        raise ExportError(f"study {data.study.name!r} has no reading of a baseline {role!r}; {there}")
    trial = data.trial_by_number.get(reading.number) if reading.number is not None else None
    if trial is not None:
        return _of_trial(data, trial, reading, NAIVE_RULE, among=1, baseline=role)
    return Candidate(
        rule=BASELINE_RULE,
        among=_of_its_method(data, reading),
        config=reading.config,
        metrics=reading.metrics,
        number=None,
        backbone=reading.backbone,
        temperature=reading.temperature,
        baseline=role,
        test=reading.classes,
    )


def _named(data: StudyData, number: int) -> TrialRow:
    trial = data.trial_by_number.get(number)
    if trial is None:
        raise ExportError(
            f"study {data.study.name!r} has no trial {number}; its numbers are 0 to {len(data.trials) - 1}"
        )
    if trial.state != "COMPLETE":
        raise ExportError(f"trial {number} is {trial.state}; only a COMPLETE trial can be exported")
    return trial


def _of_its_method(data: StudyData, reading: ReadingRow) -> int:
    searched = {row.fingerprint for row in data.backbones if row.kind == "search"}
    method = reading.config.get("stage2.method")
    return sum(row.backbone in searched and row.config.get("stage2.method") == method for row in data.posthoc)


def _of_trial(
    data: StudyData, trial: TrialRow, reading: ReadingRow | None, rule: str, *, among: int, baseline: str | None = None
) -> Candidate:
    tests = {name: value for name, value in (reading.metrics if reading else {}).items() if name.startswith("test.")}
    return Candidate(
        rule=rule,
        among=among,
        config=trial.config,
        metrics={**trial.metrics, **tests},
        number=trial.number,
        backbone=trial.backbone,
        temperature=trial.temperature,
        baseline=baseline,
        validation=tuple(row for row in data.classes.get(trial.number, ()) if row.split == "val"),
        test=reading.classes if reading else (),
    )
