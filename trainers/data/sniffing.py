"""What kind of file it is, by its first bytes; a name can say anything."""

from __future__ import annotations

import csv
import re
import zipfile
from pathlib import Path, PurePosixPath
from typing import Literal

from trainers.data.image_files import is_image_name
from trainers.errors import DataError

Kind = Literal["parquet", "npz", "npy", "image", "table", "list", "text", "archive", "pointer", "empty", "other"]

_HEAD = 2**16  # bytes
_ROWS = 20
_STARTS: tuple[tuple[bytes, Kind], ...] = (
    (b"PAR1", "parquet"), (b"\x93NUMPY", "npy"), (b"version https://git-lfs", "pointer"),
    (b"\xff\xd8\xff", "image"), (b"\x89PNG\r\n", "image"), (b"GIF8", "image"), (b"BM", "image"),
    (b"II*\0", "image"), (b"MM\0*", "image"),
    (b"\x1f\x8b", "archive"), (b"7z\xbc\xaf", "archive"), (b"Rar!", "archive"), (b"BZh", "archive"),
    (b"\xfd7zXZ", "archive"),
)  # fmt: skip
_DELIMITERS = ",;\t|"


def kind_of(path: Path) -> Kind:
    """The kind of a file. Raises DataError if it cannot be read."""
    head = _head(path)
    if not head:
        return "empty"
    if head.startswith(b"PK\x03\x04"):
        return _kind_of_zip(path)
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image"
    if head[257:262] == b"ustar":
        return "archive"
    known = next(
        (kind for start, kind in _STARTS if head.startswith(start) and (kind != "image" or b"\0" in head)), None
    )
    return known or _kind_of_text(head)


def first_rows(path: Path) -> list[list[str]]:
    """The header and the first rows of a table, cells without spaces around them."""
    return _rows(_lines(_head(path)) or [])


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error


def _kind_of_zip(path: Path) -> Kind:
    try:
        with zipfile.ZipFile(path) as archive:
            return "npz" if any(name.endswith(".npy") for name in archive.namelist()) else "archive"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "archive"  # its reader says what is wrong with it


def _kind_of_text(head: bytes) -> Kind:
    lines = _lines(head)
    if lines is None:
        return "other"
    if lines and all(map(_is_list_line, lines)):
        return "list"
    rows = _rows(lines)
    if len(rows) >= 2 and len(rows[0]) >= 2 and len(rows[1]) == len(rows[0]):
        return "table"
    return "text"


def _lines(head: bytes) -> list[str] | None:
    """The first lines that are not empty; None if the bytes are no text."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = head.decode("utf-16", errors="replace")
    elif b"\0" in head:
        return None
    else:
        text = head.decode("utf-8-sig", errors="surrogateescape")
    lines = text.splitlines()
    whole = lines if len(head) < _HEAD else lines[:-1]
    return [line for line in whole if line.strip()][: _ROWS + 1]


def _is_list_line(line: str) -> bool:
    words = re.split(r"\s+(?=\S+\s*$)", line.strip(), maxsplit=1)
    return len(words) == 2 and is_image_name(PurePosixPath(words[0]).name) and not is_image_name(words[1])


def _rows(lines: list[str]) -> list[list[str]]:
    if not lines:
        return []
    delimiter = max(_DELIMITERS, key=lines[0].count)
    try:
        return [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=delimiter)]
    except csv.Error:
        return []
