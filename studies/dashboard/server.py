"""Optuna's dashboard on a study database, adapted to our tables.

Optuna renames a study by copying its trials and deleting it, which deletes our rows. Its dashboard also writes without
checking for a driver. So each route that writes is replaced by ours, allowed by name, or refused with a reason. A route
that a later release adds is refused.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Callable, Iterable
from functools import partial, wraps
from http import HTTPStatus
from importlib.resources import files
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from bottle import Bottle, HTTPResponse, request, response
from optuna.artifacts import FileSystemArtifactStore
from optuna.artifacts.exceptions import ArtifactNotFound
from optuna.storages import BaseStorage
from optuna_dashboard import _app, wsgi
from optuna_dashboard._serializer import serialize_frozen_study
from optuna_dashboard._storage import get_study
from optuna_dashboard.artifact._backend import list_study_artifacts, list_trial_artifacts

from studies.dashboard.guard import READS, Guard
from studies.dashboard.publish import in_title_order
from studies.errors import StudyError, StudyNotFoundError
from studies.report.spreadsheet import guarded
from studies.sql.database import Database
from studies.sql.renaming import rename_study, without_driver
from studies.sql.retries import GLANCE

Rule = tuple[str, str]  # method and path, as Bottle writes it

RENAME: Rule = ("POST", "/api/studies/<study_id:int>/rename")
DELETE: Rule = ("DELETE", "/api/studies/<study_id:int>")
_PAGE: Rule = ("GET", "/dashboard<:re:(/.*)?>")
_CSV: Rule = ("GET", "/csv/<study_id:int>")
_SCRIPT = "/static/tuner.js"

ALLOWED: frozenset[Rule] = frozenset(  # they write Optuna's rows that no driver writes and we do not read
    {
        ("PUT", "/api/studies/<study_id:int>/<trial_id:int>/note"),
        ("DELETE", "/api/artifacts/<study_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"),
        ("DELETE", "/api/artifacts/<study_id:int>/<trial_id:int>/<artifact_id:re:[0-9a-fA-F-]+>"),
    }
)
_ONLY_DRIVER = "the results of a trial are written by the study's driver alone, and cannot be changed here"
_NO_UPLOAD = (
    "files cannot be added here: those on this page are written by tuner; keep your own beside the study's folder"
)
_NOT_PREFERENTIAL = "a study of tuner is chosen by its objective, not by preferences"
_NO_MODEL = "no language model is connected to this dashboard"
REFUSED: dict[Rule, str] = {
    ("POST", "/api/studies"): "a study begins with its search space, so it cannot be made here; make one with: tuner "
    "launch --space FILE --name NAME",
    ("PUT", "/api/studies/<study_id:int>/note"): "tuner writes the note of a study anew whenever it shows the study, "
    "so your text would be lost; write it into the note of a trial",
    ("POST", "/api/trials/<trial_id:int>/tell"): _ONLY_DRIVER,
    ("POST", "/api/trials/<trial_id:int>/user-attrs"): _ONLY_DRIVER,
    ("POST", "/api/artifacts/<study_id:int>"): _NO_UPLOAD,
    ("POST", "/api/artifacts/<study_id:int>/<trial_id:int>"): _NO_UPLOAD,
    ("POST", "/api/studies/<study_id:int>/preference"): _NOT_PREFERENTIAL,
    ("POST", "/api/studies/<study_id:int>/preference/<history_id>"): _NOT_PREFERENTIAL,
    ("DELETE", "/api/studies/<study_id:int>/preference/<history_id>"): _NOT_PREFERENTIAL,
    ("PUT", "/api/studies/<study_id:int>/preference_feedback_component"): _NOT_PREFERENTIAL,
    ("POST", "/api/studies/<study_id:int>/<trial_id:int>/skip"): _NOT_PREFERENTIAL,
    ("POST", "/api/llm/trial_filter_query"): _NO_MODEL,
    ("POST", "/api/llm/generate_plotly_graph_query"): _NO_MODEL,
    ("POST", "/api/llm/re_generate_plotly_graph_query"): _NO_MODEL,
    ("POST", "/incompatible-rdb-schema"): "a driver may be using these tables: end all drivers, make a backup, then "
    "run: optuna storage upgrade --storage URL",
}
_UNKNOWN_ROUTE = "this release of tuner does not know what this changes in a study, so it is refused"


def server(
    url: str,
    *,
    port: int,
    artifacts: Path,
    hosts: Iterable[str] = (),
    check_name: Callable[[str], None] = lambda _: None,
) -> WSGIServer:
    """The dashboard, ready to serve on 127.0.0.1, under the names of `hosts` too. A context manager.

    `check_name` raises a StudyError for further names that a study cannot have. Raises OSError when the port is not
    available, StudyNotFoundError when there is no study, StorageUnavailableError.
    """
    database = Database(url, patience=GLANCE, looking=True)
    try:
        app = Guard(dashboard_app(database, artifacts=artifacts, check_name=check_name), hosts=hosts)
        served = _Server(("127.0.0.1", port), _Quiet)
    except BaseException:
        database.close()
        raise
    served.set_app(app)
    served.database = database
    return served


class _Server(WSGIServer):
    database: Database

    def server_close(self) -> None:
        """Closes the port and the database."""
        super().server_close()
        if hasattr(self, "database"):
            self.database.close()


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Logs no requests."""


def dashboard_app(database: Database, *, artifacts: Path, check_name: Callable[[str], None] = lambda _: None) -> Bottle:
    """Optuna's application with our routes in it."""
    artifacts.mkdir(parents=True, exist_ok=True)
    kept = FileSystemArtifactStore(artifacts)
    _app.get_plotly_graph_objects = in_title_order
    app = wsgi(database.storage, artifact_store=kept)
    replace_routes(app, {
        RENAME: _told(partial(_rename, database, check_name)),
        DELETE: _told(partial(_delete, database, kept)),
    })  # fmt: skip
    return app


def replace_routes(app: Bottle, ours: dict[Rule, Callable[..., object]]) -> None:
    """Replaces Optuna's routes by `ours`, and refuses every other route that writes unless it is allowed."""
    for route in app.routes:
        rule = (route.method, route.rule)
        if rule in ours:
            route.callback = ours[rule]
        elif rule in ALLOWED:
            route.callback = _with_a_body(route.callback)
        elif route.method not in READS:
            route.callback = partial(_refusal, REFUSED.get(rule, _UNKNOWN_ROUTE), api=route.rule.startswith("/api/"))
        elif rule == _PAGE:
            route.callback = partial(_page_with_script, route.callback)
        elif rule == _CSV:
            route.callback = partial(_csv, route.callback)
        else:
            continue
        route.reset()
    app.get(_SCRIPT, callback=_script)


def _refusal(reason: str, *, api: bool, **_: object) -> HTTPResponse:
    if api:
        return _json({"reason": reason}, HTTPStatus.FORBIDDEN)
    return HTTPResponse(f"{reason}\n", HTTPStatus.FORBIDDEN.value, {"Content-Type": "text/plain; charset=utf-8"})


def _json(content: object, status: HTTPStatus) -> HTTPResponse:
    return HTTPResponse(json.dumps(content), status.value, {"Content-Type": "application/json"})


def _told(deed: Callable[..., HTTPResponse]) -> Callable[..., HTTPResponse]:
    """The deed's answer, or the reason why it failed."""

    @wraps(deed)
    def view(study_id: int) -> HTTPResponse:
        try:
            return deed(study_id)
        except StudyNotFoundError as error:
            return _json({"reason": str(error)}, HTTPStatus.NOT_FOUND)
        except StudyError as error:
            return _json({"reason": str(error)}, HTTPStatus.CONFLICT)

    return view


def _rename(database: Database, check_name: Callable[[str], None], study_id: int) -> HTTPResponse:
    name = _asked().get("study_name")
    if not isinstance(name, str):
        return _json({"reason": "give the new name as study_name"}, HTTPStatus.BAD_REQUEST)
    check_name(name)
    rename_study(database, study_id, name)
    return _json(serialize_frozen_study(get_study(database.storage, study_id)), HTTPStatus.CREATED)


def _delete(database: Database, kept: FileSystemArtifactStore, study_id: int) -> HTTPResponse:
    """Deletes the rows first, then the files: an interruption leaves only unreferenced files."""
    with without_driver(database, study_id, deed="deleted"):
        offered = _artifact_ids(database.storage, study_id)
        database.storage.delete_study(study_id)
    for artifact in offered if _asked().get("remove_associated_artifacts", True) else ():
        with contextlib.suppress(ArtifactNotFound):
            kept.remove(artifact)
    return _json({}, HTTPStatus.OK)  # not 204: the page takes an empty body for a failure


def _artifact_ids(storage: BaseStorage, study_id: int) -> list[str]:
    """Ids of the files of a study and of its trials."""
    of_study = storage.get_study_system_attrs(study_id)
    trials = storage.get_all_trials(study_id, deepcopy=False)
    of_trials = [list_trial_artifacts(of_study, trial.system_attrs, trial) for trial in trials]
    return [meta["artifact_id"] for metas in (list_study_artifacts(of_study), *of_trials) for meta in metas]


def _with_a_body(view: Callable[..., object]) -> Callable[..., object]:
    """Answers an empty object instead of 204, which the page takes for a failure."""

    @wraps(view)
    def answered(**arguments: object) -> object:
        found = view(**arguments)
        if response.status_code == HTTPStatus.NO_CONTENT:
            response.status = HTTPStatus.OK.value
        return found

    return answered


def _page_with_script(view: Callable[..., HTTPResponse], *arguments: object, **named: object) -> HTTPResponse:
    """Optuna's page with our script, which shows the reason of a refusal."""
    for condition in ("HTTP_IF_MODIFIED_SINCE", "HTTP_IF_NONE_MATCH", "HTTP_RANGE"):  # of the file without our script
        request.environ.pop(condition, None)
    found = view(*arguments, **named)
    if request.method != "GET":
        return found
    with found.body as file:
        page: bytes = file.read().replace(b"<head>", f'<head><script src="{_SCRIPT}"></script>'.encode(), 1)
    kept = {name: found.headers[name] for name in ("Content-Type", "Content-Security-Policy") if name in found.headers}
    return HTTPResponse(page, found.status_code, {**kept, "Cache-Control": "no-store"})


def _script() -> HTTPResponse:
    text = (files("studies.dashboard") / "assets" / "dashboard.js").read_text("utf-8")
    return HTTPResponse(text, HTTPStatus.OK.value, {"Content-Type": "text/javascript; charset=utf-8"})


def _csv(view: Callable[..., object], **named: object) -> object:
    """Optuna's table of trials, without cells that a spreadsheet would run as formulas."""
    found = view(**named)
    if not isinstance(found, str):
        return found
    cells = io.StringIO()
    csv.writer(cells).writerows([guarded(cell) for cell in row] for row in csv.reader(io.StringIO(found)))
    return cells.getvalue()


def _asked() -> dict[str, Any]:
    found = request.json
    return found if isinstance(found, dict) else {}
