"""Top-level names that more than one file defines.

Counted: functions, classes and constants of the four packages, each name once. Not counted: `main`, names with two
underscores at both ends, type variables, loggers, names bound by an import, and what alembic demands of a migration.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from benchmarks.structure.source import Figure, Module, executed

MAKERS = frozenset({"TypeVar", "ParamSpec", "TypeVarTuple", "getLogger"})
ALEMBIC = frozenset({"revision", "down_revision", "branch_labels", "depends_on", "upgrade", "downgrade"})


def figures(product: Sequence[Module]) -> list[Figure]:
    """How many names have two homes or more, and which homes; then the same without constants."""
    homes: dict[str, dict[str, None]] = {}
    constants = set[str]()
    for module in product:
        for name, constant in _defined(module):
            homes.setdefault(name, {})[module.path] = None
            constants |= {name} if constant else set()
    several = {name: f"{name}  {', '.join(paths)}" for name, paths in sorted(homes.items()) if len(paths) > 1}
    made = several.keys() - constants
    return [
        Figure(name="top-level names defined in more than one file", value=len(several), places=(*several.values(),)),
        Figure(name="of them functions and classes alone", value=len(made)),
    ]


def _defined(module: Module) -> Iterator[tuple[str, bool]]:
    """Each name, and whether it is a constant."""
    demanded = ALEMBIC if "/migrations/" in f"/{module.path}" else frozenset()
    for statement in executed(module.tree.body):
        for name in _bound(statement):
            if name not in demanded and name != "main" and not (name.startswith("__") and name.endswith("__")):
                yield name, isinstance(statement, ast.Assign | ast.AnnAssign)


def _bound(statement: ast.stmt) -> list[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [statement.name]
    if isinstance(statement, ast.Assign | ast.AnnAssign) and not _made_by(statement.value):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = [node for target in targets for node in ast.walk(target)]
        return [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    return []


def _made_by(value: ast.expr | None) -> bool:
    if not isinstance(value, ast.Call):
        return False
    return ast.unparse(value.func).rpartition(".")[2] in MAKERS
