"""YAML text -> plain values with their positions.

ruamel only scans and parses. Nothing is constructed, so a file can neither create objects nor expand aliases.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from search_spaces.problems import Problem, SpaceError, printable, shortened, shown
from search_spaces.scalars import scalar
from trainers.config import Scalar

MAX_BYTES = 256 * 1024  # a space is a page of text
MAX_DEPTH = 16  # a space needs 5: stage2 / maxnorm_radius / when / name / list
MAX_VALUES = 2_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A place; line and column count from 1, and are None if the text is not a file."""

    file: str
    line: int | None = None
    column: int | None = None

    def problem(self, key: str, message: str) -> Problem:
        """A problem with `key` at this place."""
        key = shortened(printable(key))
        return Problem(file=self.file, line=self.line, column=self.column, key=key, message=message)


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """One key of a mapping and its value."""

    mark: Mark
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar, a list or a mapping, and its start."""

    value: Scalar | list[Node] | dict[str, MappingEntry]
    mark: Mark

    def plain(self) -> Any:
        """The values without their places."""
        if isinstance(self.value, dict):
            return {key: entry.node.plain() for key, entry in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    @property
    def entries(self) -> dict[str, MappingEntry]:
        """The entries of a mapping; empty for other nodes."""
        return self.value if isinstance(self.value, dict) else {}

    def child(self, key: str) -> Node | None:
        """The value of `key`, or None."""
        entry = self.entries.get(key)
        return entry.node if entry else None


def decode_text(data: bytes, *, file: str) -> str:
    """Bytes of a file as text: UTF-8, or UTF-16 with a byte order mark. Raises SpaceError."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start]
        mark = Mark(file, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        name = encoding.removesuffix("-sig").upper()
        raise SpaceError(
            [mark.problem("", f"is not {name} text: byte 0x{data[error.start]:02x}; save it as UTF-8")]
        ) from error


def parse(text: str, *, file: str, positions: bool = True, path: str = "") -> tuple[Node, list[Problem]]:
    """Parses one YAML document. Returns its root and the mistakes after which parsing could continue.

    With `positions=False` every place is only `file`; `path` is the key that the text belongs to. Raises SpaceError
    when parsing had to stop.
    """
    if len(text) > MAX_BYTES:
        message = f"is {len(text):,} characters long, a space has at most {MAX_BYTES:,}"
        raise SpaceError([_first(file, positions).problem("", message)])
    return _Reader(text, file=file, positions=positions).document(path)


class _Reader:
    """One pass over the parser's events."""

    def __init__(self, text: str, *, file: str, positions: bool) -> None:
        self._text = text
        self._file = file
        self._positions = positions
        self._last = _first(file, positions)
        self._values = 0
        self._events = self._checked_events()
        self.problems: list[Problem] = []

    def document(self, path: str) -> tuple[Node, list[Problem]]:
        event = next(self._events)
        while isinstance(event, StreamStartEvent | DocumentStartEvent):
            if isinstance(event, DocumentStartEvent) and (event.version or event.tags):
                self._stop(self._place(0, 0), "", "YAML directives (%) are not allowed")
            event = next(self._events)
        if isinstance(event, StreamEndEvent):
            return Node(None, self._last), self.problems
        root = self._node(event, path=path, depth=0)
        next(self._events)  # the end of the document
        event = next(self._events)
        if not isinstance(event, StreamEndEvent):
            self._stop(self._mark(event), "", "holds a second document (---); a space is one")
        return root, self.problems

    def _node(self, event: Event, *, path: str, depth: int) -> Node:
        mark = self._mark(event)
        self._values += 1
        if depth > MAX_DEPTH:
            self._stop(mark, path, f"is nested deeper than {MAX_DEPTH} levels")
        if self._values > MAX_VALUES:
            self._stop(mark, path, f"is one of more than {MAX_VALUES:,} values; a space has a few dozen")
        if isinstance(event, NodeEvent):
            self._refuse_references(event, mark, path)
        if isinstance(event, MappingStartEvent):
            return Node(self._mapping(path, depth), mark)
        if isinstance(event, SequenceStartEvent):
            return Node(self._sequence(path, depth), mark)
        return Node(self._scalar(event, mark, path) if isinstance(event, ScalarEvent) else None, mark)

    def _mapping(self, path: str, depth: int) -> dict[str, MappingEntry]:
        entries: dict[str, MappingEntry] = {}
        while not isinstance(event := next(self._events), MappingEndEvent):
            key = self._key(event, path, depth)
            inner = f"{path}.{key}" if path and key else key or path
            value = next(self._events)
            node = self._node(value, path=inner, depth=depth + 1)
            if value.start_mark.index == value.end_mark.index:
                node = Node(node.value, self._mark(event))  # an empty value has no position of its own; use its key's
            if key in entries:
                first = entries[key].mark
                where = f" in line {first.line}" if first.line else ""
                self.problems.append(
                    self._mark(event).problem(inner, f"stands twice; the first is{where or ' before it'}")
                )
            elif key is not None:
                entries[key] = MappingEntry(self._mark(event), node)
        return entries

    def _key(self, event: Event, path: str, depth: int) -> str | None:
        """The key as text; None if it has a problem."""
        known = len(self.problems)
        node = self._node(event, path=path, depth=depth + 1)
        if isinstance(event, ScalarEvent):
            return str(event.value) if len(self.problems) == known else None
        if len(self.problems) == known:
            self.problems.append(node.mark.problem(path, f"a key must be a word, but got {shown(node.plain())}"))
        return None

    def _sequence(self, path: str, depth: int) -> list[Node]:
        nodes: list[Node] = []
        while not isinstance(event := next(self._events), SequenceEndEvent):
            nodes.append(self._node(event, path=path, depth=depth + 1))
        return nodes

    def _scalar(self, event: ScalarEvent, mark: Mark, path: str) -> Scalar:
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in event.value):
            self.problems.append(mark.problem(path, f"holds a control character: {shown(event.value)}"))
            return None
        if not event.implicit[0]:  # quoted or block text
            return str(event.value)
        try:
            return scalar(event.value)
        except ValueError as error:
            self.problems.append(mark.problem(path, f"{error}, but got {shortened(event.value)}"))
            return None

    def _refuse_references(self, event: NodeEvent, mark: Mark, path: str) -> None:
        if isinstance(event, AliasEvent):
            self.problems.append(
                mark.problem(path, f"aliases (*{shortened(event.anchor)}) are not allowed; write the value")
            )
        elif event.anchor:
            self.problems.append(
                mark.problem(path, f"anchors (&{shortened(event.anchor)}) are not allowed; write the value")
            )
        tag = getattr(event, "tag", None)
        if tag:
            name = str(tag).replace("tag:yaml.org,2002:", "!!")
            self.problems.append(mark.problem(path, f"tags ({shortened(name)}) are not allowed; write the plain value"))

    def _checked_events(self) -> Iterator[Event]:
        """The parser's events; its errors become problems with places."""
        try:
            for event in YAML(typ="safe", pure=True).parse(self._text):
                self._last = self._mark(event)
                yield event
        except MarkedYAMLError as error:
            at = error.problem_mark or error.context_mark
            mark = self._place(at.line, at.column) if at else self._last
            context = f"{error.context}: " if error.context else ""
            self._stop(mark, "", f"is not valid YAML: {context}{error.problem}")
        except ReaderError as error:
            before = self._text[: error.position]
            mark = self._place(before.count("\n"), error.position - before.rfind("\n") - 1)
            self._stop(
                mark, "", f"is not valid YAML: holds the control character U+{ord(self._text[error.position]):04X}"
            )
        except (YAMLError, ValueError, ArithmeticError) as error:  # the last two come from invalid \U escapes
            self._stop(self._last, "", f"is not valid YAML after this place: {shortened(str(error))}")

    def _stop(self, mark: Mark, path: str, message: str) -> None:
        raise SpaceError([*self.problems, mark.problem(path, printable(" ".join(message.split())))])

    def _mark(self, event: Event) -> Mark:
        return self._place(event.start_mark.line, event.start_mark.column)

    def _place(self, line: int, column: int) -> Mark:
        return Mark(self._file, line + 1, column + 1) if self._positions else Mark(self._file)


def _first(file: str, positions: bool) -> Mark:
    return Mark(file, 1, 1) if positions else Mark(file)
