"""Names of files and folders in sentences: without letters that would disturb a terminal, and with counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePath


def printable(name: str) -> str:
    """The name with escapes for letters that cannot be printed."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name)


def shown(path: Path, root: Path) -> str:
    """The path as seen from `root`, printable."""
    return printable(str(path.relative_to(root)))


def suffix_counts(names: Sequence[str], most: int = 8) -> str:
    """How many of the files have which suffix: `.heic 3, .txt 1, no suffix 2`."""
    counts = Counter(printable(PurePath(name).suffix.lower()) or "no suffix" for name in names)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(count for _, count in ordered[most:])
    listed = ", ".join(f"{suffix} {count:,}" for suffix, count in ordered[:most])
    return listed + (f" and {rest:,} of other suffixes" if rest else "")
