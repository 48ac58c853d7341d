"""The database is locked, restarts, or is gone: calls wait, lose nothing, write nothing twice, show no password."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError, OperationalError

from studies.dashboard.server import server
from studies.errors import StorageUnavailableError
from studies.sql.retries import patiently
from studies.store import Store, study_names

Open = Callable[..., Store]


@contextlib.contextmanager
def locked(url: str, *, seconds: float) -> Iterator[None]:
    """Another program holds the file for a while."""
    other = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(seconds, other.rollback)
    timer.start()
    try:
        yield
    finally:
        timer.join()
        other.close()


def test_sqlite_runs_in_wal_with_our_settings(file_url: str, new_store: Open) -> None:
    with new_store(file_url).database.engine.connect() as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 60_000}


def test_a_locked_database_is_waited_for(file_url: str, new_store: Open, record: Callable[..., Any]) -> None:
    store = new_store(file_url)
    with locked(file_url, seconds=0.5):
        assert record(store).numbers == (0, 1)
    assert len(store.trials()) == 2


def test_a_locked_database_is_waited_for_when_the_driver_does_not_wait(
    file_url: str, new_store: Open, record: Callable[..., Any]
) -> None:
    store = new_store(file_url)

    def impatient(connection: Any, *_: Any) -> None:
        connection.execute("PRAGMA busy_timeout = 0").close()

    event.listen(store.database.engine, "checkout", impatient)
    with locked(file_url, seconds=0.5):
        assert record(store).numbers == (0, 1)


def test_beyond_the_limit_the_error_says_so_and_nothing_is_written(
    file_url: str, new_store: Open, record: Callable[..., Any]
) -> None:
    store = new_store(file_url, patience=0.1)
    with locked(file_url, seconds=1.0), pytest.raises(StorageUnavailableError, match=r"0\.1 s.*locked.*resume"):
        record(store)
    assert store.trials() == []


@pytest.mark.postgres
def test_a_restarted_server_is_waited_for_by_reads_and_writes(
    postgres: Any, made_postgres: str, new_store: Open, record: Callable[..., Any], answer: Callable[..., Any]
) -> None:
    store = new_store(postgres.without_studies(made_postgres))
    job = record(store)
    for deed in (lambda: store.finish_job(job.id, answer(job)), store.trials, lambda: record(store)):
        postgres.stop()
        back = threading.Timer(0.3, postgres.start)
        back.start()
        try:
            deed()
        finally:
            back.join()
    assert [row.state for row in store.trials()] == ["COMPLETE", "COMPLETE", "RUNNING", "RUNNING"]


def test_a_lost_answer_to_a_commit_writes_no_job_twice(
    url: str,
    new_store: Open,
    record: Callable[..., Any],
    answer: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    store = new_store(url)
    transaction = store.database.transaction
    lost: list[Any] = []

    def lose_first_answer(*arguments: Any) -> Any:
        answered = transaction(*arguments)
        if not lost:
            lost.append(answered)
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("database is locked"))
        return answered

    monkeypatch.setattr(store.database, "transaction", lose_first_answer)
    job = record(store)
    assert lost == [job]
    lost.clear()
    assert store.retry_job(job.id).attempts == 2
    lost.clear()
    store.finish_job(job.id, answer(job))
    assert [row.number for row in store.trials()] == [0, 1]
    assert [row.attempts for row in store.jobs()] == [2]


@pytest.mark.postgres
def test_a_server_that_is_away_is_reported_without_the_password(tmp_path: Path, postgres: Any) -> None:
    url = f"postgresql+psycopg://tuner:s3cret%21@/none?host={tmp_path}"
    with pytest.raises(StorageUnavailableError) as caught:
        study_names(url, patience=0.1)
    shown = f"{caught.value} {caught.value.__cause__}"
    assert "tuner:***@" in shown
    assert not any(spelling in shown for spelling in ("s3cret!", "s3cret%21"))


@pytest.mark.postgres
def test_a_database_that_does_not_exist_is_not_waited_for(postgres: Any) -> None:
    missing = postgres.new_database().replace("/db_", "/no_")
    with pytest.raises(StorageUnavailableError, match="does not exist"):
        study_names(missing, patience=3600)


@pytest.mark.postgres
def test_a_role_that_may_not_make_tables_is_told_what_helps(postgres: Any, new_store: Open) -> None:
    weak = _as_role(postgres.new_database(), "weak_maker", postgres)
    with pytest.raises(StorageUnavailableError, match=r'GRANT USAGE, CREATE ON SCHEMA public TO "weak_maker"'):
        new_store(weak)
    with postgres.connect(make_url(weak).database) as owner:
        owner.execute("GRANT USAGE, CREATE ON SCHEMA public TO weak_maker")  # what the sentence said
    new_store(weak)


@pytest.mark.postgres
def test_a_role_that_may_not_touch_the_tables_is_told_what_helps(
    postgres: Any, new_store: Open, record: Callable[..., Any]
) -> None:
    url = postgres.new_database()
    new_store(url)
    weak = _as_role(url, "weak_writer", postgres)
    said = []
    with postgres.connect(make_url(weak).database) as owner:
        for _ in range(3):
            try:
                record(new_store(weak))
                break
            except StorageUnavailableError as error:
                said.append(str(error))
                owner.execute(str(error).partition("can help: ")[2].encode())
    assert len(said) == 2  # tables, then the sequences of their keys
    assert len(new_store(url).trials()) == 2


@pytest.mark.postgres
def test_a_search_path_without_a_schema_is_a_sentence(postgres: Any, new_store: Open) -> None:
    with pytest.raises(StorageUnavailableError, match="CREATE SCHEMA AUTHORIZATION"):
        new_store(f"{postgres.new_database()}&options=-csearch_path%3Dnowhere")


@pytest.mark.postgres
@pytest.mark.parametrize("query", ["nosuch=option", "connect_timeout=soon"])
def test_a_parameter_that_libpq_does_not_know_is_a_sentence(postgres: Any, query: str) -> None:
    with pytest.raises(StorageUnavailableError, match=r"invalid connection option|bad value"):
        study_names(f"{postgres.new_database()}&{query}", patience=3600)


def _as_role(url: str, role: str, server: Any) -> str:
    with server.connect() as owner:
        owner.execute(f"CREATE ROLE {role} LOGIN".encode())
    return make_url(url).set(username=role).render_as_string(hide_password=False)


def test_a_password_in_the_drivers_words_is_masked() -> None:
    def fail() -> None:
        raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("no pg: password=s3cret! is wrong"))

    with pytest.raises(StorageUnavailableError) as caught:
        patiently(fail, url="postgresql://a:s3cret%21@host/db", patience=0)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_defect_is_not_retried() -> None:
    tries: list[int] = []

    def fail() -> None:
        tries.append(1)
        raise IntegrityError("INSERT", {}, sqlite3.IntegrityError("UNIQUE constraint failed"))

    with pytest.raises(IntegrityError):
        patiently(fail, url="sqlite://", patience=60)
    assert len(tries) == 1


def test_a_full_disk_is_said_at_once_and_the_study_goes_on_after(
    file_url: str, new_store: Open, record: Callable[..., Any]
) -> None:
    store = new_store(file_url)
    limit = "PRAGMA max_page_count = {}"

    def fill(connection: Any, *_: Any) -> None:
        connection.execute(limit.format(1)).close()  # SQLite takes the present size, so that nothing can be added

    event.listen(store.database.engine, "checkout", fill)
    with pytest.raises(StorageUnavailableError, match="full"):
        record(store, heads=60)
    event.remove(store.database.engine, "checkout", fill)
    event.listen(
        store.database.engine, "checkout", lambda connection, *_: connection.execute(limit.format(2**30)).close()
    )
    assert store.trials() == []
    assert record(store, heads=60).numbers == tuple(range(60))


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(StorageUnavailableError, match=r"notes\.db.*not a database.*another kind of file") as caught:
        study_names(f"sqlite:///{path}")
    assert "nothing that was finished is lost" not in str(caught.value)
    assert path.read_text().startswith("these are my notes")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_of_a_file_of_which_a_part_is_gone_nothing_is_said_to_be_kept(
    share: float, file_url: str, new_store: Open, record: Callable[..., Any]
) -> None:
    path = Path(file_url.removeprefix("sqlite:///"))
    with contextlib.closing(new_store(file_url)) as store:
        record(store, heads=60)
    os.truncate(path, int(share * path.stat().st_size))
    for deed in (study_names, lambda url: Store.open(url, "tail"), new_store):
        with pytest.raises(StorageUnavailableError, match=r"malformed.*damaged.*may be lost.*\.recover") as caught:
            deed(file_url)
        assert "nothing that was finished is lost" not in str(caught.value)


def test_damage_in_the_middle_of_a_study_is_said_when_it_is_found(
    file_url: str, new_store: Open, record: Callable[..., Any]
) -> None:
    path = Path(file_url.removeprefix("sqlite:///"))
    with contextlib.closing(new_store(file_url)) as store:
        record(store, heads=60)
    store = new_store(file_url)
    with path.open("r+b") as file:  # not written anew: it is the same file
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    with pytest.raises(StorageUnavailableError, match=r"may be lost|not known") as caught:
        store.trials()
    assert "nothing that was finished is lost" not in str(caught.value)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, "nothing that was finished is lost"),
        (sqlite3.SQLITE_FULL, "nothing that was finished is lost; make space"),
        (sqlite3.SQLITE_IOERR_READ, "may be full or failing.*not known"),
        (sqlite3.SQLITE_CANTOPEN, "read and write it and its folder.*inodes"),
        (sqlite3.SQLITE_READONLY, "allow writing"),
        (sqlite3.SQLITE_PROTOCOL, "not known"),
    ],
)
def test_the_way_out_is_that_of_what_sqlite_found(code: int, words: str) -> None:
    found = sqlite3.OperationalError("some words")
    found.sqlite_errorcode = code

    def fail() -> None:
        raise OperationalError("SELECT 1", {}, found)

    with pytest.raises(StorageUnavailableError, match=words):
        patiently(fail, url="sqlite:///a.db", patience=0)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file in the way")
    with pytest.raises(StorageUnavailableError, match="runs"):
        Store.create_or_open(
            f"sqlite:///{tmp_path}/runs/studies.db", name="t", space_yaml="", space_sha256="", objective="x"
        )


@pytest.mark.parametrize("url", ["notes", "", "postgresql+nodriver://a:s3cret@h/db", "nosuchdb://a:s3cret@h/db"])
def test_a_bad_url_is_one_sentence_without_the_password(url: str) -> None:
    with pytest.raises(StorageUnavailableError) as caught:
        study_names(url)
    assert "s3cret" not in str(caught.value)


def test_braces_and_per_cents_in_a_path_are_taken_as_they_are(tmp_path: Path, new_store: Open) -> None:
    url = f"sqlite:///{tmp_path}/{{x}} 100%/studies.db"
    new_store(url)
    assert study_names(url) == ["tail"]
    assert (tmp_path / "{x} 100%" / "studies.db").exists()
    with server(url, port=0, artifacts=tmp_path / "artifacts"):  # Optuna's dashboard, which reads the URL itself
        pass
