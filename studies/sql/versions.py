"""Versions of our tables: new databases get the newest, older ones migrate, newer ones are refused.

Alembic keeps the versions, as it does for Optuna's own tables in the same database; ours have a version table of their
own. The steps are the files of `studies/sql/migrations/versions`, and a new database goes through all of them: there is
one way to make the tables. The first two were kept as a number in `tuner_schema`; that table stays, with a number above
theirs, so that the releases that know nothing else refuse the database instead of writing to it.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, func, inspect, select

from studies.errors import NewerSchemaError
from studies.sql.tables import SchemaTable

VERSION_TABLE = "tuner_alembic_version"
_NUMBERS = {1: "0001", 2: "0002"}  # what `tuner_schema` said before there were revisions

_SETUP_LOCK = 7_201_931  # any number that is ours; PostgreSQL's advisory lock while tables or studies are made
_alembic = threading.Lock()  # its `op` and `context` are one for the whole process


def head() -> str:
    """The revision that this release works with."""
    found = _scripts().get_current_head()
    if found is None:
        raise AssertionError("unreachable: the package holds its migrations")
    return found


def revision_of(connection: Connection) -> str | None:
    """The revision of our tables in this database; None when it has none."""
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
    return context.get_current_revision() or _numbered(connection)


def refuse_newer(revision: str | None) -> None:
    """Raises NewerSchemaError for a database of a later release, before anything is written to it."""
    if revision is not None and revision not in _known():
        raise NewerSchemaError(
            f"the study database has tables of revision {revision}, and this release knows them up to {head()}; "
            "open it with the newer release (pip install --upgrade longtail-tuner), or use another --storage"
        )


def older(revision: str, *, running: Sequence[str]) -> str:
    """What to say of a database whose migration is due, but not now."""
    found = f"the study database has tables of revision {revision}, and this release works with {head()}"
    if running:
        return (
            f"{found}; it cannot be migrated while drivers are at work on it ({'; '.join(running)}): wait for them, or "
            "stop them with `tuner stop STUDY`"
        )
    return (
        f"{found}; looking changes nothing, so migrate it first, with no driver at work on it: by the next `tuner "
        "launch` or `tuner resume`, or by `tuner migrate`. Older releases cannot open it afterwards"
    )


def bring_up_to_date(connection: Connection) -> None:
    """Makes our tables or migrates them, in the caller's transaction. Raises NewerSchemaError."""
    take_turns(connection)
    found = revision_of(connection)
    refuse_newer(found)
    if found == head():
        return
    config = _config()
    config.attributes["connection"] = connection
    with _alembic:
        if found is not None and not inspect(connection).has_table(VERSION_TABLE):
            command.stamp(config, found)
        command.upgrade(config, "head")


def take_turns(connection: Connection) -> None:
    """Lets one process at a time make tables or studies, until its transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))


def _numbered(connection: Connection) -> str | None:
    """The revision of a database of the first releases; a number that none of them wrote stands for itself."""
    if not inspect(connection).has_table(SchemaTable.__tablename__):
        return None
    number = connection.execute(select(SchemaTable.version)).scalar_one_or_none()
    return None if number is None else _NUMBERS.get(number, str(number))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "studies.sql:migrations")
    return config


@functools.cache
def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


@functools.cache
def _known() -> frozenset[str]:
    return frozenset(script.revision for script in _scripts().walk_revisions())
