"""The lock of a study as an advisory lock of PostgreSQL, on a connection of its own."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from studies.errors import StudyLockedError
from studies.locks.names import JUST_ENDED, locked, this_driver
from studies.sql.engines import is_psycopg
from studies.sql.retries import patiently
from studies.sql.urls import parse_url

NAME_BYTES = 63  # PostgreSQL cuts an application name here
_NAMESPACE = 719_310  # first half of the advisory key: ours; the second is the study


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The connection that holds a lock."""

    backend: int | None  # the server's process
    who: str  # its application name


class AdvisoryLock:
    """A lock on a study of the database at `url`. Close it with `release`."""

    def __init__(self, url: str, name: str, patience: float) -> None:
        self._name = name
        self._key = key_of(name)
        self._who = this_driver("@").encode()[:NAME_BYTES].decode(errors="ignore")
        self._engine = _lone_engine(url, self._who, patience)
        self._connection: Connection | None = None
        self._backend: int | None = None  # that held the lock for us before
        self._patiently: Callable[[Callable[[], None]], None] = functools.partial(patiently, url=url, patience=patience)

    def confirm(self) -> None:
        """Acquires the lock, or makes sure that it is still held."""
        self._patiently(self._hold)

    def check(self) -> None:
        """Does nothing: only `confirm` can ask the server."""

    def release(self) -> None:
        """Closes the connection, which frees the lock."""
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
        if not connection.execute(select(func.pg_try_advisory_lock(_NAMESPACE, self._key))).scalar_one():
            self._take_from(connection, advisory_holders(connection).get(self._key))
        self._backend = connection.execute(select(func.pg_backend_pid())).scalar_one()

    def _take_from(self, connection: Connection, holder: Holder | None) -> None:
        """Terminates our own lost connection, which the server still believes alive, and waits for the lock."""
        if holder != Holder(backend=self._backend, who=self._who):
            raise locked(self._name, holder.who if holder else JUST_ENDED)
        connection.execute(select(func.pg_terminate_backend(self._backend)))
        connection.execute(select(func.pg_advisory_lock(_NAMESPACE, self._key)))  # up to the connection's lock_timeout

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.invalidate()  # closes it for good, also when the server is away
            self._connection.close()
            self._connection = None


def _lone_engine(url: str, who: str, patience: float) -> Engine:
    options: dict[str, Any] = {"connect_args": {"application_name": who, "connect_timeout": 10}}
    if is_psycopg(url):
        from studies.sql.postgres import connector  # noqa: PLC0415  (psycopg is an extra)

        options = {"creator": connector(parse_url(url), patience=patience, application_name=who)}
    return create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT", **options)


def key_of(name: str) -> int:
    """Second half of the advisory key."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big", signed=True)


def advisory_holders(connection: Connection) -> dict[int, Holder]:
    """Key to holder, for the locked studies of this database."""
    rows = connection.execute(
        text(
            "SELECT l.objid::bigint, l.pid, a.application_name "
            "FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid "
            "WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 2 AND l.classid = :namespace "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ),
        {"namespace": _NAMESPACE},
    )
    return {_signed(oid): Holder(backend=pid, who=who or "a driver without a name") for oid, pid, who in rows}


def _signed(oid: int) -> int:
    """The key as a signed integer: the server lists it unsigned."""
    return oid - 2**32 if oid >= 2**31 else oid
