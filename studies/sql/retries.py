"""Retries for a database that is locked, restarting or silent; readable errors for what retrying cannot fix."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError

from studies.errors import StorageUnavailableError
from studies.sql.urls import masked, parse_url, redacted

PATIENCE = 60.0  # seconds that a driver waits for the database
GLANCE = 10.0  # seconds that a reader waits
FIRST_DELAY = 0.05  # seconds between two tries; doubles, up to the next
_LONGEST_DELAY = 2.0

_PASSING = (
    "08",
    "57P",
    "40001",
    "40P01",
    "53300",
    "55P03",
    "57014",
    "25P03",
)  # SQLSTATEs: connection, shutdown, deadlock, too many, lock, timeouts
_LASTING = (
    "authentication failed",
    "no password supplied",
    "does not exist",
    "no pg_hba.conf entry",
    "permission denied",
    "not permitted to log in",
)
_KEPT = "nothing that was finished is lost, and `tuner resume STUDY` goes on once the database is back"
_DAMAGED = (
    "the file is damaged, and results may be lost: put a copy of it back, or save what can be read with "
    "`sqlite3 FILE .recover`, then: tuner resume STUDY"
)
_UNKNOWN = "whether all that was finished is still there is not known; once it can be used: tuner resume STUDY"
_WAYS_OUT = {  # by SQLite's kind of error
    sqlite3.SQLITE_BUSY: _KEPT,
    sqlite3.SQLITE_LOCKED: _KEPT,
    sqlite3.SQLITE_FULL: "nothing that was finished is lost; make space, then: tuner resume STUDY",
    sqlite3.SQLITE_READONLY: "nothing that was finished is lost; allow writing to the file and to its folder, then: "
    "tuner resume STUDY",
    sqlite3.SQLITE_CANTOPEN: "make sure that it is a file, that you may read and write it and its folder, and that "
    "the disk has space and inodes left, then: tuner resume STUDY",
    sqlite3.SQLITE_IOERR: "the disk may be full or failing, and whether all that was finished can be read again is not "
    "known: make space, or look at the disk, then: tuner resume STUDY",
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: f"it is another kind of file, or {_DAMAGED}",
}
_FORBIDDEN, _NO_SCHEMA = "42501", "3F000"  # SQLSTATEs

T = TypeVar("T")
_logger = logging.getLogger(__name__)


def patiently(call: Callable[[], T], *, url: str, patience: float) -> T:
    """Calls until the database answers, with growing pauses. Raises StorageUnavailableError after `patience` seconds,
    or at once when waiting cannot help."""
    deadline, delay = time.monotonic() + patience, FIRST_DELAY
    while True:
        try:
            return call()
        except (DBAPIError, StorageInternalError) as error:
            cause = database_error(error)
            if cause is None or _is_defect(cause):
                raise
            if not _may_pass(cause):
                raise _unavailable(cause, url=url, waited=None) from None
            if time.monotonic() + delay > deadline:
                raise _unavailable(cause, url=url, waited=patience) from None
            if delay == FIRST_DELAY:
                _logger.warning("study database %s does not answer; waiting up to %.0f s", masked(url), patience)
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_DELAY)


def database_error(error: DBAPIError | StorageInternalError) -> DBAPIError | None:
    """The error of the database driver, which Optuna may wrap."""
    found = error if isinstance(error, DBAPIError) else error.__cause__
    return found if isinstance(found, DBAPIError) else None


def _is_defect(error: DBAPIError) -> bool:
    """True if our own SQL is at fault, not the server, its permissions or the URL."""
    if not isinstance(error, (IntegrityError, ProgrammingError, DataError)):
        return False
    return error.statement is not None and _state(error) not in (_FORBIDDEN, _NO_SCHEMA)


def _may_pass(error: DBAPIError) -> bool:
    said = str(error.orig).lower()
    if isinstance(error.orig, sqlite3.Error):
        return "locked" in said or "busy" in said
    if isinstance(error, ProgrammingError):
        return False
    if error.connection_invalidated:
        return True
    state = _state(error)
    if state is not None:
        return state.startswith(_PASSING)
    return not any(words in said for words in _LASTING)


def _state(error: DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    return None if state is None else str(state)


def _unavailable(error: DBAPIError, *, url: str, waited: float | None) -> StorageUnavailableError:
    said = redacted(" ".join(str(error.orig).split()).rstrip(" .;"), url=url)
    waiting = "" if waited is None else f" after waiting {waited:g} s"
    way_out = _grant(said, url=url) if _state(error) in (_FORBIDDEN, _NO_SCHEMA) else _way_out(error)
    return StorageUnavailableError(f"study database {masked(url)} cannot be used{waiting}: {said}; {way_out}")


def _way_out(error: DBAPIError) -> str:
    """Whether results are safe, and what to do; by the lower byte of SQLite's code, which is the kind of error."""
    if (_state(error) or "").startswith("XX"):  # PostgreSQL found damage
        return _UNKNOWN
    code = getattr(error.orig, "sqlite_errorcode", None)
    return _WAYS_OUT.get(code & 0xFF, _UNKNOWN) if isinstance(code, int) else _KEPT


def _grant(said: str, *, url: str) -> str:
    """The grant that a role lacks, as SQL for the owner of the database."""
    role = parse_url(url).username or "ROLE"
    found = re.search(r"for (schema|table|sequence) (\S+)", said)
    kind, name = (found[1], found[2]) if found else ("", "public")
    rights = {
        "schema": f"USAGE, CREATE ON SCHEMA {name}",
        "table": "SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public",
        "sequence": "USAGE ON ALL SEQUENCES IN SCHEMA public",
    }
    if kind in rights:
        return f'the owner of the database can help: GRANT {rights[kind]} TO "{role}";'
    return (
        f'"{role}" needs the rights of the role that owns the tables, or a schema of its own, which the owner of the '
        f'database can make: CREATE SCHEMA AUTHORIZATION "{role}";'
    )
