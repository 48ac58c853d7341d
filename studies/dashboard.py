"""A few figures and a note on the study's page in Optuna's dashboard.

Figures travel with every look at the study, so they are few and small: the trials in them are thinned. Ids hold no
colon, for the dashboard cannot show a page with one; titles are numbered, for it shows figures in any order.
"""

from __future__ import annotations

import dataclasses
import json
import mimetypes
import uuid
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from studies.figures.figure import Absent
from studies.figures.style import per_cent, points, role_label
from studies.headline import Headline, cautions, headline, remarks
from studies.study_data import SEARCH_ROLES, StudyData
from studies.urls import for_optuna

if TYPE_CHECKING:
    from studies.store import Store

SHOWN = ("groups", "accuracy_vs_balance", "class_accuracy", "classifier_norms")
_HEIGHT = 450  # what the dashboard has room for; it cuts off the rest
_BUTTONS = ["zoom2d", "pan2d", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"]
_TRIALS = 150  # in a figure: about 30 kB
_ARTIFACTS = uuid.UUID("6f0c2b6e-53b6-4a53-9d9c-5a1a7e1d9c42")  # the namespace of our artifacts' ids


def publish(store: Store, data: StudyData) -> list[str]:
    """Saves figures and a note with the study, over those saved before. Returns the ids of the figures."""
    from optuna_dashboard import save_note, save_plotly_graph_object  # noqa: PLC0415  (slow, and not always wanted)

    from studies.figures import FIGURES  # noqa: PLC0415  (plotly)

    study = store.optuna_study()
    few = thinned(data, trials=_TRIALS)
    saved = []
    for number, name in enumerate(SHOWN, start=1):
        figure = FIGURES[name]
        info = figure.info(few)
        if not isinstance(info, Absent):
            drawn = figure.draw(info)
            title = {
                "text": f"{number}. {figure.title}",
                "yref": "container",
                "y": 0.99,
                "x": 0.01,
                "font": {"size": 15},
            }
            drawn.update_layout(title=title, height=_HEIGHT, margin={"t": 100, "b": 50})
            drawn.update_layout(modebar={"remove": _BUTTONS})  # they would lie over the title
            drawn.update_layout(legend={"yref": "paper", "y": 1.02, "yanchor": "bottom"})
            saved.append(save_plotly_graph_object(study, drawn, graph_object_id=name))
    save_note(study, note(data))
    return saved


def attach(store: Store, files: Iterable[Path], artifacts: Path) -> dict[str, str]:
    """Offers files for download on the study's page, each in place of the one of that name that was offered before.

    Returns their ids. An id belongs to study and file name, so that nothing piles up in the folder or the database.
    """
    from optuna.artifacts import ArtifactMeta, FileSystemArtifactStore  # noqa: PLC0415  (slow, as above)

    study = store.optuna_study()
    artifacts.mkdir(parents=True, exist_ok=True)
    kept = FileSystemArtifactStore(artifacts)
    ids = {}
    for file in files:
        ids[file.name] = str(uuid.uuid5(_ARTIFACTS, f"{study.study_name}/{file.name}"))
        kind = mimetypes.guess_type(file.name)[0] or "text/plain"
        meta = ArtifactMeta(artifact_id=ids[file.name], filename=file.name, mimetype=kind, encoding=None)
        with file.open("rb") as content:
            kept.write(ids[file.name], content)
        key, value = f"artifacts:{ids[file.name]}", json.dumps(dataclasses.asdict(meta))
        study._storage.set_study_system_attr(study._study_id, key, value)  # as optuna.artifacts.upload_artifact does
    return ids


def server(url: str, *, port: int, artifacts: Path) -> WSGIServer:
    """Optuna's dashboard on the database, ready to serve; on 127.0.0.1 alone, for it knows no login.

    A context manager. Raises OSError when the port cannot be had.
    """
    from optuna.artifacts import FileSystemArtifactStore  # noqa: PLC0415
    from optuna_dashboard import wsgi  # noqa: PLC0415

    artifacts.mkdir(parents=True, exist_ok=True)
    app = wsgi(for_optuna(url), artifact_store=FileSystemArtifactStore(artifacts))
    return make_server("127.0.0.1", port, app, handler_class=_Quiet)


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """No line a request."""


def thinned(data: StudyData, *, trials: int) -> StudyData:
    """The same study with at most about so many trials: the best half of them, the rest spread over the search."""
    searched = data.searched
    if len(searched) <= trials:
        return data
    ranked = sorted(searched, key=lambda row: (-(row.value or 0.0), row.number))
    best, rest = ranked[: trials // 2], sorted(ranked[trials // 2 :], key=lambda row: row.number)
    spread = rest[:: -(-len(rest) // (trials - trials // 2))]
    kept = {row.number for row in (*best, *spread)}
    return replace(data, trials=tuple(row for row in data.trials if row.role not in SEARCH_ROLES or row.number in kept))


def note(data: StudyData) -> str:
    """The headline as Markdown."""
    line = headline(data)
    lines = [f"## {data.study.name}", "", _story(line), "", *_table(line)]
    lines += ["", *(f"- {line}" for line in (*cautions(data), *remarks(data)))]
    return "\n".join(lines).rstrip() + "\n"


def _story(line: Headline) -> str:
    if line.trial is None:
        return "No trial of the search has finished yet."
    return f"Trial **{line.trial}** was chosen on validation: {line.objective} **{per_cent(line.value)}**."


def _table(line: Headline) -> list[str]:
    if line.accuracy is None:
        return ["Test data has not been read yet."] if line.trial is not None else []
    rows = ["| on test | balanced accuracy | gain of best, points |", "|---|---|---|"]
    rows.append(f"| best | {per_cent(line.accuracy.value)} | |")
    for other in (line.naive, line.baseline):
        if other is not None:
            rows.append(f"| {role_label(other.role)} | {per_cent(other.accuracy.value)} | {points(other.gain.value)} |")
    return rows
