"""Versions of our tables: made new, migrated, refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, text

from studies import schema
from studies.database import look
from studies.errors import NewerSchemaError
from studies.store import Store, study_names

Open = Callable[..., Store]


def _set_version(store: Store, version: int) -> None:
    with store.database.engine.begin() as connection:
        connection.execute(text("UPDATE tuner_schema SET version = :version"), {"version": version})


def test_a_new_database_has_the_current_version(empty_url: str, new_store: Open) -> None:
    assert look(empty_url, schema.version_of) is None
    new_store(empty_url)
    assert look(empty_url, schema.version_of) == schema.CURRENT


def test_every_older_version_has_a_migration() -> None:
    assert sorted(schema.MIGRATIONS) == list(range(1, schema.CURRENT))


def test_a_database_of_the_first_release_gets_the_table_of_what_runs(
    empty_url: str, new_store: Open, record: Callable[..., object]
) -> None:
    store = new_store(empty_url)
    record(store)
    trials = store.trials()
    with store.database.engine.begin() as connection:
        connection.execute(text("DROP TABLE tuner_progress"))
    _set_version(store, 1)
    again = new_store(empty_url)
    assert look(empty_url, schema.version_of) == schema.CURRENT
    assert again.trials() == trials
    assert again.progress() is None


def test_a_newer_database_is_refused_with_words_and_left_alone(empty_url: str, new_store: Open) -> None:
    store = new_store(empty_url)
    _set_version(store, schema.CURRENT + 1)
    for opening in (new_store, lambda url: Store.open(url, "tail"), study_names):
        with pytest.raises(NewerSchemaError, match="newer release"):
            opening(empty_url)
    assert look(empty_url, schema.version_of) == schema.CURRENT + 1


def test_a_newer_optuna_is_refused_with_words(empty_url: str, new_store: Open) -> None:
    with new_store(empty_url).database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = 'v99.0.0'"))
    with pytest.raises(NewerSchemaError, match="Optuna"):
        new_store(empty_url)


def test_an_older_database_migrates_step_by_step_and_once(
    empty_url: str, new_store: Open, record: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = new_store(empty_url)
    record(store)
    steps: list[int] = []

    def step(version: int) -> Callable[[Connection], None]:
        def migrate(connection: Connection) -> None:
            connection.execute(text(f"CREATE TABLE tuner_step_{version} (id INTEGER)"))
            steps.append(version)

        return migrate

    old = schema.CURRENT
    monkeypatch.setattr(schema, "CURRENT", old + 2)
    monkeypatch.setattr(schema, "MIGRATIONS", {old: step(old), old + 1: step(old + 1)})
    assert len(new_store(empty_url).trials()) == 2
    new_store(empty_url)
    assert steps == [old, old + 1]
    assert look(empty_url, schema.version_of) == old + 2


def test_a_migration_that_fails_leaves_the_old_version(
    empty_url: str, new_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_store(empty_url)

    def migrate(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE tuner_half (id INTEGER)"))
        raise RuntimeError("power cut")

    old = schema.CURRENT
    monkeypatch.setattr(schema, "CURRENT", old + 1)
    monkeypatch.setattr(schema, "MIGRATIONS", {old: migrate})
    with pytest.raises(RuntimeError, match="power cut"):
        new_store(empty_url)
    assert look(empty_url, schema.version_of) == old
    assert look(empty_url, lambda connection: connection.dialect.has_table(connection, "tuner_half")) is False
