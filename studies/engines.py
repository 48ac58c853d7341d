"""How each kind of database is connected to: one set of options for whoever makes an engine.

SQLite runs in WAL, so that reports and the dashboard read while the driver writes, and with `synchronous=FULL`: a job
is two commits, an fsync costs 5 to 20 ms, and what it protects from a power cut may be a day of training.
"""

from __future__ import annotations

import functools
import json
import sqlite3
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import NoSuchModuleError
from sqlalchemy.pool import NullPool, StaticPool

from studies.errors import StorageUnavailableError
from studies.urls import in_memory, masked, parse, sqlite_file
from studies.waiting import PATIENCE, patiently

T = TypeVar("T")
to_json = functools.partial(json.dumps, allow_nan=False, separators=(",", ":"))


class SqliteReader(sqlite3.Connection):
    """A connection with our settings, whoever opens it through the engine. The file's own are left as they are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for pragma in ("synchronous = FULL", "foreign_keys = ON"):
            self.execute(f"PRAGMA {pragma}").close()


class SqliteDriver(SqliteReader):
    """A connection of somebody who may change the file's settings, too."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute("PRAGMA journal_mode = WAL").close()


def engine_options(url: str, *, patience: float, looking: bool) -> dict[str, Any]:
    """What `create_engine` is given. Raises ImportError where psycopg is not installed."""
    parsed = parse(url)
    options: dict[str, Any] = {"json_serializer": to_json}
    if parsed.get_backend_name() == "sqlite":
        options["connect_args"] = {"timeout": patience, "factory": SqliteReader if looking else SqliteDriver}
        if in_memory(url):
            options["poolclass"] = StaticPool  # one connection, or every thread sees a database of its own
            options["connect_args"]["check_same_thread"] = False
        return options
    options["pool_pre_ping"] = True
    if is_psycopg(url):
        from studies.postgres import connector  # noqa: PLC0415  (psycopg is an extra)

        options["creator"] = connector(parsed, patience=patience, json_serializer=to_json)
    return options


def is_psycopg(url: str) -> bool:
    """Whether psycopg speaks with it."""
    return parse(url).drivername in ("postgresql", "postgresql+psycopg")


def lone_engine(url: str, *, patience: float) -> Engine:
    """An engine that keeps no connection, for somebody who asks once. Raises StorageUnavailableError without driver."""
    try:
        return create_engine(url, **{**engine_options(url, patience=patience, looking=True), "poolclass": NullPool})
    except (ImportError, NoSuchModuleError) as error:
        raise no_driver(url) from error


def look(url: str, question: Callable[[Connection], T | None], *, patience: float = PATIENCE) -> T | None:
    """Asks a database on one snapshot, making nothing in it; None when it is not there yet.

    Raises StorageUnavailableError.
    """
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    engine = lone_engine(url, patience=patience)

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
