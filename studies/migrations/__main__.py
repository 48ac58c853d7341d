"""`python -m studies.migrations [URL]`: brings a database to this release; without URL the one of TUNER_STORAGE."""

from __future__ import annotations

import os
import sys

from studies import schema
from studies.database import Database
from studies.engines import look
from studies.errors import StudyError


def main() -> int:
    """Returns 2 without a URL, 4 when the database cannot be migrated now."""
    url = sys.argv[1] if len(sys.argv) == 2 else os.environ.get("TUNER_STORAGE")
    if url is None:
        sys.stderr.write("usage: python -m studies.migrations sqlite:///runs/studies.db\n")
        return 2
    try:
        before = look(url, schema.revision_of)
        if before is None:
            sys.stderr.write("error: there is no study database; tuner launch makes one\n")
            return 4
        Database(url).close()
    except StudyError as error:
        sys.stderr.write(f"error: {error}\n")
        return 4
    sys.stdout.write(f"revision {before} -> {schema.head()}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
