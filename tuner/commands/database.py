"""The command about the study database."""

from __future__ import annotations

from tuner.commands.options import HomeOption, StorageOption, storage_url
from tuner.errors import NotThereError
from tuner.terminal.output import say


def migrate(home: HomeOption = None, storage: StorageOption = None) -> None:
    """Migrate the database of an older release to this one; older releases cannot open it afterwards."""
    from studies.sql import versions
    from studies.sql.database import Database
    from studies.sql.engines import look
    from studies.sql.urls import masked

    url = storage_url(home, storage)
    before = look(url, versions.revision_of)
    if before is None:
        raise NotThereError(f"{masked(url)}: there is no study database; tuner launch makes one")
    Database(url).close()
    due = before != versions.head()
    say(f"revision {before} -> {versions.head()}" if due else f"revision {before}: nothing is due")
