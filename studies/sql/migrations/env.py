"""What alembic runs a step in: the connection, and the transaction, of whoever asked for it."""

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
