"""The tables of a report that belong to the study and to no figure."""

from __future__ import annotations

from optuna.distributions import BaseDistribution

from studies.figures.figure import Table
from studies.provenance import code_version, library_versions
from studies.records import Scalar
from studies.study_data import StudyData


def study_tables(data: StudyData) -> dict[str, Table]:
    """By name, which is also that of the CSV file."""
    return {
        "trials": _trials(data),
        "readings": _readings(data),
        "posthoc": _posthoc(data),
        "failures": _failures(data),
        "configuration": _configuration(data),
        "provenance": _provenance(data),
    }


def _trials(data: StudyData) -> Table:
    metrics = list(dict.fromkeys(name for row in data.complete for name in row.metrics))
    columns = ("number", "state", "role", "backbone", "round", "value", "seconds", *data.varying, *metrics)
    rows = []
    for row in sorted(data.trials, key=lambda row: row.number):
        settings = (row.config.get(name) for name in data.varying)
        measured = (row.metrics.get(name) for name in metrics)
        own = (row.number, row.state, row.role, row.backbone_index, row.round, row.value, row.seconds)
        rows.append((*own, *settings, *measured))
    return Table(columns, tuple(rows))


def _readings(data: StudyData) -> Table:
    metrics = list(dict.fromkeys(name for row in data.readings for name in row.metrics))
    rows = tuple(
        (row.role, row.number, row.backbone, row.temperature, *(row.metrics.get(name) for name in metrics))
        for row in data.readings
    )
    return Table(("role", "trial", "backbone", "temperature", *metrics), rows)


def _posthoc(data: StudyData) -> Table:
    metrics = list(dict.fromkeys(name for row in data.posthoc for name in row.metrics))
    rows = tuple(
        (
            row.backbone,
            row.config.get("stage2.method"),
            row.config.get("stage2.tau"),
            *(row.metrics.get(name) for name in metrics),
        )
        for row in data.posthoc
    )
    return Table(("backbone", "stage2.method", "stage2.tau", *metrics), rows)


def _failures(data: StudyData) -> Table:
    rows = tuple(
        (row.number, row.role, row.backbone_index, row.reason or "no reason was recorded")
        for row in sorted(data.trials, key=lambda row: row.number)
        if row.state == "FAIL"
    )
    return Table(("trial", "role", "backbone", "reason"), rows)


def _configuration(data: StudyData) -> Table:
    searched = data.space.searched
    best = data.best.config if data.best else {}
    rows = tuple((name, value, _domain(searched.get(name))) for name, value in best.items())
    return Table(("setting", "value", "searched"), rows)


def _domain(distribution: BaseDistribution | None) -> str:
    if distribution is None:
        return ""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return "one of " + ", ".join(map(str, choices))
    scale = ", logarithmic" if getattr(distribution, "log", False) else ""
    return f"{getattr(distribution, 'low', None):g} to {getattr(distribution, 'high', None):g}{scale}"


def _provenance(data: StudyData) -> Table:
    best = data.best
    rows: dict[str, Scalar] = {
        "study": data.study.name,
        "space_sha256": data.study.space_sha256,
        "data_fingerprint": data.study.data_fingerprint,
        "backbone of best": best.backbone if best else None,
        **{f"code: {name}": value for name, value in code_version().items()},
        **{f"report made with: {name}": value for name, value in library_versions().items()},
    }
    return Table(("what", "value"), tuple(rows.items()))
