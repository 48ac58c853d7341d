"""Versions of our tables: new databases get the newest, older ones migrate, newer ones are refused.

Optuna versions its own tables by alembic and refuses a mismatch when its storage opens. Ours are few, so a version is
one number, and a migration one function that is given the connection inside a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, func, insert, inspect, select, update

from studies.errors import NewerSchemaError
from studies.tables import Base, ProgressTable, SchemaTable


def _add_progress(connection: Connection) -> None:
    Base.metadata.create_all(connection, tables=[Base.metadata.tables[ProgressTable.__tablename__]])


CURRENT = 2
MIGRATIONS: Mapping[int, Callable[[Connection], None]] = {1: _add_progress}  # version -> what leads to the next

_SETUP_LOCK = 7_201_931  # any number that is ours; PostgreSQL's advisory lock while tables or studies are made


def version_of(connection: Connection) -> int | None:
    """The version of our tables in this database; None when it has none."""
    if not inspect(connection).has_table(SchemaTable.__tablename__):
        return None
    return connection.execute(select(SchemaTable.version)).scalar_one_or_none()


def refuse_newer(version: int | None) -> None:
    """Raises NewerSchemaError for a database of a later release, before anything is written to it."""
    if version is not None and version > CURRENT:
        raise NewerSchemaError(
            f"the study database has tables of version {version}, and this release knows versions up to {CURRENT}; "
            "open it with the newer release (pip install --upgrade longtail-tuner), or use another --storage"
        )


def bring_up_to_date(connection: Connection) -> None:
    """Makes our tables or migrates them, in the caller's transaction. Raises NewerSchemaError."""
    take_turns(connection)
    version = version_of(connection)
    refuse_newer(version)
    if version is None:
        Base.metadata.create_all(connection)
        connection.execute(insert(SchemaTable).values(id=1, version=CURRENT))
        return
    for step in range(version, CURRENT):
        MIGRATIONS[step](connection)
    if version < CURRENT:
        connection.execute(update(SchemaTable).values(version=CURRENT))


def take_turns(connection: Connection) -> None:
    """Lets one process at a time make tables or studies, until its transaction ends. SQLite has one writer anyway."""
    if connection.dialect.name == "postgresql":
        connection.execute(select(func.pg_advisory_xact_lock(_SETUP_LOCK)))
