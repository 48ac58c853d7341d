"""`python -m benchmarks.marked_driver ...`: the `tuner` command, with a mark while it writes results.

From outside, a commit of results looks like one of the progress view. So the kill campaign's drivers make a file when
a transaction of results begins, and remove it when that has ended: the campaign aims by it, and a mark that outlives
its driver proves that the kill fell within. Nothing else is changed.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARK = "CHAOS_MARK"  # the variable that names the file
RESULTS = ("finish_job", "record_reading")  # the store's methods that write results


def marked(deed: Callable[..., Any], mark: Path) -> Callable[..., Any]:
    """The same, with the mark there while it runs."""

    @functools.wraps(deed)
    def within(*args: Any, **named: Any) -> Any:
        mark.touch()
        try:
            return deed(*args, **named)
        finally:
            mark.unlink()

    return within


def main() -> None:
    """The command."""
    from studies.store import Store
    from tuner import cli

    mark = Path(os.environ[MARK])
    for name in RESULTS:
        setattr(Store, name, marked(getattr(Store, name), mark))
    cli.main()


if __name__ == "__main__":
    main()
