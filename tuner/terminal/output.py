"""The only way to standard output and error: text that is not ours is shown there, never obeyed.

A class name, path or reason may hold markup, terminal escapes or bidirectional overrides. No string is markup here:
styles are arguments. Whatever is not printable is written as an escape, such as \\x1b. A test finds every print that
goes another way.
"""

from __future__ import annotations

import codecs
import json
import logging
import os
import re
import sys
import traceback
import warnings
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

_SIZE = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
WIDE = 400  # columns where no line may be cut: in a pipe, a log or a file


class Stream(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


def say(text: object, *, to: Stream | None = None, err: bool = False) -> None:
    """Writes one line, at once: a reader may be waiting at the other end of a pipe."""
    _write(printable(str(text)), to or (sys.stderr if err else sys.stdout))


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Writes one JSON document to standard output."""
    _write(json_text(value, indent=indent), sys.stdout)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A JSON document in which whatever is not printable is escaped, and all but ASCII where output is not UTF-8."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8")
    ascii_only = codecs.lookup(encoding).name != "utf-8"
    text = json.dumps(value, indent=indent, default=str, ensure_ascii=ascii_only)
    return "\n".join(line if line.isprintable() else _json_escaped(line) for line in text.split("\n"))


def _json_escaped(line: str) -> str:
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


def _write(text: str, stream: Stream) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def styled(text: object, style: str = "") -> Text:
    """A part of a line in a style."""
    return Text(printable(str(text)), style)


def printable(text: str) -> str:
    """The text with escapes for what would break a line or steer a terminal."""
    from search_spaces.problems import printable as escaped

    return text if text.isprintable() else escaped(text)


def screen(*, stderr: bool = False, wide: bool = False) -> Console:
    """Where tables are drawn; a `wide` one cuts no line where it is not a terminal."""
    console = PlainConsole(stderr=stderr)
    return PlainConsole(stderr=stderr, width=WIDE) if wide and not console.is_terminal else console


class PlainConsole(Console):
    """A console to which strings are text: no markup, no emoji codes, nothing highlighted, no escape obeyed."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """As of any console; escapes before the text is measured."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As of any console; the last look at what was drawn by other means than a string."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or text.isprintable() else _plain(text, style)


def _plain(text: str, style: Style | None) -> Segment:
    return Segment("\n".join(map(printable, text.split("\n"))), style)


def take_over() -> None:
    """Sends warnings, log lines and tracebacks of this process the same way; what an encoding lacks is escaped, and a
    size of the terminal that cannot be is none."""
    logging.lastResort = _LogLines(logging.WARNING)
    warnings.formatwarning = _warning
    sys.excepthook = _defect
    for name in ("COLUMNS", "LINES"):
        if not _SIZE.fullmatch(os.environ.get(name, "1")):
            del os.environ[name]  # rich reads any digits, also none at all and five thousand
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class _LogLines(logging.Handler):
    """What is logged and nobody else listens to."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), err=True)


def _warning(message: object, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:  # noqa: ARG001
    return printable(f"{filename}:{lineno}: {category.__name__}: {message}") + "\n"


def _defect(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    for line in "".join(traceback.format_exception(kind, error, at)).rstrip("\n").split("\n"):
        say(line, err=True)
