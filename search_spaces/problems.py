"""Problems of a search space, reported all at once.

SpaceError                 one or many problems, each with its place
└── SpaceNotFoundError     there is no such file or shipped space
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_LONGEST_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One mistake: its place, its key, what is wrong and the way out.

    `line` and `column` count from 1; both are None without a text to point at (`--set`, a missing file).
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str

    def __str__(self) -> str:
        file = printable(self.file)
        place = file if self.line is None else f"{file}:{self.line}:{self.column}"
        named = self.key and self.file != f"--set {self.key}"  # there the place already names the key
        return f"{place}: error: {self.key + ': ' if named else ''}{self.message}"


class SpaceError(Exception):
    """A search space cannot be used; `problems` holds every mistake, in the order of the text."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class SpaceNotFoundError(SpaceError):
    """There is no such search space."""


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """Returns `; did you mean 'x'?` for the nearest option, or ""."""
    near = nearest(word, options)
    return f"; did you mean {near!r}?" if near else ""


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option nearest to `word`; None when none is near."""
    found = difflib.get_close_matches(word[:_LONGEST_SHOWN].lower(), list(options), n=1, cutoff=0.6)
    return found[0] if found else None


def shown(value: object) -> str:
    """A value quoted for a message: short, on one line, printable everywhere."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return shortened(repr(value))


def printable(text: str) -> str:
    """The text with line breaks and control characters escaped."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def shortened(text: str) -> str:
    """Shortens a text that is too long for one line of an error."""
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
