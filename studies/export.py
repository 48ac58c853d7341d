"""best.yaml, written: one configuration that runs as it is, what to expect of it, and where it came from.

`tuner train` reads it (studies/exported.py). Only `task`, `stage1` and `stage2` are run; `expect` is what a run is
compared with, `provenance` says how the configuration was found. Floats are written exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from search_spaces.canonical import dump
from studies.exported import BLOCKS, KIND, VERSION, Expectation, ExportedConfig, ExportError, load_config
from studies.intervals import Interval, group_recalls
from studies.provenance import code_version, library_versions
from studies.records import ClassRow, ReadingRow, Scalar, TrialRow
from studies.study_data import StudyData

__all__ = ["Expectation", "ExportError", "ExportedConfig", "dump_config", "export_config", "load_config"]

_EXPECTED = ("balanced_accuracy", "many", "medium", "few")
_LEAST_TOLERANCE = 0.01  # of an accuracy: what other hardware may move even with the same seed


def export_config(data: StudyData, *, number: int | None = None, created: datetime | None = None) -> dict[str, Any]:
    """The chosen trial, or trial `number`, as the tree that best.yaml holds. Raises ExportError when there is none."""
    trial = _chosen(data, number)
    blocks: dict[str, dict[str, Scalar]] = {name: {} for name in BLOCKS}
    for key, value in trial.config.items():
        part, _, name = key.partition(".")
        blocks[part][name] = value
    return {
        "kind": KIND,
        "version": VERSION,
        **blocks,
        "expect": _expect(data, trial),
        "provenance": _provenance(data, trial, created or datetime.now(UTC), named=number is not None),
    }


def _chosen(data: StudyData, number: int | None) -> TrialRow:
    if number is None:
        if data.best is None:
            raise ExportError(
                f"study {data.study.name!r} has no finished trial to export; let it run until one is COMPLETE"
            )
        return data.best
    trial = data.trial_by_number.get(number)
    if trial is None:
        raise ExportError(
            f"study {data.study.name!r} has no trial {number}; its numbers are 0 to {len(data.trials) - 1}"
        )
    if trial.state != "COMPLETE":
        raise ExportError(f"trial {number} is {trial.state}; only a COMPLETE trial can be exported")
    return trial


def _expect(data: StudyData, trial: TrialRow) -> dict[str, dict[str, float | None]]:
    """Validation and, where it was read, test accuracies with tolerances; the balance of the norms without one."""
    found: dict[str, dict[str, float | None]] = {}
    reading = _reading_of(data, trial)
    validation = [row for row in data.classes.get(trial.number, ()) if row.split == "val"]
    for split, metrics, rows in (
        ("val", trial.metrics, validation),
        ("test", reading.metrics if reading else {}, reading.classes if reading else ()),
    ):
        limits = _limits(rows, data.thresholds)
        for name in _EXPECTED:
            value = metrics.get(f"{split}.{name}")
            if value is not None:
                found[f"{split}.{name}"] = {"value": value, "tolerance": _tolerance(limits.get(name))}
    slope = trial.metrics.get("norm.slope")
    return found if slope is None else {**found, "norm.slope": {"value": slope, "tolerance": None}}


def _reading_of(data: StudyData, trial: TrialRow) -> ReadingRow | None:
    return next((row for row in reversed(data.readings) if row.number == trial.number), None)


def _limits(rows: Sequence[ClassRow], thresholds: tuple[int, int]) -> dict[str, Interval | None]:
    groups = group_recalls(rows, thresholds)
    return {"balanced_accuracy": groups["all"], **groups}


def _tolerance(limits: Interval | None) -> float | None:
    """Half of the 95 % interval that the images allow; None where the classes are not known."""
    return None if limits is None else round(max(_LEAST_TOLERANCE, (limits.high - limits.low) / 2), 4)


def _provenance(data: StudyData, trial: TrialRow, created: datetime, *, named: bool) -> dict[str, Any]:
    states = Counter(row.state for row in data.trials)
    backbone = data.backbone_by_fingerprint.get(trial.backbone or "")
    return {
        "study": data.study.name,
        "trial": trial.number,
        "selected_by": {
            "rule": "named by its number" if named else "highest objective",
            "metric": data.study.objective,
            "split": "test (leaks)" if trial.config.get("task.protocol") == "paper_leak" else "val",
            "among": len(data.searched),
            "complete": states["COMPLETE"],
            "pruned": states["PRUNED"],
            "failed": states["FAIL"],
        },
        "space_sha256": data.study.space_sha256,
        "dataset": {
            "name": trial.config.get("task.dataset"),
            "fingerprint": data.study.data_fingerprint,
            "classes": len(data.study.train_counts),
            "training_images": sum(data.study.train_counts),
        },
        "backbone": trial.backbone,
        "temperature": trial.temperature,
        "hardware": {"device": backbone.device, "parameters": backbone.parameters} if backbone else {},
        "code": code_version(),
        "versions": library_versions(),
        "created": created.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


_COMMENTS = {
    "kind": "Run it again: tuner train {file}",
    "task": "What is run: these three blocks, nothing else.",
    "expect": "What the study measured, as fractions. A tolerance is half of a 95 % interval from the images of each\n"
    "# class; a value without one is shown, not checked. Values on val were selected for, so they are a little lucky.",
    "provenance": "Where it came from. The fingerprint is checked against the data before training.",
}


def dump_config(config: Mapping[str, Any], *, file: str = "best.yaml") -> str:
    """The tree as YAML 1.2 with comments; `load_config` reads the same values back."""
    parts = []
    for key, value in config.items():
        comment = f"# {_COMMENTS[key].format(file=file)}\n" if key in _COMMENTS else ""
        parts.append(comment + dump({key: value}))
    return "".join(
        part if part.startswith(("version", "stage")) or i == 0 else "\n" + part for i, part in enumerate(parts)
    )
