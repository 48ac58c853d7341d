"""One driver per study: a second one is told who has it.

SQLite: `flock` on a file beside the database, which the kernel lets go of when the driver dies, however it dies.
PostgreSQL: an advisory lock on a connection of its own, which the server lets go of when the connection ends; its
`application_name` says who it is. A database in memory has one process anyway.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from studies.database import PATIENCE, patiently
from studies.errors import StorageUnavailableError, StudyLockedError
from studies.urls import parse, sqlite_file

_NAMESPACE = 719_310  # first half of the advisory key: ours; the second is the study
_NAME_BYTES = 63  # what PostgreSQL keeps of an application name

_held_here: set[tuple[str, str]] = set()
_held_here_lock = threading.Lock()


class StudyLock(Protocol):
    """A lock that is held."""

    def confirm(self) -> None:
        """Takes the lock again where an outage of the server took it away.

        Raises StudyLockedError when another driver was quicker, StorageUnavailableError when the server stays away.
        """


@contextmanager
def study_lock(url: str, name: str, *, patience: float = PATIENCE) -> Iterator[StudyLock]:
    """Holds a study against other drivers. Raises StudyLockedError, which names the one that has it."""
    file = sqlite_file(url)
    if file is not None:
        with _file_lock(_lock_file(file, name), name) as lock:
            yield lock
    elif parse(url).get_backend_name() == "postgresql":
        with _advisory_lock(url, name, patience) as lock:
            yield lock
    else:
        with _process_lock(url, name) as lock:
            yield lock


def refuse_if_locked(url: str, name: str, *, patience: float = PATIENCE) -> None:
    """Raises StudyLockedError when a driver has the study now. Makes nothing where there is no database yet."""
    file = sqlite_file(url)
    if file is not None and not _lock_file(file, name).exists():
        return
    with study_lock(url, name, patience=patience):
        pass


class _Lasting:
    """A lock that nothing but this process can take away."""

    def confirm(self) -> None:
        """It is held."""


@contextmanager
def _process_lock(url: str, name: str) -> Iterator[StudyLock]:
    with _held_here_lock:
        if (url, name) in _held_here:
            raise _locked(name, "this process")
        _held_here.add((url, name))
    try:
        yield _Lasting()
    finally:
        _held_here.discard((url, name))


def _lock_file(database: Path, name: str) -> Path:
    """Beside the database, whatever characters the study's name has."""
    safe = quote(name, safe=" ")
    if len(safe) > 100:  # file systems stop at 255 bytes
        safe = f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    real = database.resolve()
    return real.with_name(f"{real.name}.{safe}.lock")


@contextmanager
def _file_lock(path: Path, name: str) -> Iterator[StudyLock]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StorageUnavailableError(f"cannot write the lock of study {name!r}: {error}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise _locked(name, file.read().strip() or "a driver that has just started") from None
        _say_who(file.fileno(), _who(" "), name)
        try:
            yield _Lasting()
        finally:
            os.ftruncate(file.fileno(), 0)  # the file stays: removing it could take a lock from under another driver


def _say_who(descriptor: int, who: str, name: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{who}\n".encode())
    except OSError as error:  # a full disk
        raise StorageUnavailableError(f"cannot write the lock of study {name!r}: {error.strerror}") from error


@contextmanager
def _advisory_lock(url: str, name: str, patience: float) -> Iterator[StudyLock]:
    lock = _AdvisoryLock(url, name, patience)
    try:
        lock.confirm()
        yield lock
    finally:
        lock.release()


class _AdvisoryLock:
    def __init__(self, url: str, name: str, patience: float) -> None:
        self._name = name
        self._key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)
        self._engine = _lone_engine(url)
        self._connection: Connection | None = None
        self._patiently: Callable[[Callable[[], None]], None] = functools.partial(patiently, url=url, patience=patience)

    def confirm(self) -> None:
        """Takes the lock, or makes sure that it is still held."""
        self._patiently(self._hold)

    def release(self) -> None:
        """Ends the connection, and with it the lock."""
        self._drop()
        self._engine.dispose()

    def _hold(self) -> None:
        try:
            if self._connection is None:
                self._connection = self._engine.connect()
                self._take(self._connection)
            self._connection.execute(select(1))
        except (DBAPIError, StudyLockedError):
            self._drop()
            raise

    def _take(self, connection: Connection) -> None:
        taken = connection.execute(select(func.pg_try_advisory_lock(_NAMESPACE, self._key))).scalar_one()
        if not taken:
            raise _locked(self._name, _holder(connection, self._key))

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # closes it for good, also when the server is away
            self._connection.close()
            self._connection = None


def _lone_engine(url: str) -> Engine:
    who = _who("@").encode()[:_NAME_BYTES].decode(errors="ignore")
    return create_engine(
        url,
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={"application_name": who, "connect_timeout": 10},
    )


def _holder(connection: Connection, key: int) -> str:
    holder = connection.execute(
        text(
            "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "AND l.classid = :namespace AND l.objid = :key"
        ),
        {"namespace": _NAMESPACE, "key": key % 2**32},  # an oid is unsigned
    ).scalar()
    return str(holder) if holder else "a driver that has just ended"


def _who(separator: str) -> str:
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return separator.join((f"pid={os.getpid()}", f"host={socket.gethostname()}", f"since={since}"))


def _locked(name: str, holder: str) -> StudyLockedError:
    return StudyLockedError(
        f"study {name!r} is already being run by {holder}; wait for it, stop it with `tuner stop {name}`, "
        "or choose another name with --name"
    )
