"""Places where a test reaches for a private name of the four packages.

Counted: `thing._name`, an import of `_name`, and a private attribute that is named by a string, as
`monkeypatch.setattr(thing, "_name", ...)` and `setattr("tuner.launch._search", ...)` do; where the packages define
`_name`, as a function, a class, a variable or an attribute of `self`. So what other libraries hide (`study._storage`)
is left out; `ELSEWHERE` has such names that the packages happen to have as well. Not counted either: names with two
underscores, `_replace`, `_asdict`, `_fields`, what a test's own `self` and `cls` have, and what belongs to a module
that is imported from elsewhere (`os._exit`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from benchmarks.structure.source import PACKAGES, Figure, Module

OF_TUPLES = frozenset({"_replace", "_asdict", "_fields"})
ELSEWHERE = frozenset({"_study_id", "_iterator"})  # of Optuna's studies, of torch's loaders
SETTERS = frozenset({"setattr", "delattr", "getattr", "patch", "object"})


def figure(tests: Sequence[Module], product: Sequence[Module]) -> Figure:
    """All private accesses of `tests` to what `product` defines."""
    ours = {name for module in product for node in ast.walk(module.tree) for name in _defined(node)}
    found = [(module, node, words) for module in tests for node, words in _accesses(module.tree)]
    places = [module.place(node, words) for module, node, words in found if _reaches(words, ours)]
    return Figure(name="private accesses in tests", value=len(places), places=tuple(places))


def _reaches(words: str, ours: set[str]) -> bool:
    parts = set(words.split("."))
    return bool(parts & ours) and not parts & ELSEWHERE


def _accesses(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    foreign = {"self", "cls", *_foreign(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _private(node.attr) and _root(node.value) not in foreign:
            yield node, ast.unparse(node)
        elif isinstance(node, ast.ImportFrom) and _ours(node.module):
            yield from ((node, alias.name) for alias in node.names if _private(alias.name))
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in SETTERS:
            named = _named(node)
            if named and not (node.args and _root(node.args[0]) in foreign):
                yield node, named


def _named(call: ast.Call) -> str:
    """The private attribute that one of the first two arguments names by a string; else the empty string."""
    first, second, *_ = [*call.args, None, None]
    match first:
        case ast.Constant(value=str(path)) if _ours(path) and any(map(_private, path.split("."))):
            return path
    match second:
        case ast.Constant(value=str(name)) if _private(name):
            return name
    return ""


def _defined(node: ast.AST) -> Iterator[str]:
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            found = name
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(ast.Name("self"), attr=name, ctx=ast.Store()):
            found = name
        case _:
            return
    if _private(found):
        yield found


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_" and name not in OF_TUPLES


def _ours(path: str | None) -> bool:
    return (path or "").partition(".")[0] in PACKAGES


def _foreign(tree: ast.Module) -> Iterator[str]:
    """Names that an import binds to something of another project."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if not _ours(alias.name):
                    yield (alias.asname or alias.name).partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and not _ours(node.module):
            yield from (alias.asname or alias.name for alias in node.names)


def _root(node: ast.expr) -> str:
    """The name that `a.b(c).d` begins with; the empty string where it begins with something else."""
    while isinstance(node, ast.Attribute | ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
