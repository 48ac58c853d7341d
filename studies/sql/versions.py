"""Versions of our tables: new databases get the newest, older ones migrate, newer ones are refused.

Alembic keeps the versions in a table of our own, beside the one for Optuna's tables. The steps are the files of
`studies/sql/migrations/versions`; a new database runs all of them, so that there is one way to make the tables. The
first two versions were a number in `tuner_schema`. That table stays, with a higher number, so that releases that know
only that number refuse the database.
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

_SETUP_LOCK = 7_201_931  # arbitrary: PostgreSQL's advisory lock while tables or studies are made
_alembic = threading.Lock()  # alembic's `op` and `context` are global to the process


def head() -> str:
    """The revision that this release uses."""
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
    """The message for a database that must be migrated but cannot be now."""
    found = f"the study database has tables of revision {revision}, and this release works with {head()}"
    if running:
        return (
            f"{found}; it cannot be migrated while drivers are at work on it ({'; '.join(running)}): wait for them, or "
            "stop them with `tuner stop STUDY`"
        )
    return (
        f"{found}; reading does not migrate it: while no driver uses it, run `tuner migrate`, `tuner launch` or "
        "`tuner resume`. Older releases cannot open it afterwards"
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
    """Serialises the making of tables and studies until the transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))


def _numbered(connection: Connection) -> str | None:
    """The revision of a database of the first releases; an unknown number is returned as it is."""
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
