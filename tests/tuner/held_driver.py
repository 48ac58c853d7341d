"""`python held_driver.py FOLDER MODULE:NAME ...`: the `tuner` command, held where a function is called first.

It makes FOLDER/reached there and goes on once FOLDER/go is there. Nothing else of it differs from `tuner`. MODULE may
not import Ray, which reads the environment as it is imported.
"""

from __future__ import annotations

import functools
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def held(deed: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The same, later."""

    @functools.wraps(deed)
    def later(*args: Any, **named: Any) -> Any:
        (folder / "reached").touch()
        while not (folder / "go").exists():
            time.sleep(0.05)
        return deed(*args, **named)

    return later


def main() -> None:
    """The command."""
    from tuner import cli

    folder, place = Path(sys.argv[1]), sys.argv[2]
    if place != "-":
        module, _, path = place.partition(":")
        *outer, name = path.split(".")
        owner = functools.reduce(getattr, outer, importlib.import_module(module))
        setattr(owner, name, held(getattr(owner, name), folder))
    sys.argv[1:3] = []
    cli.main()


if __name__ == "__main__":
    main()
