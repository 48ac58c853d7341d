"""A suggested space as YAML with its reasons as comments, loaded once before it is handed out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from search_spaces import loads
from search_spaces.canonical import dump
from search_spaces.document import parse
from search_spaces.overrides import override
from search_spaces.problems import SpaceError, printable
from search_spaces.schema import STUDY_NAME

_ON_ONE_LINE = ("sampler", "refine", "confirm")
_COLUMN, _WIDTH = 46, 120  # of comments; as in the shipped spaces


def space_text(
    tree: Mapping[str, Any], comments: Mapping[str, str], overrides: Sequence[str], *, head: Sequence[str]
) -> str:
    """The text of the file. Raises SpaceError with every problem of the overrides."""
    root, found = parse(dump(dict(tree)), file="<suggested>")
    for assignment in overrides:
        found += override(root, assignment)
    if found:
        raise SpaceError(found)
    changed = root.plain()
    kept = {key: words for key, words in comments.items() if _at(changed, key) == _at(tree, key)}
    kept |= {key: "by --set" for key in _leaves(changed) if _at(changed, key) != _at(tree, key)}
    text = "".join(f"# {printable(line)}".rstrip() + "\n" for line in head) + "\n".join(_lines(changed, kept)) + "\n"
    loads(text)
    return text


def study_name(file: Path) -> str:
    """A study's name after the file, or `own_data`."""
    return file.stem if re.fullmatch(STUDY_NAME, file.stem) else "own_data"


def _lines(tree: Mapping[str, Any], comments: Mapping[str, str]) -> Iterator[str]:
    for key, value in tree.items():
        if not isinstance(value, dict) or key in _ON_ONE_LINE:
            yield from _commented(dump({"": {key: value}}).splitlines()[1].strip(), comments.get(key, ""))
            continue
        yield f"{key}:"
        for name, inner in value.items():
            line = dump({key: {name: inner}}).splitlines()[1]
            yield from _commented(line, comments.get(f"{key}.{name}", ""))


def _commented(line: str, words: str) -> Iterator[str]:
    """A line with its comment behind it, or above it if there is no room."""
    if not words:
        yield line
    elif len(line) < _COLUMN and _COLUMN + 2 + len(words) <= _WIDTH:
        yield f"{line:<{_COLUMN}}# {printable(words)}"
    else:
        indent = line[: len(line) - len(line.lstrip())]
        yield from (f"{indent}# {part}" for part in wrap(printable(words), _WIDTH - len(indent) - 2))
        yield line


def _leaves(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in tree.items():
        yield from (f"{key}.{name}" for name in value) if isinstance(value, dict) else (key,)


def _at(tree: Mapping[str, Any], dotted: str) -> Any:
    key, _, name = dotted.partition(".")
    inner = tree.get(key)
    return inner.get(name) if name and isinstance(inner, dict) else inner
