"""What the dashboard may change: every route that writes is ours, allowed or refused; a rename loses nothing."""

from __future__ import annotations

import http.client
import io
import json
import threading
from contextlib import ExitStack, closing, contextmanager

import optuna
import pytest
from bottle import Bottle

from search_spaces import load
from studies.dashboard.guard import READS
from studies.dashboard.publish import attach
from studies.dashboard.server import ALLOWED, DELETE, REFUSED, RENAME, dashboard_app, replace_routes, server
from studies.errors import StudyLockedError, StudyMismatchError, StudyNotFoundError
from studies.locks.study_lock import study_lock
from studies.records import Failure, FailureKind
from studies.sql.database import Database
from studies.sql.renaming import rename_study
from studies.store import Store, study_names

SPACE = load("wd_maxnorm", name="tail")
KNOWN = {"space_yaml": SPACE.to_yaml(), "space_sha256": SPACE.sha256, "objective": SPACE.objective}
HOSTILE = "=cmd.png: cannot be decoded"


@pytest.fixture
def store(url, new_store, record, answer):
    """A study with a finished job and a failed one."""
    made = new_store(url, **KNOWN)
    job = record(made)
    made.finish_job(job.id, answer(job))
    made.fail_job(record(made, index=1).id, Failure(FailureKind.ERROR, HOSTILE))
    return made


@pytest.fixture
def opened(store):
    database = Database(store.database.url, looking=True)
    yield database
    database.close()


@pytest.fixture
def app(opened, tmp_path):
    return dashboard_app(opened, artifacts=tmp_path / "artifacts", check_name=refuse_cache)


def refuse_cache(name):
    if name == "cache":
        raise StudyMismatchError("a study cannot be called 'cache'")


def ask(app, method, path, body=None):
    """Status and content of one request, as the page sends it."""
    data = json.dumps(body).encode() if body is not None else b""
    environ = {
        "REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_TYPE": "application/json", "wsgi.input": io.BytesIO(data),
        "CONTENT_LENGTH": str(len(data)), "HTTP_HOST": "localhost", "wsgi.errors": io.StringIO(), "SERVER_NAME": "",
        "SERVER_PORT": "80", "wsgi.url_scheme": "http", "HTTP_ACCEPT_ENCODING": "",
    }  # fmt: skip
    told = []
    answer = b"".join(app(environ, lambda status, headers, *_: told.append((status, dict(headers)))))
    ((status, headers),) = told
    code = int(status.split()[0])
    return code, json.loads(answer) if headers.get("Content-Type") == "application/json" and answer else answer.decode()


def everything(store, *, name):
    """All that a study holds."""
    with Store.open(store.database.url, name) as again:
        study = again.study()
        return (
            study.objective, study.space_sha256, study.created, again.jobs(), again.trials(), again.backbones(),
            again.epochs(), again.classes_by_trial(), again.posthoc(), again.readings(),
            [(t.number, t.state, t.params, t.user_attrs) for t in again.optuna_study().get_trials(deepcopy=False)],
            study_id(again),
        )  # fmt: skip


def study_id(store):
    return store.optuna_study()._study_id


def writing(app):
    return {(route.method, route.rule) for route in app.routes if route.method not in READS}


def test_every_route_that_writes_is_ours_or_allowed_or_refused_by_name(app):
    assert writing(app) == {RENAME, DELETE} | ALLOWED | REFUSED.keys()
    assert not {RENAME, DELETE} & (ALLOWED | REFUSED.keys())


def test_a_route_of_a_later_release_is_refused(app):
    later = Bottle()
    later.route("/api/studies/<study_id:int>/merge", ["POST", "ANY"], lambda study_id: "merged")
    later.get("/api/studies/<study_id:int>/graph", callback=lambda study_id: "drawn")
    replace_routes(later, {})
    for method in ("POST", "DELETE", "PUT"):
        code, content = ask(later, method, "/api/studies/1/merge", {})
        assert (code, "does not know what this changes" in content["reason"]) == (403, True), method
    assert ask(later, "GET", "/api/studies/1/graph") == (200, "drawn")


def test_what_is_refused_changes_nothing_and_says_why(app, store):
    before, attributes = everything(store, name="tail"), store.optuna_study()._storage
    kept = attributes.get_study_system_attrs(study_id(store))
    numbers = {"study_id:int": study_id(store), "trial_id:int": 1, "history_id": "x"}
    for method, rule in REFUSED:
        path = rule
        for name, value in numbers.items():
            path = path.replace(f"<{name}>", str(value))
        code, content = ask(app, method, path, {"study_name": "x", "state": "FAIL", "user_attrs": {"a": 1}})
        reason = content["reason"] if isinstance(content, dict) else content
        assert code == 403, path
        assert len(reason) > 30, path
    assert everything(store, name="tail") == before
    assert attributes.get_study_system_attrs(study_id(store)) == kept
    assert study_names(store.database.url) == ["tail"]


def test_a_rename_keeps_every_row_and_the_number(app, store):
    before, space = everything(store, name="tail"), store.study().space_yaml
    code, content = ask(app, "POST", f"/api/studies/{study_id(store)}/rename", {"study_name": "long-tail.2"})
    assert (code, content["study_id"], content["study_name"]) == (201, study_id_of(store, "long-tail.2"), "long-tail.2")
    assert study_names(store.database.url) == ["long-tail.2"]
    assert everything(store, name="long-tail.2") == before
    with Store.open(store.database.url, "long-tail.2") as again:
        assert again.study().space_yaml == space.replace(
            "name: tail\n", "name: long-tail.2\n"
        )  # `tuner resume` reads it
    assert ask(app, "GET", "/api/studies")[1]["study_summaries"][0]["study_name"] == "long-tail.2"


def study_id_of(store, name):
    with Store.open(store.database.url, name) as again:
        return study_id(again)


def test_a_name_that_cannot_be_is_refused_in_words(app, store):
    for name in ("", ".", "..", "a/b", "-x", "a b", "x" * 65, "tail\n", "<b>", "cache", None, 3):
        code, content = ask(app, "POST", f"/api/studies/{study_id(store)}/rename", {"study_name": name})
        assert code in (400, 409), name
        assert "name" in content["reason"] or "cannot be called" in content["reason"]
        assert study_names(store.database.url) == ["tail"]


def test_a_name_that_is_taken_is_refused_also_by_a_study_of_another_program(app, store, new_store, url):
    new_store(url, name="other", **KNOWN)
    optuna.create_study(storage=store.database.storage, study_name="foreign")
    for name in ("other", "foreign"):
        code, content = ask(app, "POST", f"/api/studies/{study_id(store)}/rename", {"study_name": name})
        assert (code, content["reason"]) == (409, f"there is a study {name!r} already; choose another name")
    assert ask(app, "POST", f"/api/studies/{study_id(store)}/rename", {"study_name": "tail"})[0] == 201  # its own
    assert set(study_names(url)) == {"tail", "other"}


@pytest.mark.parametrize(("method", "path"), [("POST", "/api/studies/{}/rename"), ("DELETE", "/api/studies/{}")])
def test_nothing_is_renamed_or_deleted_under_a_driver(app, store, method, path):
    with study_lock(store.database.url, "tail"):
        code, content = ask(app, method, path.format(study_id(store)), {"study_name": "new"})
    assert code == 409
    assert "while a driver runs it" in content["reason"]
    assert "tuner stop tail" in content["reason"]
    assert study_names(store.database.url) == ["tail"]
    assert ask(app, method, path.format(9999), {"study_name": "new"})[0] == 404
    assert ask(app, method, path.format(study_id(store)), {"study_name": "new"})[0] in (200, 201)


def test_no_driver_takes_the_new_name_while_a_study_gets_it(opened, store):
    with study_lock(store.database.url, "new"), pytest.raises(StudyLockedError, match="'new'"):
        rename_study(opened, study_id(store), "new")
    assert study_names(store.database.url) == ["tail"]


def test_a_space_of_another_release_is_not_rewritten(opened, new_store, url):
    made = new_store(url, name="newer")  # its text is no space of this release
    with pytest.raises(StudyMismatchError, match="only the release that wrote"):
        rename_study(opened, study_id(made), "new")
    assert "newer" in study_names(url)


def test_a_study_goes_with_all_its_rows_and_files(app, store, tmp_path):
    file = tmp_path / "report.html"
    file.write_text("x")
    attach(store, [file], tmp_path / "artifacts")
    attach(store, [file], tmp_path / "artifacts")
    (kept,) = (tmp_path / "artifacts").iterdir()
    (tmp_path / "artifacts" / "of-another").write_text("y")
    number = study_id(store)
    assert ask(app, "DELETE", f"/api/studies/{number}", {"remove_associated_artifacts": True}) == (200, {})
    assert not kept.exists()
    assert (tmp_path / "artifacts" / "of-another").exists()
    assert study_names(store.database.url) == []
    with pytest.raises(StudyNotFoundError):
        store.trials() or store.study()
    assert store.database.read(rows_left) == 0
    assert ask(app, "DELETE", f"/api/studies/{number}")[0] == 404


def rows_left(session):
    from sqlalchemy import func, select

    from studies.sql.tables import Base

    tables = [
        table for name, table in Base.metadata.tables.items() if name.startswith("tuner_") and name != "tuner_schema"
    ]
    assert len(tables) >= 8
    return sum(session.scalar(select(func.count()).select_from(table)) for table in tables)


def test_a_study_whose_files_are_gone_can_be_deleted(app, store, tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text("x")
    (offered,) = attach(store, [file], tmp_path / "artifacts").values()
    (tmp_path / "artifacts" / offered).unlink()
    assert ask(app, "DELETE", f"/api/studies/{study_id(store)}", {})[0] == 200


def test_files_keep_their_ids_over_a_rename_and_another_study_of_the_old_name_gets_its_own(
    opened, store, new_store, tmp_path
):
    file = tmp_path / "report.html"
    file.write_text("first")
    first = attach(store, [file], tmp_path / "artifacts")
    rename_study(opened, study_id(store), "renamed")
    with Store.open(store.database.url, "renamed") as renamed:
        assert attach(renamed, [file], tmp_path / "artifacts") == first
    other = new_store(store.database.url, **KNOWN)
    file.write_text("second")
    assert attach(other, [file], tmp_path / "artifacts") != first
    assert (tmp_path / "artifacts" / first["report.html"]).read_text() == "first"


def test_a_file_that_was_removed_on_the_page_is_offered_again(app, store, tmp_path):
    file = tmp_path / "best.yaml"
    file.write_text("x")
    (offered,) = attach(store, [file], tmp_path / "artifacts").values()
    assert ask(app, "DELETE", f"/api/artifacts/{study_id(store)}/{offered}")[0] == 200
    assert attach(store, [file], tmp_path / "artifacts").keys() == {"best.yaml"}


def test_a_note_on_a_trial_is_kept_and_answered_with_a_body(app, store):
    trial = store.optuna_study().get_trials(deepcopy=False)[0]._trial_id
    path = f"/api/studies/{study_id(store)}/{trial}/note"
    assert ask(app, "PUT", path, {"version": 1, "body": "mine"}) == (200, {})


def test_the_page_loads_our_script_and_the_table_holds_no_formula(app, store):
    for path in ("/dashboard", "/dashboard/studies/1"):
        code, page = ask(app, "GET", path)
        assert code == 200
        assert '<head><script src="/static/tuner.js"></script>' in page
    assert "role" in ask(app, "GET", "/static/tuner.js")[1]
    table = ask(app, "GET", f"/csv/{study_id(store)}")[1]
    assert f"'{HOSTILE}" in table
    assert f",{HOSTILE}" not in table


@contextmanager
def serving(url, folder, **options):
    with ExitStack() as stack:
        served = stack.enter_context(server(url, port=0, artifacts=folder / "artifacts", **options))
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        stack.callback(thread.join)
        stack.callback(served.shutdown)
        yield served.server_port


def test_a_real_server_keeps_another_site_out(file_url, new_store, tmp_path):
    made = new_store(file_url, **KNOWN)
    file = tmp_path / "report.html"
    file.write_text("<script>alert(1)</script>")
    (offered,) = attach(made, [file], tmp_path / "artifacts").values()
    with serving(file_url, tmp_path, hosts=["gpu.lab"]) as port:

        def send(method, path, headers, body=None):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            with closing(connection):
                return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

        here, study = f"127.0.0.1:{port}", f"/api/studies/{study_id(made)}"
        form = {"Content-Type": "application/json", "Host": here}
        assert send("GET", "/api/studies", {"Host": f"evil.example:{port}"})[0] == 403
        assert send("DELETE", study, {"Host": f"evil.example:{port}"})[0] == 403
        assert send("DELETE", study, {**form, "Origin": "http://evil.example"})[0] == 403
        assert (
            send("POST", f"{study}/rename", {"Host": here, "Content-Type": "text/plain"}, b'{"study_name":"x"}')[0]
            == 415
        )
        assert send("GET", "/api/studies", {"Host": f"gpu.lab:{port}"})[0] == 200
        status, headers, body = send("GET", f"/artifacts/{study_id(made)}/{offered}", {"Host": here})
        assert (status, body) == (200, file.read_bytes())
        assert headers["content-disposition"] == "attachment"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox;")
        assert "access-control-allow-origin" not in headers
        assert study_names(file_url) == ["tail"]
        name = json.dumps({"study_name": "renamed"}).encode()
        assert send("POST", f"{study}/rename", {**form, "Origin": f"http://{here}"}, name)[0] == 201
        assert send("DELETE", study, {**form, "Origin": f"http://{here}"}, b"{}")[0] == 200
    assert study_names(file_url) == []


def test_there_is_no_dashboard_without_a_database(tmp_path):
    with pytest.raises(StudyNotFoundError, match="tuner launch"):
        server(f"sqlite:///{tmp_path / 'none.db'}", port=0, artifacts=tmp_path)
    assert not (tmp_path / "none.db").exists()
