"""How to connect to each kind of database: one set of options for every engine.

SQLite runs in WAL mode, so that reports and the dashboard read while the driver writes, and with `synchronous=FULL`:
a job is two commits, an fsync costs 5 to 20 ms, and a power cut could otherwise lose a day of training.
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
from studies.sql.urls import in_memory, masked, parse_url, sqlite_file

T = TypeVar("T")
to_json = functools.partial(json.dumps, allow_nan=False, separators=(",", ":"))


class SqliteReader(sqlite3.Connection):
    """A connection with our settings of a connection; it leaves the settings stored in the file alone.

    With a held `file` it opens that one only: SQLite itself would make a new file where the old one is gone.
    """

    def __init__(self, *args: Any, file: DatabaseFile | None = None, **kwargs: Any) -> None:
        self._file = file
        self.confirm()
        super().__init__(*args, **kwargs)
        self.confirm()
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            self.execute(f"PRAGMA {pragma}").close()

    def confirm(self) -> None:
        """Raises MovedDatabaseError when the open files are no longer those at their paths."""
        if self._file is not None:
            self._file.confirm()


class SqliteDriver(SqliteReader):
    """A connection that also sets what the file stores: WAL mode."""

    _log: tuple[int, int] | None = None

    def __init__(self, *args: Any, file: DatabaseFile | None = None, **kwargs: Any) -> None:
        super().__init__(*args, file=file, **kwargs)
        self.execute("PRAGMA journal_mode = WAL").close()
        if file is not None:
            self.execute("SELECT 1 FROM sqlite_master").close()  # opens the log
            self._log = file.log()

    def confirm(self) -> None:
        """Also checks the log. Each connection knows its own: SQLite removes the log with the last connection."""
        super().confirm()
        if self._file is not None:
            self._file.confirm_log(self._log)


def engine_options(url: str, *, patience: float, looking: bool, file: DatabaseFile | None = None) -> dict[str, Any]:
    """Arguments for `create_engine`. Raises ImportError when psycopg is not installed."""
    parsed = parse_url(url)
    options: dict[str, Any] = {"json_serializer": to_json}
    if parsed.get_backend_name() == "sqlite":
        connection = functools.partial(SqliteReader if looking else SqliteDriver, file=file)
        options["connect_args"] = {"timeout": patience, "factory": connection}
        if in_memory(url):
            options["poolclass"] = StaticPool  # one connection: each further one would see a database of its own
            options["connect_args"]["check_same_thread"] = False
        return options
    options["pool_pre_ping"] = True
    if is_psycopg(url):
        from studies.sql.postgres import connector  # noqa: PLC0415  (psycopg is an extra)

        options["creator"] = connector(parsed, patience=patience, json_serializer=to_json)
    return options


def is_psycopg(url: str) -> bool:
    """True if the URL selects psycopg."""
    return parse_url(url).drivername in ("postgresql", "postgresql+psycopg")


def lone_engine(url: str, *, patience: float, file: DatabaseFile | None = None) -> Engine:
    """An engine without a pool, for a single query. Raises StorageUnavailableError when no driver is installed."""
    try:
        options = engine_options(url, patience=patience, looking=True, file=file)
        return create_engine(url, **{**options, "poolclass": NullPool})
    except (ImportError, NoSuchModuleError) as error:
        raise no_driver(url) from error


def look(url: str, question: Callable[[Connection], T | None], *, patience: float = PATIENCE) -> T | None:
    """Runs a read-only query on one snapshot of a database; None when the database does not exist.

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
    """Makes every read until the end of the transaction see the same snapshot."""
    if connection.dialect.name == "sqlite":
        connection.execute(text("BEGIN"))  # sqlite3 itself begins only at the first change
    else:
        connection.execution_options(isolation_level="REPEATABLE READ")


def no_driver(url: str) -> StorageUnavailableError:
    """The error for a missing driver."""
    return StorageUnavailableError(
        f"no driver for {masked(url)} is installed; for PostgreSQL: pip install 'longtail-tuner[postgres]' "
        "and a URL that begins with postgresql+psycopg://"
    )
