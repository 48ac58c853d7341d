"""The files of a checkout as syntax trees, and the record of a figure."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PACKAGES = ("tuner", "studies", "trainers", "search_spaces")


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One line of the table: a number, or several, and the places that were counted."""

    name: str
    value: int | tuple[int, ...]
    places: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The number, or the numbers with slashes between them."""
        return " / ".join(map(str, self.value)) if isinstance(self.value, tuple) else str(self.value)


@dataclass(frozen=True)
class Module:
    """One Python file: its path below the root, with slashes, and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """Raises SyntaxError for what is no Python."""
        return ast.parse(self.text, filename=self.path)

    @property
    def folder(self) -> str:
        """The path of the folder that the file lies in."""
        return self.path.rpartition("/")[0]

    @property
    def name(self) -> str:
        """The dotted name; a package goes by its folder's."""
        return self.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    @property
    def lines(self) -> int:
        """How long the file is."""
        return len(self.text.splitlines())

    def place(self, node: ast.AST, words: str = "") -> str:
        """`path:line`, and the words after it."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}" + (f"  {words}" if words else "")


def modules(root: Path, folders: Iterable[str]) -> list[Module]:
    """All Python files below these folders of `root`, sorted. Raises ValueError where there is none."""
    paths = [path for folder in folders for path in sorted((root / folder).rglob("*.py"))]
    if not paths:
        raise ValueError(
            f"{root.resolve()}: no Python file in {', '.join(folders)}; ROOT is a checkout of this project"
        )
    return [Module(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in paths]


def executed(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported, those in `if` and `try` too, `if TYPE_CHECKING` not."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and "TYPE_CHECKING" not in ast.unparse(statement.test):
            yield from executed([*statement.body, *statement.orelse])
        elif isinstance(statement, ast.Try):
            handled = [one for handler in statement.handlers for one in handler.body]
            yield from executed([*statement.body, *handled, *statement.orelse, *statement.finalbody])
