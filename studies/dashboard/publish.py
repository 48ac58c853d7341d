"""Puts a few figures and a note on the study's page in Optuna's dashboard.

The dashboard sends all figures with every view of the study, so they are few and small, with thinned trials. Ids hold
no colon, because the dashboard cannot show a page with one. Titles are numbered, because a dashboard without our
routes shows figures in any order.
"""

from __future__ import annotations

import dataclasses
import json
import mimetypes
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.figures.figure import Absent
from studies.findings.cautions import cautions, remarks
from studies.findings.headline import Headline, headline
from studies.report.markdown import escape
from studies.report.redaction import redacted_study
from studies.study_data import RUNG, SEARCH_ROLES, StudyData
from studies.wording import count, gain_limits, limits, listed, mean_and_deviation, per_cent, points, role_label

if TYPE_CHECKING:
    import optuna
    import plotly.graph_objects as go

    from studies.store import Store

DASHBOARD_FIGURES: dict[str, str] = {  # figure -> title, short because the toolbar is beside it
    "groups": "1. Rare and common classes",
    "accuracy_vs_balance": "2. Accuracy against balance",
    "class_accuracy": "3. Each class by its size",
    "classifier_norms": "4. Classifier norms by class size",
}
_HEIGHT = 450  # the dashboard cuts off the rest
_BUTTONS = ["zoom2d", "pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]
_MOST_TRIALS = 150  # per figure: about 30 kB


def publish(store: Store, data: StudyData) -> list[str]:
    """Saves figures and a note with the study, replacing earlier ones. Returns the ids of the figures."""
    from optuna_dashboard import save_note, save_plotly_graph_object  # noqa: PLC0415  (slow, not always needed)

    from studies.figures import FIGURES  # noqa: PLC0415  (plotly)

    study, data = store.optuna_study(), redacted_study(data)
    few = thinned_study(data, trials=_MOST_TRIALS)
    saved = []
    for name, title in DASHBOARD_FIGURES.items():
        figure = FIGURES[name]
        info = figure.info(few)
        if not isinstance(info, Absent):
            drawn = _fitted(figure.draw(info), title)
            saved.append(save_plotly_graph_object(study, drawn, graph_object_id=name))
    save_note(study, note(data))
    return saved


def _fitted(drawn: go.Figure, title: str) -> go.Figure:
    """Fits a figure to a card half as wide as a report: title at the top, legend under the axes, no buttons."""
    place = {"yref": "container", "y": 0.98, "yanchor": "top", "x": 0.01, "font": {"size": 15}}
    drawn.update_layout(title={"text": title, **place}, height=_HEIGHT, margin={"t": 48, "b": 40})
    drawn.layout.updatemenus = ()
    drawn.update_layout(modebar={"remove": _BUTTONS}, font={"size": 12})
    drawn.update_layout(legend={"yref": "container", "y": 0, "yanchor": "bottom", "font": {"size": 11}})
    return drawn


def attach(store: Store, files: Iterable[Path], artifacts: Path) -> dict[str, str]:
    """Offers files for download on the study's page, each replacing the earlier one of the same name.

    Returns their ids. A file keeps its id, so that nothing piles up in the folder or the database. Ids are random,
    because anyone who guesses one can download the file.
    """
    from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore  # noqa: PLC0415  (slow, as above)

    study = store.optuna_study()
    artifacts.mkdir(parents=True, exist_ok=True)
    kept = FileSystemArtifactStore(artifacts)
    known, ids = _offered(study), {}
    for file in files:
        ids[file.name] = known.get(file.name) or str(uuid.uuid4())
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        meta = ArtifactMeta(artifact_id=ids[file.name], filename=file.name, mimetype=kind, encoding=None)
        with file.open("rb") as content:
            kept.write(ids[file.name], content)
        key, value = f"artifacts:{ids[file.name]}", json.dumps(dataclasses.asdict(meta))
        study._storage.set_study_system_attr(study._study_id, key, value)  # as optuna.artifacts.upload_artifact does
    return ids


def _offered(study: optuna.Study) -> dict[str, str]:
    """File name to id of the files already offered; the dashboard leaves null for a removed one."""
    attributes = study._storage.get_study_system_attrs(study._study_id)
    found = [json.loads(value) for key, value in attributes.items() if key.startswith("artifacts:")]
    return {meta["filename"]: meta["artifact_id"] for meta in found if meta is not None}


def in_title_order(attributes: dict[str, Any]) -> dict[str, str]:
    """The figures of a study in the order of their titles; the dashboard itself has no fixed order."""
    from optuna_dashboard._custom_plot_data import get_plotly_graph_objects  # noqa: PLC0415

    found: dict[str, str] = get_plotly_graph_objects(attributes)
    ours = list(DASHBOARD_FIGURES)
    return dict(sorted(found.items(), key=lambda item: (ours.index(item[0]) if item[0] in ours else len(ours), item)))


def thinned_study(data: StudyData, *, trials: int) -> StudyData:
    """The study with about `trials` trials at most: half are the best, the rest are spread over the search."""
    searched = data.searched
    if len(searched) <= trials:
        return data
    ranked = sorted(searched, key=lambda row: (-(row.value or 0.0), row.number))
    best, rest = ranked[: trials // 2], sorted(ranked[trials // 2 :], key=lambda row: row.number)
    spread = rest[:: -(-len(rest) // (trials - trials // 2))]
    kept = {row.number for row in (*best, *spread, *(one.trial for one in data.confirmed))}
    return replace(
        data, trials=tuple(row for row in data.trials if row.role not in (*SEARCH_ROLES, RUNG) or row.number in kept)
    )


def note(data: StudyData) -> str:
    """The headline as Markdown, without the study's name, which the page shows."""
    line = headline(data)
    lines = [_choice_line(line), "", *_table(line)]
    lines += ["", *(f"- {escape(line)}" for line in (*cautions(data), *remarks(data)))]
    return "\n".join(lines).rstrip() + "\n"


def _choice_line(line: Headline) -> str:
    if line.trial is None:
        return "No trial of the search has finished yet."
    if line.confirmed is not None:
        one = line.confirmed
        return (
            f"Trial **{line.trial}** was chosen on validation by its mean over seeds "
            f"{listed([str(seed) for seed in one.seeds])}: {escape(line.objective)} "
            f"**{mean_and_deviation(*one.objective)}**, among {count(len(line.rivals) + 1, 'configuration')} with "
            f"several seeds. Its run in the search had {per_cent(one.single)}."
        )
    ties = f", which {line.tied:,} trials share" if line.tied > 1 else ""
    return (
        f"Trial **{line.trial}** was chosen on validation: {escape(line.objective)} **{per_cent(line.value)}**{ties}."
    )


def _table(line: Headline) -> list[str]:
    if line.accuracy is None:
        return ["Test data has not been read yet."] if line.trial is not None else []
    rows = ["| on test | balanced accuracy | gain of best, points (95 % interval) |", "|---|---|---|"]
    low, high = line.accuracy.low, line.accuracy.high
    rows.append(f"| best | {per_cent(line.accuracy.value)} ({limits(low, high)}) | |")
    over = line.fresh.of("test.balanced_accuracy") if line.fresh else None
    if line.fresh is not None and over is not None:
        seeds = listed([str(seed) for seed in line.fresh.seeds])
        rows.append(f"| the same, fresh seeds {seeds} | {mean_and_deviation(*over)} over seeds | |")
    for other in (line.naive, line.baseline):
        if other is not None:
            gain = f"{points(other.gain.value)} ({gain_limits(other.gain.low, other.gain.high)})"
            rows.append(f"| {escape(role_label(other.role))} | {per_cent(other.accuracy.value)} | {gain} |")
    return rows
