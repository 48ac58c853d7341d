"""One SQLAlchemy engine for Optuna's tables and ours; transactions are retried while the database is away.

A driver makes and migrates the tables. Readers do neither: a driver of another release may be using the database.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from studies.errors import NewerSchemaError, OlderSchemaError, StorageUnavailableError, StudyNotFoundError
from studies.locks import study_lock
from studies.sql import versions
from studies.sql.database_file import DatabaseFile, make_file, make_folder
from studies.sql.engines import SqliteReader, engine_options, look, no_driver
from studies.sql.retries import FIRST_DELAY, PATIENCE, database_error, patiently
from studies.sql.urls import for_optuna, masked, sqlite_file

_RACES = 5  # tries to make the tables while another process makes them

T = TypeVar("T")


class Database:
    """An open study database. Makes and migrates its tables where needed; with `looking` it changes nothing.

    Raises StorageUnavailableError, NewerSchemaError; OlderSchemaError when the tables must be migrated but a reader
    opens them or a driver is using them. Every call waits up to `patience` seconds for a database that is locked or
    restarting. Every call raises MovedDatabaseError once the file or the `held` lock is replaced at its path, and
    StudyLockedError once another driver holds the study.
    """

    def __init__(
        self,
        url: str,
        *,
        patience: float = PATIENCE,
        looking: bool = False,
        held: study_lock.StudyLock | None = None,
    ) -> None:
        self.url = url
        self.patience = patience
        self._held = held
        self._file = _hold_file(url, looking=looking)
        try:
            if held is not None:
                held.confirm()  # the lock may be older than the file
            due = _migration_due(url, looking=looking, patience=patience)
            self.storage = self._patiently(lambda: self._open_storage(looking=looking))
        except BaseException:
            self._release_file()
            raise
        self.engine: Engine = self.storage.engine
        try:
            self._patiently(lambda: _check_optunas_tables(self.storage))
            if due:
                self.write(lambda session: versions.bring_up_to_date(session.connection()))
        except BaseException:
            self.close()
            raise

    def read(self, work: Callable[[Session], T]) -> T:
        """Runs `work` on one consistent snapshot."""
        return self._patiently(lambda: self.transaction(work, "BEGIN", {"isolation_level": "REPEATABLE READ"}))

    def write(self, work: Callable[[Session], T]) -> T:
        """Runs `work` in one transaction, all or nothing. `work` may run again after an outage."""

        def ours(session: Session) -> T:
            # Inside the transaction: a driver that finds the lock free, or the file moved, can only write after it
            self._confirm(session)
            return work(session)

        written = self._patiently(lambda: self.transaction(ours, "BEGIN IMMEDIATE", {}))
        self.confirm()
        return written

    def confirm(self) -> None:
        """Raises MovedDatabaseError, or StudyLockedError when another driver has taken the study."""
        if self._file is not None:
            self._file.confirm()
        if self._held is not None:
            self._held.check()

    def close(self) -> None:
        """Closes all connections."""
        self.storage.remove_session()
        self.engine.dispose()
        self._release_file()

    def transaction(self, work: Callable[[Session], T], begin: str, options: dict[str, Any]) -> T:
        with Session(self.engine, expire_on_commit=False) as session, session.begin():
            if self.engine.dialect.name == "sqlite":
                session.execute(text(begin))  # sqlite3 itself begins only at the first change: too late for both
            elif options:
                session.connection(execution_options=options)
            return work(session)

    def _confirm(self, session: Session) -> None:
        """The same inside a transaction; also checks the write-ahead log that its connection opened."""
        self.confirm()
        if self._file is not None:
            connection: SqliteReader = session.connection().connection.dbapi_connection  # type: ignore[assignment]
            connection.confirm()

    def _patiently(self, call: Callable[[], T]) -> T:
        """Retries, except for a file that is gone: that raises MovedDatabaseError, whatever SQLite calls it."""

        def there() -> T:
            if self._file is not None:
                self._file.confirm()
            return call()

        try:
            return patiently(there, url=self.url, patience=self.patience)
        except StorageUnavailableError:
            if self._file is not None:
                self._file.confirm()
            raise

    def _release_file(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open_storage(self, *, looking: bool) -> RDBStorage:
        for tries_left in reversed(range(_RACES)):
            try:
                options = engine_options(self.url, patience=self.patience, looking=looking, file=self._file)
                return _Storage(
                    for_optuna(self.url),
                    engine_kwargs=options,
                    skip_compatibility_check=True,  # `_check_optunas_tables` does it, with a readable error
                    skip_table_creation=looking,
                )
            except ImportError as error:
                raise no_driver(self.url) from error
            except (DBAPIError, StorageInternalError) as error:
                if not tries_left or not _is_race(error):
                    raise
            time.sleep(FIRST_DELAY)
        raise AssertionError("unreachable: the last try returns or raises")


class _Storage(RDBStorage):
    """Optuna's storage; closes its connections when opening fails."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        try:
            super().__init__(*arguments, **named)
        except BaseException:
            engine: Engine | None = getattr(self, "engine", None)
            if engine is not None:
                engine.dispose()
            raise


def _migration_due(url: str, *, looking: bool, patience: float) -> bool:
    """True if our tables must be made or migrated.

    Raises NewerSchemaError; OlderSchemaError if they must be migrated but may not be; StudyNotFoundError for a
    reader when there are none.
    """
    found = look(url, versions.revision_of, patience=patience)
    versions.refuse_newer(found)
    if found == versions.head():
        return False
    if found is None:
        if looking:
            raise StudyNotFoundError(f"no study in {masked(url)}; make one with: tuner launch")
        return True
    running = study_lock.drivers(url, patience=patience)
    if looking or running:
        raise OlderSchemaError(versions.older(found, running=running))
    return True


def _check_optunas_tables(storage: RDBStorage) -> None:
    found, known = storage.get_current_version(), storage.get_head_version()
    if found == known:
        return
    if found in storage.get_all_versions():
        raise OlderSchemaError(
            f"Optuna's tables in the study database are of version {found}, and this Optuna uses {known}; "
            "end all drivers, make a backup, and run: optuna storage upgrade --storage URL"
        )
    raise NewerSchemaError(
        f"Optuna's tables in the study database are of version {found}, and this Optuna uses {known}; "
        "upgrade Optuna (pip install --upgrade optuna)"
    )


def _hold_file(url: str, *, looking: bool) -> DatabaseFile | None:
    """The file of an SQLite database, made unless `looking`; None for other databases."""
    path = sqlite_file(url)
    if path is None:
        return None
    try:
        if not looking:
            _make_file(path)
        return DatabaseFile(path)
    except FileNotFoundError as error:
        raise StudyNotFoundError(f"no study in {masked(url)}; make one with: tuner launch") from error


def _make_file(path: Path) -> None:
    try:
        make_folder(path.parent)
        made = make_file(path)
    except OSError as error:
        raise StorageUnavailableError(f"cannot make the study database: {error}") from error
    if made is not None:
        os.close(made)  # the file is new: SQLite holds no lock on it that closing would drop


def _is_race(error: DBAPIError | StorageInternalError) -> bool:
    """True if another process made the same table or row first."""
    cause = database_error(error)
    return isinstance(cause, IntegrityError) or "already exists" in str(cause)
