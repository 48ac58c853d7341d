"""Text files as people's programs save them: with a byte-order mark, in UTF-16, or in Windows' own encoding."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from pathlib import Path

from trainers.errors import DataError

_MARKS = (  # the longer mark first: that of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_WINDOWS = "cp1252"


@dataclass(frozen=True)
class DecodedText:
    """The lines of a file without their ends, and what must be told about its encoding."""

    lines: tuple[str, ...]
    notes: tuple[str, ...] = ()


def read_text(path: Path) -> DecodedText:
    """Reads UTF-8, any UTF with a byte-order mark, and else Windows-1252, which is told. Raises DataError."""
    data = read_bytes(path)
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return DecodedText(_lines(data.decode(encoding), path))
    except UnicodeDecodeError as error:
        if encoding != "utf-8":
            raise DataError(f"{path}: not readable as {encoding.upper()} ({error}); save it as UTF-8") from error
    try:
        note = f"{path.name} is not UTF-8; it was read as Windows text (cp1252)"
        return DecodedText(_lines(data.decode(_WINDOWS), path), (note,))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not readable as UTF-8, nor as cp1252 ({error}); save it as UTF-8") from error


def read_raw_text(path: Path) -> DecodedText | None:
    """The same with bytes that are not UTF-8 kept as they are, as names of files on Linux may have them.

    None if the file has a byte-order mark or is UTF-8, for `read_text`. Raises DataError.
    """
    data = read_bytes(path)
    if any(data.startswith(mark) for mark, _ in _MARKS):
        return None
    try:
        data.decode()
    except UnicodeDecodeError:
        return DecodedText(_lines(data.decode(errors="surrogateescape"), path))
    return None


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises DataError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def _lines(text: str, path: Path) -> tuple[str, ...]:
    if "\0" in text:
        raise DataError(f"{path}: it holds NUL characters, as UTF-16 without a byte-order mark does; save it as UTF-8")
    return tuple(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
