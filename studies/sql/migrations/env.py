"""Alembic's environment: each step runs on the caller's connection, in the caller's transaction."""

from __future__ import annotations

from alembic import context

from studies.sql.tables import Base
from studies.sql.versions import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
