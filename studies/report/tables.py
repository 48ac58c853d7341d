"""The tables of a report that belong to no figure."""

from __future__ import annotations

from collections import Counter

from search_spaces.geometry import in_words
from studies.applicable import applicable
from studies.confirmed import CONFIRM, SEEDS
from studies.export.provenance import code_version, library_versions
from studies.figures.figure import Table
from studies.figures.settings import values_of
from studies.findings.failures import UNKNOWN, failures
from studies.findings.headline import ranked_choices
from studies.study_data import StudyData
from studies.wording import spans
from trainers.config import Scalar


def study_tables(data: StudyData) -> dict[str, Table]:
    """The tables by name, which is also the CSV file's."""
    return {
        "trials": _trials_table(data),
        "readings": _readings_table(data),
        **({"confirmed": confirmed_table(data)} if data.confirmed else {}),
        "posthoc": _posthoc_table(data),
        "failures": _failures_table(data),
        "failed_jobs": _failed_jobs_table(data),
        "configuration": _configuration_table(data),
        "provenance": _provenance_table(data),
        **({"spaces": _spaces_table(data)} if data.grew else {}),
    }


def _trials_table(data: StudyData) -> Table:
    metrics = list(dict.fromkeys(name for row in data.complete for name in row.metrics))
    seeds = SEEDS if any(row.role == CONFIRM for row in data.trials) else ()
    names = dict.fromkeys((*data.varying, *seeds))
    fixed = ("number", "state", "role", "backbone", "round", "value", "seconds", "precision")
    columns = (*fixed, *(("space",) if data.grew else ()), *names, *metrics)
    rows = []
    for row in sorted(data.trials, key=lambda row: row.number):
        settings = values_of(row.config, tuple(names))
        measured = (row.metrics.get(name) for name in metrics)
        own = (row.number, row.state, row.role, row.backbone_index, row.round, row.value, row.seconds, row.precision)
        rows.append((*own, *((row.space,) if data.grew else ()), *settings, *measured))
    return Table(columns, tuple(rows))


def confirmed_table(data: StudyData) -> Table:
    """The configurations that the choice was among, by their means over seeds, the highest first."""
    columns = ("trial", "backbone", "run of the search", "mean", "deviation", "runs", "seeds", "failed")
    return Table(
        columns,
        tuple(
            (
                one.trial, data.trial_by_number[one.trial].backbone_index, one.single, *one.objective,
                len(one.seeds), " ".join(map(str, one.seeds)), one.failed,
            )
            for one in ranked_choices(data)
        ),
    )  # fmt: skip


def _readings_table(data: StudyData) -> Table:
    """The chosen trial, its fresh seeds by seed, then baselines in the order of the space."""
    best = [row for row in data.readings if row.role == "best"]
    others = [row for row in data.readings if row.role != "best"]
    rows = [*best, *data.fresh, *others]
    metrics = list(dict.fromkeys(name for row in rows for name in row.metrics))
    names = list(dict.fromkeys(name for row in rows for name in applicable(row.config) if not name.startswith("task.")))
    columns = ("role", "trial", "backbone", "precision", "temperature", *names, *metrics)
    return Table(
        columns,
        tuple(
            (
                row.role,
                row.number,
                row.backbone,
                row.precision,
                row.temperature,
                *values_of(row.config, names),
                *(row.metrics.get(name) for name in metrics),
            )
            for row in rows
        ),
    )


def _posthoc_table(data: StudyData) -> Table:
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


def _failures_table(data: StudyData) -> Table:
    rows = tuple(
        (row.number, row.role, row.backbone_index, row.reason or UNKNOWN)
        for row in sorted(data.trials, key=lambda row: row.number)
        if row.state == "FAIL"
    )
    return Table(("trial", "role", "backbone", "reason"), rows)


def _failed_jobs_table(data: StudyData) -> Table:
    rows = tuple(
        (spans(list(one.numbers)), len(one.numbers), one.role, one.backbone, one.reason) for one in failures(data)
    )
    return Table(("trials", "how many", "role", "backbone", "reason"), rows)


def _configuration_table(data: StudyData) -> Table:
    """Settings, searched ones first, without those that did not affect the result."""
    searched = data.space.searched
    config = applicable(data.best.config) if data.best else {}
    ordered = sorted(config, key=lambda name: name not in searched)
    domains = {name: in_words(distribution) for name, distribution in searched.items()}
    rows = tuple((name, config[name], domains.get(name, "")) for name in ordered)
    return Table(("setting", "value", "searched"), rows)


def _spaces_table(data: StudyData) -> Table:
    """The spaces that the study has had, with the trials drawn from each."""
    drawn = Counter(row.space for row in data.trials)
    rows = tuple(
        (row.number, row.first_trial, drawn[row.number], f"{row.since:%Y-%m-%d %H:%M}", "; ".join(row.grew),
         row.space_sha256)
        for row in data.spaces
    )  # fmt: skip
    return Table(("space", "from trial", "trials", "since (UTC)", "wider than the one before", "sha256"), rows)


def _provenance_table(data: StudyData) -> Table:
    best = data.best
    backbone = data.backbone_by_fingerprint.get(best.backbone or "") if best else None
    rows: dict[str, Scalar] = {
        "study": data.study.name,
        "space_sha256": data.study.space_sha256,
        **({"space of best": best.space if best else None} if data.grew else {}),
        "data_fingerprint": data.study.data_fingerprint,
        "backbone of best": best.backbone if best else None,
        "device of best": backbone.device if backbone else None,
        "precision of best": backbone.precision if backbone else None,
        **{f"code: {name}": value for name, value in code_version().items()},
        **{f"report made with: {name}": value for name, value in library_versions().items()},
    }
    return Table(("what", "value"), tuple(rows.items()))
