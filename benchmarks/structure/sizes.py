"""How long functions, files and folders are.

A function's length is from its `def` to its last line, decorators left out, nested ones counted on their own as well.
The 90th percentile is the smallest length that at least nine of ten do not exceed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.structure.source import Figure, Module


def folders(product: Sequence[Module]) -> list[Figure]:
    """Python files directly in the folder that has most, and directly in trainers/."""
    held = Counter(module.folder for module in product)
    places = tuple(f"{folder}  {number}" for folder, number in held.most_common())
    return [
        Figure(name="Python files in the largest flat folder", value=max(held.values()), places=places),
        Figure(name="Python files in trainers/ itself", value=held["trainers"]),
    ]


def lengths(product: Sequence[Module]) -> list[Figure]:
    """Median, 90th percentile and maximum, in lines, of functions and of files."""
    functions = [
        (node.end_lineno - node.lineno + 1, module.place(node, node.name))
        for module in product
        for node in ast.walk(module.tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno
    ]
    files = [(module.lines, module.path) for module in product if module.lines]
    return [_figure("lines of functions", functions), _figure("lines of files", files)]


def page(path: Path) -> Figure:
    """How long a page is. Raises OSError where it is missing."""
    return Figure(name=f"lines of {path.name}", value=len(path.read_text(encoding="utf-8").splitlines()))


def _figure(name: str, found: Sequence[tuple[int, str]]) -> Figure:
    ordered = sorted(length for length, _ in found) or [0]
    at = [ordered[-(-len(ordered) * share // 100) - 1] for share in (50, 90, 100)]
    longest = sorted(found, reverse=True)[:5]
    places = tuple(f"{place}  {length}" for length, place in longest)
    return Figure(name=f"{name}: median / p90 / most", value=tuple(at), places=places)
