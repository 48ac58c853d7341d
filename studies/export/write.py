"""The writer of best.yaml: a runnable configuration, its expected result, its provenance.

`tuner train` reads it (studies/export/read.py). Only `task`, `stage1` and `stage2` are run; a run is compared with
`expect`; `provenance` says how the configuration was found. Floats are written exactly.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

from search_spaces.canonical import dump
from search_spaces.problems import printable
from studies.export.candidates import Candidate, baseline_candidate, trial_candidate
from studies.export.data_path import portable_value
from studies.export.expect import FRESH_SEEDS, STUDY_RUN, expected
from studies.export.provenance import code_version, library_versions
from studies.export.read import BLOCKS, FORMAT_VERSION, KIND, Expectation, ExportedConfig, ExportError, load_config
from studies.findings.headline import ranked_choices
from studies.records import BackboneRow
from studies.report.redaction import without_folders
from studies.study_data import StudyData
from trainers.config import as_plain

__all__ = ["Expectation", "ExportError", "ExportedConfig", "dump_config", "export_config", "load_config"]


def export_config(
    data: StudyData, *, number: int | None = None, baseline: str | None = None, folder: Path | None = None
) -> dict[str, Any]:
    """The chosen trial, trial `number`, or a baseline by its role, as the tree of best.yaml.

    `folder` is that of the file: `task.data` is written relative to it if possible. The same data gives the same
    tree. Raises ExportError when there is no such trial or baseline.
    """
    candidate = trial_candidate(data, number) if baseline is None else baseline_candidate(data, baseline)
    blocks: dict[str, dict[str, Any]] = {name: {} for name in BLOCKS}
    for key, value in candidate.config.items():
        part, _, name = key.partition(".")
        blocks[part][name] = as_plain(key, portable_value(key, value, folder=folder))
    expect, origin = expected(data, candidate)
    return {
        "kind": KIND,
        "version": FORMAT_VERSION,
        **blocks,
        "expect": expect,
        "provenance": {**_provenance(data, candidate), "expect": origin},
    }


def _provenance(data: StudyData, candidate: Candidate) -> dict[str, Any]:
    states = Counter(row.state for row in data.trials)
    backbone = data.backbone_by_fingerprint.get(candidate.backbone or "")
    return {
        "study": data.study.name,
        "trial": candidate.number,
        **({"baseline": candidate.baseline} if candidate.baseline else {}),
        "selected_by": {
            "rule": candidate.rule,
            "metric": data.study.objective,
            **({"objectives": list(data.study.objectives)} if len(data.study.objectives) > 1 else {}),
            "split": _split(candidate),
            "among": candidate.among,
            "complete": states["COMPLETE"],
            "pruned": states["PRUNED"],
            "failed": states["FAIL"],
        },
        **_over_seeds(data, candidate),
        "space_sha256": data.study.space_sha256,
        **({"drawn_from": _drawn_from(data, candidate)} if data.grew else {}),
        "dataset": {
            "name": candidate.config.get("task.dataset"),
            "fingerprint": data.study.data_fingerprint,
            "classes": len(data.study.train_counts),
            "training_images": sum(data.study.train_counts),
            **({"notes": _data_notes(data)} if data.study.notes else {}),
        },
        "backbone": candidate.backbone,
        "temperature": candidate.temperature,
        "hardware": _hardware(backbone) if backbone else {},
        "code": code_version(),
        "versions": library_versions(),
        "created": data.ended.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }


def _data_notes(data: StudyData) -> list[str]:
    """What is to be known of the data, such as images that were left out; without folders of this machine."""
    where = {str(row.config["task.data"]) for row in data.backbones if row.config.get("task.data")}
    return [without_folders(note, where) for note in data.study.notes]


def _drawn_from(data: StudyData, candidate: Candidate) -> dict[str, Any]:
    """The space of the trial, in a study that grew; that of its backbone's first trial for a baseline."""
    drawn = [
        row.space
        for row in data.trials
        if row.backbone == candidate.backbone and candidate.number in (None, row.number)
    ]
    row = data.spaces[min(drawn, default=1) - 1]
    return {
        "space": row.number,
        "of": len(data.spaces),
        "from_trial": row.first_trial,
        "sha256": row.space_sha256,
    }


def _split(candidate: Candidate) -> str:
    return "test (leaks)" if candidate.config.get("task.protocol") == "paper_leak" else "val"


def _over_seeds(data: StudyData, candidate: Candidate) -> dict[str, Any]:
    """The objective over the runs of the configuration on validation, and its run of the search alone."""
    one = next((one for one in ranked_choices(data) if one.trial == candidate.number), None)
    if one is None:
        return {}
    known = {"mean": one.objective.mean, "deviation": one.objective.deviation, "seeds": list(one.seeds)}
    return {"over_seeds": {"split": _split(candidate), **known, "failed": one.failed, "run_of_the_search": one.single}}


def _hardware(backbone: BackboneRow) -> dict[str, Any]:
    return {
        "device": backbone.device,
        "precision": backbone.precision,
        "threads": backbone.threads,
        "parameters": backbone.parameters,
    }


_EXPECT = {
    FRESH_SEEDS: "What a run should give, as fractions: the mean over fresh seeds {seeds}. A tolerance is twice their\n"
    "# deviation plus half of the 95 % interval that the images of each class allow, and lets the study's run pass.\n"
    "# A value without one is shown, not checked.",
    STUDY_RUN: "What this run gave in the study, as fractions; on val a chosen run is a little lucky. A tolerance is\n"
    "# the sampling error alone, half of a 95 % interval from the images of each class: another seed may lie outside.\n"
    "# For tolerances from fresh seeds of the chosen trial: tuner resume {study} --set budget.fresh_seeds=3\n"
    "# A value without a tolerance is shown, not checked.",
}
_COMMENTS = {
    "kind": "Run it again: tuner train {file}",
    "task": "What is run: these three blocks, nothing else.",
    "provenance": "Where it came from. The fingerprint is checked against the data before training.",
}


def _word(text: str) -> str:
    """A name quoted for a shell, without line breaks, which would end the comment around it."""
    return printable(shlex.quote(text))


def dump_config(config: Mapping[str, Any], *, file: str = "best.yaml") -> str:
    """The tree as YAML 1.2 with comments; `load_config` reads the same values back."""
    provenance, parts = config["provenance"], []
    origin = provenance["expect"]
    named = {"study": _word(provenance["study"]), "seeds": ", ".join(map(str, origin["seeds"])), "file": _word(file)}
    comments = {key: text.format(**named) for key, text in {**_COMMENTS, "expect": _EXPECT[origin["from"]]}.items()}
    for key, value in config.items():
        comment = f"# {comments[key]}\n" if key in comments else ""
        parts.append(comment + dump({key: value}))
    return "".join(
        part if part.startswith(("version", "stage")) or i == 0 else "\n" + part for i, part in enumerate(parts)
    )
