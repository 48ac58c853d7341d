"""Circles among modules, and arrows that run upwards between packages.

A circle is a group of modules that import one another, directly or by way of others, when they are imported; an import
inside a function or below `if TYPE_CHECKING` closes no circle. `from package import name` is an import of the module
`package.name` where there is one. An arrow upwards is any import, wherever it stands, that the list below does not
allow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence

from benchmarks.structure.source import PACKAGES, Figure, Module, executed

VOCABULARY = ("trainers.config", "trainers.errors", "trainers.results")  # the standard library alone
MAY_IMPORT = {
    "tuner": ("studies", "trainers", "search_spaces"),
    "studies": ("search_spaces", *VOCABULARY),
    "search_spaces": VOCABULARY,
    "trainers": (),
}


def figures(product: Sequence[Module]) -> list[Figure]:
    """The circles, and the arrows upwards."""
    known = {module.name for module in product}
    graph = {module.name: _when_imported(module, known) for module in product}
    circles = [" -> ".join(circle) for circle in _circles(graph)]
    arrows = [
        module.place(node, target)
        for module in product
        for node, target in _upwards(module, known, ast.walk(module.tree))
    ]
    return [
        Figure(name="import circles among modules", value=len(circles), places=tuple(circles)),
        Figure(name="arrows upwards between packages", value=len(arrows), places=tuple(arrows)),
    ]


def _upwards(module: Module, known: set[str], nodes: Iterator[ast.AST]) -> Iterator[tuple[ast.AST, str]]:
    home = module.name.partition(".")[0]
    for node in nodes:
        for target in _targets(node, known, module):
            package = target.partition(".")[0]
            allowed = any(f"{target}.".startswith(f"{one}.") for one in MAY_IMPORT[home])
            if package in PACKAGES and package != home and not allowed:
                yield node, target


def _when_imported(module: Module, known: set[str]) -> set[str]:
    found = {target for node in executed(module.tree.body) for target in _targets(node, known, module)}
    return (found & known) - {module.name}


def _targets(node: ast.AST, known: set[str], module: Module) -> list[str]:
    """The dotted names of the modules that a statement imports."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    source = _absolute(node, module)
    inside = [f"{source}.{alias.name}" for alias in node.names]
    return [name if name in known else source for name in inside]


def _absolute(node: ast.ImportFrom, module: Module) -> str:
    if not node.level:
        return node.module or ""
    up = module.folder.replace("/", ".").split(".")
    return ".".join([*up[: len(up) - node.level + 1], *([node.module] if node.module else [])])


def _circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The groups of more than one module, each of which reaches the others."""
    reached = {name: _reached(graph, name) for name in graph}
    groups = {tuple(sorted(two for two in reached[one] if one in reached[two])) for one in graph}
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reached(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen, waiting = set[str](), [start]
    while waiting:
        new = graph[waiting.pop()] - seen
        seen |= new
        waiting += new
    return seen
