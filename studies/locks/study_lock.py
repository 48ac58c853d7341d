"""One driver per study: the error for a second one names the first.

SQLite: `flock` on a file beside the database; the kernel frees it when the driver dies, however it dies. PostgreSQL: an
advisory lock on a connection of its own; the server frees it when the connection ends, and `application_name` says who
holds it. A database in memory belongs to one process. Asking who holds the lock never keeps a driver from acquiring it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from studies.locks.advisory_lock import NAME_BYTES, AdvisoryLock, advisory_holders, key_of
from studies.locks.file_lock import FileLock, file_holder, lock_file, lock_files
from studies.locks.names import locked, this_process
from studies.sql.engines import look
from studies.sql.retries import PATIENCE
from studies.sql.urls import parse_url, sqlite_file

_held_here: set[tuple[str, str]] = set()
_held_here_lock = threading.Lock()


class StudyLock(Protocol):
    """A held lock."""

    def confirm(self) -> None:
        """Acquires the lock again after an outage of the server, and does what `check` does.

        Raises StudyLockedError when another driver was first, StorageUnavailableError when the server stays away.
        """

    def check(self) -> None:
        """Makes sure, in microseconds and within a transaction, that a lock file is still the one at its path.

        Raises StudyLockedError when another driver holds the study, MovedDatabaseError when one could.
        """


@contextmanager
def study_lock(url: str, name: str, *, patience: float = PATIENCE) -> Iterator[StudyLock]:
    """Holds the lock of a study. Raises StudyLockedError, which names the holder."""
    file = sqlite_file(url)
    if file is not None:
        with _released(FileLock(file, name)) as lock:
            yield lock
    elif parse_url(url).get_backend_name() == "postgresql":
        with _released(AdvisoryLock(url, name, patience)) as lock:
            yield lock
    else:
        with _process_lock(url, name) as lock:
            yield lock


def holder(url: str, name: str, *, patience: float = PATIENCE) -> str | None:
    """The holder of a study's lock, or None. Does not make the database."""
    file = sqlite_file(url)
    if file is not None:
        return file_holder(lock_file(file, name), name)
    if parse_url(url).get_backend_name() == "postgresql":
        found = (look(url, advisory_holders, patience=patience) or {}).get(key_of(name))
        return found.who if found else None
    return "this process" if (url, name) in _held_here else None


def drivers(url: str, *, patience: float = PATIENCE) -> list[str]:
    """The other processes that hold any study of the database."""
    file = sqlite_file(url)
    if file is not None:
        found = [file_holder(path, path.name) for path in lock_files(file)]
    elif parse_url(url).get_backend_name() == "postgresql":
        found = [one.who for one in (look(url, advisory_holders, patience=patience) or {}).values()]
    else:
        found = []
    here = (this_process(" "), this_process("@")[:NAME_BYTES])
    return [who for who in found if who is not None and not who.startswith(here)]


class _Lasting:
    """A lock within this process; it cannot be lost."""

    def confirm(self) -> None:
        """It is held."""

    def check(self) -> None:
        """It is held."""


@contextmanager
def _process_lock(url: str, name: str) -> Iterator[StudyLock]:
    with _held_here_lock:
        if (url, name) in _held_here:
            raise locked(name, "this process")
        _held_here.add((url, name))
    try:
        yield _Lasting()
    finally:
        _held_here.discard((url, name))


@contextmanager
def _released(lock: FileLock | AdvisoryLock) -> Iterator[StudyLock]:
    try:
        lock.confirm()
        yield lock
    finally:
        lock.release()
