"""A PostgreSQL server that hangs, with its connections open: no call waits for ever, and what can go on does."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from studies.errors import StorageUnavailableError, StudyLockedError
from studies.locks.study_lock import drivers, holder, study_lock
from studies.store import Store, study_names

Open = Callable[..., Store]
pytestmark = [pytest.mark.postgres, pytest.mark.timeout(120)]  # what hangs fails here


@contextlib.contextmanager
def hung(pids: list[int]) -> Iterator[None]:
    """Processes that do nothing for a while."""
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def backends(server: Any, url: str) -> list[int]:
    """The server's processes that serve a database."""
    with server.connect() as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [make_url(url).database])
        return [pid for (pid,) in rows]


def whole(server: Any) -> list[int]:
    """The server and all of its processes."""
    parent = server._process.pid
    return [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]


@pytest.fixture
def store(postgres: Any, made_postgres: str, new_store: Open) -> Store:
    return new_store(postgres.without_studies(made_postgres), patience=2.0)


def test_a_connection_that_hangs_is_given_up_for_another(
    postgres: Any, store: Store, record: Callable[..., Any]
) -> None:
    record(store)
    with hung(backends(postgres, store.database.url)):
        assert len(store.trials()) == 2
        assert record(store).numbers == (2, 3)
    assert [row.number for row in store.trials()] == [0, 1, 2, 3]


def test_a_server_that_hangs_is_given_up_and_the_study_goes_on_after(
    postgres: Any, store: Store, record: Callable[..., Any]
) -> None:
    record(store)
    with hung(whole(postgres)):
        for call in (store.trials, lambda: record(store)):
            with pytest.raises(StorageUnavailableError, match=r"after waiting 2 s.*tuner resume"):
                call()
        with pytest.raises(StorageUnavailableError, match="after waiting"):
            study_names(store.database.url, patience=1.0)
    assert record(store).numbers == (2, 3)


def test_the_lock_is_neither_waited_for_for_ever_nor_thought_to_be_anothers(postgres: Any, store: Store) -> None:
    url = store.database.url
    with study_lock(url, "tail", patience=1.0) as lock:
        with hung(backends(postgres, url)), pytest.raises(StorageUnavailableError, match="after waiting 1 s"):
            lock.confirm()
        lock.confirm()
        with pytest.raises(StudyLockedError), study_lock(url, "tail"):
            pass


@pytest.mark.parametrize("ask", [holder, drivers], ids=["holder", "drivers"])
def test_a_hung_server_is_not_asked_for_its_locks_for_ever(
    postgres: Any, store: Store, ask: Callable[..., Any]
) -> None:
    arguments = ("tail",) if ask is holder else ()
    with hung(whole(postgres)), pytest.raises(StorageUnavailableError, match="after waiting"):
        ask(store.database.url, *arguments, patience=1.0)


def test_a_row_that_another_program_keeps_locked_is_not_waited_for_for_ever(
    postgres: Any, store: Store, record: Callable[..., Any]
) -> None:
    with postgres.connect(str(make_url(store.database.url).database)) as other, other.transaction():
        other.execute("SELECT * FROM studies FOR UPDATE")
        with pytest.raises(StorageUnavailableError, match="lock timeout"):
            record(store)
    assert record(store).numbers == (0, 1)
