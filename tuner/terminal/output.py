"""The only way to standard output and error. It shows foreign text and never interprets it.

A class name, path or reason may hold markup, terminal escapes or bidirectional overrides. No string is markup here:
styles are arguments. Characters that are not printable are written as escapes, such as \\x1b. A test finds every print
that bypasses this file.
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
UNCUT_WIDTH = 400  # columns of a pipe, a log or a file, where no line may be cut


class Stream(Protocol):
    """A text stream."""

    def write(self, text: str, /) -> object: ...
    def flush(self) -> None: ...


def say(text: object, *, to: Stream | None = None, err: bool = False) -> None:
    """Writes one line and flushes it: a reader may be waiting at the other end of a pipe."""
    _write_line(terminal_safe(str(text)), to or (sys.stderr if err else sys.stdout))


def say_json(value: Any, *, indent: int | None = None) -> None:
    """Writes one JSON document to standard output."""
    _write_line(json_text(value, indent=indent), sys.stdout)


def json_text(value: Any, *, indent: int | None = None) -> str:
    """A JSON document that escapes unprintable characters, and all but ASCII if the output is not UTF-8."""
    encoding = str(getattr(sys.stdout, "encoding", None) or "utf-8")
    ascii_only = codecs.lookup(encoding).name != "utf-8"
    text = json.dumps(value, indent=indent, default=str, ensure_ascii=ascii_only)
    return "\n".join(line if line.isprintable() else _json_escaped(line) for line in text.split("\n"))


def _json_escaped(line: str) -> str:
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in line)


def _write_line(text: str, stream: Stream) -> None:
    stream.write(f"{text}\n")
    stream.flush()


def styled(text: object, style: str = "") -> Text:
    """Text in a style."""
    return Text(terminal_safe(str(text)), style)


def terminal_safe(text: str) -> str:
    """The text with escapes for characters that would break a line or control a terminal."""
    from search_spaces.problems import printable

    return text if text.isprintable() else printable(text)


def screen(*, stderr: bool = False, wide: bool = False) -> Console:
    """The console for tables; with `wide` it cuts no line unless it is a terminal."""
    console = PlainConsole(stderr=stderr)
    return PlainConsole(stderr=stderr, width=UNCUT_WIDTH) if wide and not console.is_terminal else console


class PlainConsole(Console):
    """A console that prints strings as text, without markup, emoji codes, highlighting or terminal escapes."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Like rich's, but escapes the text before it is measured."""
        return super().render_str(terminal_safe(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Like rich's, but also escapes text that was not drawn from a string."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control or text.isprintable() else _printable_segment(text, style)


def _printable_segment(text: str, style: Style | None) -> Segment:
    return Segment("\n".join(map(terminal_safe, text.split("\n"))), style)


def take_over_output() -> None:
    """Sends this process's warnings, log lines and tracebacks the same way, escapes characters that the encoding lacks,
    and ignores invalid terminal sizes."""
    logging.lastResort = _LogLines(logging.WARNING)
    warnings.formatwarning = _warning
    sys.excepthook = _defect
    for name in ("COLUMNS", "LINES"):
        if not _SIZE.fullmatch(os.environ.get(name, "1")):
            del os.environ[name]  # rich accepts any digits, even none or five thousand of them
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


class _LogLines(logging.Handler):
    """The handler of log records that no other handler takes."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage(), err=True)


def _warning(message: object, category: type[Warning], filename: str, lineno: int, line: str | None = None) -> str:  # noqa: ARG001
    return terminal_safe(f"{filename}:{lineno}: {category.__name__}: {message}") + "\n"


def _defect(kind: type[BaseException], error: BaseException, at: TracebackType | None) -> None:
    for line in "".join(traceback.format_exception(kind, error, at)).rstrip("\n").split("\n"):
        say(line, err=True)
