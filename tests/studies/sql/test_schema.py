"""Versions of our tables: made new, migrated, refused, and left alone by readers."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.operations import Operations
from optuna.storages._rdb import models as optuna_models
from sqlalchemy import Column, Connection, Engine, Integer, create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from studies.errors import NewerSchemaError, OlderSchemaError
from studies.locks.study_lock import study_lock
from studies.records import FailureKind
from studies.sql import versions
from studies.sql.engines import look
from studies.sql.tables import Base
from studies.store import Store, study_names

Open = Callable[..., Store]
ASSETS = Path(__file__).parents[1] / "assets"
OLD = {"space_yaml": "name: tail\n", "space_sha256": "a" * 64, "objective": "val.balanced_accuracy"}
MAKE = """if True:
    import sys
    from studies.store import Store
    Store.create_or_open(sys.argv[1], name="tail", space_yaml="name: tail\\n", space_sha256="a" * 64,
                         objective="val.balanced_accuracy").close()
"""


@pytest.fixture(params=["1-file", "2-file", pytest.param("2-postgres", marks=pytest.mark.postgres)])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Version and URL of a database that an earlier release wrote."""
    version, _, kind = request.param.partition("-")
    if kind == "file":
        shutil.copyfile(ASSETS / f"version_{version}.db", tmp_path / "studies.db")
        return version, f"sqlite:///{tmp_path / 'studies.db'}"
    server = request.getfixturevalue("postgres")
    url: str = server.new_database()
    with server.connect(str(make_url(url).database)) as connection:
        connection.execute((ASSETS / f"version_{version}.sql").read_bytes())
    return version, url


def _execute(url: str, statement: str) -> None:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        connection.execute(text(statement))


def _rows(url: str) -> dict[str, Any]:
    """Every row of every table of ours that is there, and which are."""

    def read(connection: Connection) -> dict[str, Any]:
        names = [name for name in inspect(connection).get_table_names() if name.startswith("tuner_")]
        return {name: sorted(map(repr, connection.execute(text(f"SELECT * FROM {name}")))) for name in names}

    found = look(url, read)
    assert found is not None
    return found


@contextlib.contextmanager
def _fault_at_change(number: int) -> Iterator[list[str]]:
    """Lets the n-th change of a table of ours fail, from 0, on whatever engine."""
    seen: list[str] = []

    def before(*arguments: Any) -> None:
        statement = str(arguments[2]).strip()
        if statement.startswith(("CREATE", "INSERT", "UPDATE", "DROP", "ALTER")) and "tuner_" in statement:
            seen.append(statement)
            if len(seen) == number + 1:
                raise RuntimeError("power cut")

    event.listen(Engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", before)


class TestNew:
    def test_a_new_database_has_this_releases_revision(self, empty_url: str, new_store: Open) -> None:
        assert look(empty_url, versions.revision_of) is None
        new_store(empty_url)
        assert look(empty_url, versions.revision_of) == versions.head()

    def test_the_steps_make_the_tables_of_the_metadata(self, empty_url: str, new_store: Open) -> None:
        new_store(empty_url)
        assert look(empty_url, _differences) == []
        _execute(empty_url, "DROP INDEX ix_tuner_jobs_study_id")
        assert look(empty_url, _differences) != []  # the comparison can fail

    def test_they_are_the_same_to_the_last_constraint(self, url: str, request: pytest.FixtureRequest) -> None:
        migrated = look(url, _reflected)
        engine = create_engine(_twin(url, request), poolclass=NullPool)
        with engine.begin() as connection:
            optuna_models.BaseModel.metadata.create_all(connection)
            Base.metadata.create_all(connection)
            assert _reflected(connection) == migrated

    def test_optunas_own_versions_are_apart(self, empty_url: str, new_store: Open) -> None:
        store = new_store(empty_url)
        with store.database.engine.connect() as connection:
            theirs = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
            ours = connection.execute(text(f"SELECT version_num FROM {versions.VERSION_TABLE}")).scalar_one()
        assert theirs == store.database.storage.get_head_version()
        assert ours == versions.head()

    def test_a_step_that_fails_leaves_no_table(self, empty_url: str, new_store: Open) -> None:
        with _fault_at_change(5) as seen, pytest.raises(RuntimeError, match="power cut"):
            new_store(empty_url)
        assert len(seen) == 6
        assert look(empty_url, versions.revision_of) is None
        assert _rows(empty_url) == {}
        new_store(empty_url)


class TestOlder:
    def test_what_an_earlier_release_wrote_is_all_there(self, written: tuple[str, str], new_store: Open) -> None:
        version, url = written
        store = new_store(url, **OLD)
        assert look(url, versions.revision_of) == versions.head()
        expected = json.loads((ASSETS / f"version_{version}.json").read_text())
        found = _seen(store)
        if url.startswith("postgresql"):  # written at another moment
            expected, found = _timeless(expected), _timeless(found)
        for kind, rows in expected.items():
            assert _as_known(found[kind], rows) == rows, kind
        assert study_names(url) == ["tail", "other"]

    def test_texts_that_earlier_releases_read_are_kinds_from_now_on(self, tmp_path: Path, new_store: Open) -> None:
        shutil.copyfile(ASSETS / "version_6.db", tmp_path / "studies.db")
        store = new_store(f"sqlite:///{tmp_path / 'studies.db'}", **OLD)
        expected = json.loads((ASSETS / "version_6.json").read_text())
        found = _seen(store)
        assert all(_as_known(found[kind], rows) == rows for kind, rows in expected.items())
        kinds = [None, FailureKind.WORKER_DIED, FailureKind.NOT_RUN, FailureKind.UNKNOWN, None, None]
        assert [job.failure for job in store.jobs()] == kinds
        trials = [(row.state, row.failure) for row in store.trials()]
        assert trials[:4] == [("COMPLETE", None)] * 2 + [
            ("FAIL", FailureKind.UNKNOWN),
            ("FAIL", FailureKind.WORKER_DIED),
        ]
        assert [(row.device, row.threads) for row in store.backbones()] == [
            ("cpu (2 threads)", 2),
            ("NVIDIA H200", None),
        ]

    def test_a_release_that_recorded_no_precision(self, tmp_path: Path, new_store: Open) -> None:
        shutil.copyfile(ASSETS / "version_7.db", tmp_path / "studies.db")
        url = f"sqlite:///{tmp_path / 'studies.db'}"
        assert look(url, versions.revision_of) == "0007"
        store = new_store(url, **OLD)
        expected, found = json.loads((ASSETS / "version_7.json").read_text()), _seen(store)
        assert all(_as_known(found[kind], rows) == rows for kind, rows in expected.items())
        rows = (*store.backbones(), *store.trials(), *store.readings())
        assert {row.precision for row in rows} == {None}
        assert store.study().backbones_per_gpu is None
        assert [(row.number, row.first_trial) for row in store.spaces()] == [(1, 0)]
        assert look(url, _differences) == []

    def test_migrated_tables_are_those_of_a_new_database(self, written: tuple[str, str], new_store: Open) -> None:
        _, url = written
        new_store(url, **OLD)
        assert look(url, _differences) == []

    def test_an_earlier_release_refuses_what_has_been_migrated(self, written: tuple[str, str], new_store: Open) -> None:
        version, url = written
        new_store(url, **OLD)
        left = look(url, lambda connection: connection.execute(text("SELECT version FROM tuner_schema")).scalar_one())
        assert left is not None
        assert left > int(version)

    def test_a_migration_is_all_or_nothing(self, written: tuple[str, str], new_store: Open) -> None:
        version, url = written
        before = _rows(url)
        for change in range(50):
            with _fault_at_change(change) as seen:
                try:
                    new_store(url, **OLD)
                except RuntimeError:
                    assert _rows(url) == before, seen[-1]
                    assert look(url, versions.revision_of) == f"000{version}"
                else:
                    break
        assert change > 2
        assert look(url, versions.revision_of) == versions.head()

    def test_it_migrates_once_however_many_open_it(self, written: tuple[str, str]) -> None:
        _, url = written
        processes = [subprocess.Popen([sys.executable, "-c", MAKE, url]) for _ in range(3)]
        assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
        assert look(url, versions.revision_of) == versions.head()
        with Store.open(url, "tail") as store:
            assert len(store.trials()) == 6

    def test_not_under_a_driver_that_is_at_work(self, written: tuple[str, str], new_store: Open) -> None:
        version, url = written
        hold = "import sys; from studies.locks.study_lock import study_lock\nwith study_lock(sys.argv[1], 'other'): print('held', flush=True); sys.stdin.read()"  # noqa: E501
        with subprocess.Popen(
            [sys.executable, "-c", hold, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            with (
                study_lock(url, "tail"),
                pytest.raises(OlderSchemaError, match=rf"drivers are at work.*pid={other.pid}\b"),
            ):
                new_store(url, **OLD)
            assert look(url, versions.revision_of) == f"000{version}"
            other.communicate("")
        with study_lock(url, "tail"):  # our own is no hindrance
            new_store(url, **OLD)

    def test_who_only_looks_is_told_and_changes_nothing(self, written: tuple[str, str]) -> None:
        version, url = written
        before = _rows(url)
        assert study_names(url) == ["tail", "other"]
        with pytest.raises(OlderSchemaError, match=rf"revision 000{version}.*`tuner migrate`"):
            Store.open(url, "tail")
        assert _rows(url) == before


class TestNewer:
    @pytest.mark.parametrize(
        "change",
        [
            f"UPDATE {versions.VERSION_TABLE} SET version_num = '9999'",
            f"DELETE FROM {versions.VERSION_TABLE}",  # by a release without alembic, whose number is unknown
        ],
    )
    def test_it_is_refused_with_words_and_left_alone(self, empty_url: str, new_store: Open, change: str) -> None:
        new_store(empty_url).close()
        _execute(empty_url, change)
        before = _rows(empty_url)
        for opening in (new_store, lambda url: Store.open(url, "tail"), study_names):
            with pytest.raises(NewerSchemaError, match="newer release"):
                opening(empty_url)
        assert _rows(empty_url) == before

    def test_a_newer_optuna_is_refused_with_words(self, empty_url: str, new_store: Open) -> None:
        new_store(empty_url).close()
        _execute(empty_url, "UPDATE alembic_version SET version_num = 'v99.0.0'")
        for opening in (new_store, lambda url: Store.open(url, "tail")):
            with pytest.raises(NewerSchemaError, match="upgrade Optuna"):
                opening(empty_url)


def test_optunas_own_upgrade_keeps_our_rows(empty_url: str, new_store: Open, record: Callable[..., Any]) -> None:
    store = new_store(empty_url)
    record(store)
    trials, storage = store.trials(), store.database.storage
    store.close()
    _execute(empty_url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    for opening in (new_store, lambda url: Store.open(url, "tail")):
        with pytest.raises(OlderSchemaError, match="optuna storage upgrade"):
            opening(empty_url)
    storage.upgrade()
    storage.engine.dispose()
    with Store.open(empty_url, "tail") as again:
        assert again.trials() == trials


def test_a_table_that_optuna_makes_anew_keeps_our_rows(
    file_url: str, new_store: Open, record: Callable[..., Any]
) -> None:
    store = new_store(file_url)
    record(store)
    trials = store.trials()
    with create_engine(file_url, poolclass=NullPool).begin() as connection:  # as its upgrades of SQLite do
        operations = Operations(MigrationContext.configure(connection))
        with operations.batch_alter_table("trials", recreate="always") as batch:
            batch.add_column(Column("more", Integer))
    assert store.trials() == trials
    assert record(store).numbers == (2, 3)


class TestLooking:
    def test_it_waits_for_no_writer_and_writes_nothing(self, file_url: str, new_store: Open) -> None:
        new_store(file_url).close()
        path = Path(file_url.removeprefix("sqlite:///"))
        before = hashlib.sha256(path.read_bytes()).hexdigest()
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as writer:
            writer.execute("BEGIN EXCLUSIVE")
            with Store.open(file_url, "tail", patience=0.0) as store:
                assert store.study().name == "tail"
                assert store.trials() == []
            writer.execute("ROLLBACK")
        assert hashlib.sha256(path.read_bytes()).hexdigest() == before

    def test_the_files_own_settings_stay(self, file_url: str, new_store: Open) -> None:
        new_store(file_url).close()
        path = Path(file_url.removeprefix("sqlite:///"))
        with contextlib.closing(sqlite3.connect(path)) as other:
            other.execute("PRAGMA journal_mode = DELETE")
        with Store.open(file_url, "tail") as store:
            assert store.trials() == []
        with contextlib.closing(sqlite3.connect(path)) as other:
            assert other.execute("PRAGMA journal_mode").fetchone() == ("delete",)

    @pytest.mark.postgres
    def test_a_role_that_may_only_read_can_look(self, postgres: Any, new_store: Open) -> None:
        url = postgres.new_database()
        new_store(url).close()
        _execute(url, "CREATE ROLE looker LOGIN")
        _execute(url, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO looker")
        theirs = make_url(url).set(username="looker").render_as_string(hide_password=False)
        with Store.open(theirs, "tail") as store:
            assert store.trials() == []


def _differences(connection: Connection) -> list[Any]:
    options = {"compare_type": True, "compare_server_default": True, "include_object": _is_ours}
    found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), Base.metadata)
    return found


def _is_ours(thing: Any, name: str | None, kind: str, *_: Any) -> bool:
    return kind != "table" or bool(name and name.startswith("tuner_") and name != versions.VERSION_TABLE)


def _reflected(connection: Connection) -> dict[str, Any]:
    """Everything that the database says of our tables."""
    found = inspect(connection)
    kinds = ("columns", "pk_constraint", "foreign_keys", "unique_constraints", "check_constraints", "indexes")
    return {
        f"{table}.{kind}": repr(sorted(map(_plain, _listed(getattr(found, f"get_{kind}")(table)))))
        for table in Base.metadata.tables
        for kind in kinds
    }


def _listed(found: Any) -> list[dict[str, Any]]:
    return [found] if isinstance(found, dict) else list(found)


def _plain(row: dict[str, Any]) -> str:
    return repr(sorted((key, str(value)) for key, value in row.items()))


def _twin(url: str, request: pytest.FixtureRequest) -> str:
    """Another database of the same kind, empty."""
    if make_url(url).get_backend_name() == "sqlite":
        return "sqlite://"
    made: str = request.getfixturevalue("postgres").new_database()
    return made


def _seen(store: Store) -> dict[str, Any]:
    """What a store says of its study, as the assets have it."""
    seen = {
        "study": store.study(), "jobs": store.jobs(), "trials": store.trials(), "backbones": store.backbones(),
        "epochs": store.epochs(), "classes": store.classes(0), "posthoc": store.posthoc(),
        "readings": store.readings(), "progress": store.progress(),
    }  # fmt: skip
    plain = {
        kind: [dataclasses.asdict(row) for row in rows] if isinstance(rows, list) else rows and dataclasses.asdict(rows)
        for kind, rows in seen.items()
    }
    through: dict[str, Any] = json.loads(json.dumps(plain, default=str))
    return through


def _as_known(found: Any, then: Any) -> Any:
    """What is found now, without what the earlier release had no word for."""
    match then:
        case dict() if isinstance(found, dict):
            return {key: _as_known(value, then[key]) for key, value in found.items() if key in then}
        case list() if isinstance(found, list) and len(found) == len(then):
            return [_as_known(*pair) for pair in zip(found, then, strict=True)]
        case _:
            return found


def _timeless(seen: Any) -> Any:
    match seen:
        case dict():
            times = ("started", "finished", "created", "read_at")
            return {key: _timeless(value) for key, value in seen.items() if key not in times}
        case list():
            return [_timeless(row) for row in seen]
        case _:
            return seen
