"""How each kind of database is connected to: one set of options for whoever makes an engine.

SQLite runs in WAL, so that reports and the dashboard read while the driver writes, and with `synchronous=FULL`: a job
is two commits, an fsync costs 5 to 20 ms, and what it protects from a power cut may be a day of training.
"""

from __future__ import annotations

import contextlib
import functools
import json
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import NullPool, StaticPool

from studies.errors import StorageUnavailableError
from studies.sql.database_file import DatabaseFile
from studies.sql.retries import PATIENCE, patiently
from studies.sql.urls import in_memory, masked, parse, sqlite_file

T = TypeVar("T")
to_json = functools.partial(json.dumps, allow_nan=False, separators=(",", ":"))


class SqliteReader(sqlite3.Connection):
    """A connection with our settings, whoever opens it through the engine. The file's own are left as they are.

    Opened only to the `file` that is held, if there is one: SQLite itself would make another one where it has gone.
    """

    def __init__(self, *args: Any, file: DatabaseFile | None = None, **kwargs: Any) -> None:
        self._file = file
        self.confirm()
        super().__init__(*args, **kwargs)
        self.confirm()
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            self.execute(f"PRAGMA {pragma}").close()

    def confirm(self) -> None:
        """Raises MovedDatabaseError when the files that are open are no longer those at their paths."""
        if self._file is not None:
            self._file.confirm()


class SqliteDriver(SqliteReader):
    """A connection of somebody who may change the file's settings, too."""

    _log: tuple[int, int] | None = None

    def __init__(self, *args: Any, file: DatabaseFile | None = None, **kwargs: Any) -> None:
        super().__init__(*args, file=file, **kwargs)
        self.execute("PRAGMA journal_mode = WAL").close()
        if file is not None:
            self.execute("SELECT 1 FROM sqlite_master").close()  # opens the log
            self._log = file.log()

    def confirm(self) -> None:
        """The log belongs to the connection: SQLite removes it after the last one, and makes it anew for the next."""
        super().confirm()
        if self._file is not None:
            self._file.confirm_log(self._log)


def engine_options(url: str, *, patience: float, looking: bool, file: DatabaseFile | None = None) -> dict[str, Any]:
    """What `create_engine` is given. Raises ImportError where psycopg is not installed."""
    parsed = parse(url)
    options: dict[str, Any] = {"json_serializer": to_json}
    if parsed.get_backend_name() == "sqlite":
        connection = functools.partial(SqliteReader if looking else SqliteDriver, file=file)
        options["connect_args"] = {"timeout": patience, "factory": connection}
        if in_memory(url):
            options["poolclass"] = StaticPool  # one connection, or every thread sees a database of its own
            options["connect_args"]["check_same_thread"] = False
        return options
    options["pool_pre_ping"] = True
    if is_psycopg(url):
        from studies.sql.postgres import connector  # noqa: PLC0415  (psycopg is an extra)

        options["creator"] = connector(parsed, patience=patience, json_serializer=to_json)
    return options


def is_psycopg(url: str) -> bool:
    """Whether psycopg speaks with it."""
    return parse(url).drivername in ("postgresql", "postgresql+psycopg")


def lone_engine(url: str, *, patience: float, file: DatabaseFile | None = None) -> Engine:
    """An engine that keeps no connection, for somebody who asks once. Raises StorageUnavailableError without driver."""
    try:
        options = engine_options(url, patience=patience, looking=True, file=file)
        return create_engine(url, **{**options, "poolclass": NullPool})
    except (ImportError, NoSuchModuleError) as error:
        raise no_driver(url) from error


def look(url: str, question: Callable[[Connection], T | None], *, patience: float = PATIENCE) -> T | None:
    """Asks a database on one snapshot, making nothing in it; None when it is not there yet.

    Raises StorageUnavailableError.
    """
    path = sqlite_file(url)
    if path is None:
        return _look(url, question, patience=patience)
    try:
        file = DatabaseFile(path)
    except FileNotFoundError:
        return None
    with contextlib.closing(file):
        return _look(url, question, patience=patience, file=file)


def _look(
    url: str, question: Callable[[Connection], T | None], *, patience: float, file: DatabaseFile | None = None
) -> T | None:
    engine = lone_engine(url, patience=patience, file=file)

    def ask() -> T | None:
        with engine.connect() as connection:
            begin_snapshot(connection)
            return question(connection)

    return patiently(ask, url=url, patience=patience)


def begin_snapshot(connection: Connection) -> None:
    """From here to the end of the transaction all is read as of one moment."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN"))  # its driver begins only at the first change, too late for a reader
    else:
        connection.execution_options(isolation_level="REPEATABLE READ")


def no_driver(url: str) -> StorageUnavailableError:
    """What is missing."""
    return StorageUnavailableError(
        f"no driver for {masked(url)} is installed; for PostgreSQL: pip install 'longtail-tuner[postgres]' "
        "and a URL that begins with postgresql+psycopg://"
    )
