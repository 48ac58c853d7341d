"""`python -m benchmarks.structure [ROOT]`: what can be counted of the way a checkout is built.

ROOT is a checkout of this project, the current folder by default; `git worktree add /tmp/old ab14781` makes one of an
old commit. `--list` prints the places behind the figures, `--json` prints figures and places for programs. Exit code 2:
ROOT holds none of the four packages, or a file that is no Python.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.structure import imports, look_ups, names, private, sizes
from benchmarks.structure.source import PACKAGES, Figure, modules


def figures(root: Path) -> list[Figure]:
    """Every figure of a checkout, in the order of the table. Raises SyntaxError and OSError."""
    product = modules(root, PACKAGES)
    tests = modules(root, ("tests",))
    return [
        look_ups.figure(product),
        *names.figures(product),
        *sizes.folders(product),
        private.figure(tests, product),
        *sizes.lengths(product),
        *imports.figures(product),
        sizes.page(root / "ARCHITECTURE.md"),
    ]


def table(found: Sequence[Figure], *, places: bool) -> str:
    """One line per figure; with `places`, the places of each below it."""
    width = max(len(figure.name) for figure in found)
    lines = []
    for figure in found:
        lines.append(f"{figure.name:<{width}}  {figure.text}")
        lines += [f"    {place}" for place in figure.places] if places else []
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structure", description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path())
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--list", action="store_true", help="print the places behind the figures")
    asked = parser.parse_args(words)
    try:
        found = figures(asked.root)
    except (OSError, SyntaxError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if asked.json:
        print(json.dumps({one.name: {"value": one.value, "places": one.places} for one in found}, indent=2))
    else:
        print(table(found, places=asked.list))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
