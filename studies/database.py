"""One SQLAlchemy engine for Optuna's tables and ours, and transactions that wait for a database that comes back.

SQLite runs in WAL, so that reports and the dashboard read while the driver writes, and with `synchronous=FULL`: a job
is two commits, an fsync costs 5 to 20 ms, and what it protects from a power cut may be a day of training.
"""

from __future__ import annotations

import functools
import json
import logging
import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NoSuchModuleError, ProgrammingError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, StaticPool

from studies import schema
from studies.errors import NewerSchemaError, StorageUnavailableError
from studies.urls import in_memory, masked, parse, redacted, sqlite_file

PATIENCE = 60.0  # seconds that a call of a driver waits for the database
GLANCE = 10.0  # seconds that somebody who only looks waits
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 2.0  # seconds between tries; doubles in between
_RACES = 5  # tries to make the tables while another process makes them

_PASSING = (
    "08",
    "57P",
    "40001",
    "40P01",
    "53300",
    "55P03",
)  # SQLSTATEs: connection, shutdown, deadlock, too many, lock
_LASTING = ("authentication failed", "no password supplied", "does not exist", "no pg_hba.conf entry")

T = TypeVar("T")
_logger = logging.getLogger(__name__)


class Database:
    """A study database, opened with all its tables.

    Raises StorageUnavailableError, NewerSchemaError. Every call waits up to `patience` seconds for a database that is
    locked or restarting.
    """

    def __init__(self, url: str, *, patience: float = PATIENCE) -> None:
        self.url = url
        self.patience = patience
        file = sqlite_file(url)
        if file is not None:
            _make_folder(file)
        schema.refuse_newer(look(url, schema.version_of, patience=patience))
        self.storage = self._patiently(self._open_storage)
        self.engine: Engine = self.storage.engine
        try:
            self._patiently(lambda: _check_optunas_tables(self.storage))
            self.write(lambda session: schema.bring_up_to_date(session.connection()))
        except BaseException:
            self.close()
            raise

    def read(self, work: Callable[[Session], T]) -> T:
        """Runs `work` on one consistent snapshot."""
        return self._patiently(lambda: self._transaction(work, "BEGIN", {"isolation_level": "REPEATABLE READ"}))

    def write(self, work: Callable[[Session], T]) -> T:
        """Runs `work` in one transaction: all of it is kept, or nothing. `work` may run again after an outage."""
        return self._patiently(lambda: self._transaction(work, "BEGIN IMMEDIATE", {}))

    def close(self) -> None:
        """Closes all connections."""
        self.storage.remove_session()
        self.engine.dispose()

    def _transaction(self, work: Callable[[Session], T], begin: str, options: dict[str, Any]) -> T:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                session.execute(text(begin))  # its driver begins only at the first change, too late for either purpose
            elif options:
                session.connection(execution_options=options)
            return work(session)

    def _patiently(self, call: Callable[[], T]) -> T:
        return patiently(call, url=self.url, patience=self.patience)

    def _open_storage(self) -> RDBStorage:
        url = self.url.replace("{", "{{").replace("}", "}}")  # Optuna formats it
        for tries_left in reversed(range(_RACES)):
            try:
                options = _engine_options(self.url, patience=self.patience)
                return RDBStorage(url, engine_kwargs=options, skip_compatibility_check=True)  # made below, in words
            except ImportError as error:
                raise _no_driver(self.url) from error
            except (DBAPIError, StorageInternalError) as error:
                if not tries_left or not _is_race(error):
                    raise
            time.sleep(_FIRST_DELAY)
        raise AssertionError("unreachable: the last try returns or raises")


def look(url: str, question: Callable[[Connection], T | None], *, patience: float = PATIENCE) -> T | None:
    """Asks a database without making anything in it; None when it is not there yet. Raises StorageUnavailableError."""
    file = sqlite_file(url)
    if file is not None and not file.exists():
        return None
    try:
        engine = create_engine(url, **{**_engine_options(url, patience=patience), "poolclass": NullPool})
    except (ImportError, NoSuchModuleError) as error:
        raise _no_driver(url) from error

    def ask() -> T | None:
        with engine.connect() as connection:
            return question(connection)

    return patiently(ask, url=url, patience=patience)


def patiently(call: Callable[[], T], *, url: str, patience: float) -> T:
    """Calls until the database answers, with growing pauses. Raises StorageUnavailableError after `patience` seconds,
    or at once when waiting cannot help."""
    deadline, delay = time.monotonic() + patience, _FIRST_DELAY
    while True:
        try:
            return call()
        except (DBAPIError, StorageInternalError) as error:
            cause = _database_error(error)
            if cause is None or isinstance(cause, (IntegrityError, ProgrammingError, DataError)):
                raise  # a defect of ours, not an outage
            if not _may_pass(cause):
                raise _unavailable(cause, url=url, waited=None) from None
            if time.monotonic() + delay > deadline:
                raise _unavailable(cause, url=url, waited=patience) from None
            if delay == _FIRST_DELAY:
                _logger.warning("study database %s does not answer; waiting up to %.0f s", masked(url), patience)
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY)


class _SqliteConnection(sqlite3.Connection):
    """A connection with our settings, whoever opens it through the engine."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            self.execute(f"PRAGMA {pragma}").close()


def _engine_options(url: str, *, patience: float) -> dict[str, Any]:
    options: dict[str, Any] = {"json_serializer": functools.partial(json.dumps, allow_nan=False, separators=(",", ":"))}
    match parse(url).get_backend_name():
        case "sqlite":
            options["connect_args"] = {"timeout": patience, "factory": _SqliteConnection}
            if in_memory(url):
                options["poolclass"] = StaticPool  # one connection, or every thread sees a database of its own
                options["connect_args"]["check_same_thread"] = False
        case "postgresql":
            options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": 10}}
        case _:
            options["pool_pre_ping"] = True
    return options


def _check_optunas_tables(storage: RDBStorage) -> None:
    found, known = storage.get_current_version(), storage.get_head_version()
    if found == known:
        return
    way_out = (
        "run `optuna storage upgrade --storage URL` after a backup"
        if found in storage.get_all_versions()
        else "upgrade Optuna (pip install --upgrade optuna)"
    )
    raise NewerSchemaError(
        f"Optuna's tables in the study database are of version {found}, and this Optuna uses {known}; {way_out}"
    )


def _make_folder(file: Any) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnavailableError(f"cannot make the folder of the study database: {error}") from error


def _database_error(error: DBAPIError | StorageInternalError) -> DBAPIError | None:
    """What the driver said; Optuna wraps it."""
    found = error if isinstance(error, DBAPIError) else error.__cause__
    return found if isinstance(found, DBAPIError) else None


def _is_race(error: DBAPIError | StorageInternalError) -> bool:
    """Whether another process made the same table or row a moment before."""
    cause = _database_error(error)
    return isinstance(cause, IntegrityError) or "already exists" in str(cause)


def _may_pass(error: DBAPIError) -> bool:
    said = str(error.orig).lower()
    if isinstance(error.orig, sqlite3.Error):
        return "locked" in said or "busy" in said
    if error.connection_invalidated:
        return True
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING)
    return not any(words in said for words in _LASTING)


def _unavailable(error: DBAPIError, *, url: str, waited: float | None) -> StorageUnavailableError:
    said = redacted(" ".join(str(error.orig).split()).rstrip(" .;"), url=url)
    waiting = "" if waited is None else f" after waiting {waited:g} s"
    return StorageUnavailableError(
        f"study database {masked(url)} cannot be used{waiting}: {said}; nothing that was finished is lost, "
        "and `tuner resume STUDY` goes on once the database is back"
    )


def _no_driver(url: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"no driver for {masked(url)} is installed; for PostgreSQL: pip install 'longtail-tuner[postgres]' "
        "and a URL that begins with postgresql+psycopg://"
    )
