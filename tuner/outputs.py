"""Writes output files atomically, and refuses to replace anything but a plain file."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import UsageError

_DATABASES = (b"SQLite format 3\0", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83")  # the last two begin a write-ahead log
_LINKS = 40  # links in a row that the kernel follows


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yields a draft path in a temporary folder beside `target`. On success each file there is renamed into place; on
    an error nothing changes.

    Raises UsageError if a device, pipe, socket, folder or database is in the way, OSError if writing fails.
    """
    refuse_special(target)
    with _named_after(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tuner-", dir=target.parent) as folder:
            draft = Path(folder) / target.name
            yield draft
            written = [file for file in sorted(draft.parent.rglob("*")) if file.is_file()]
            places = {file: target.parent / file.relative_to(draft.parent) for file in written}
            for place in places.values():
                refuse_special(place)
                place.parent.mkdir(parents=True, exist_ok=True)
            for file, place in places.items():
                _move_into_place(file, place)


def refuse_special(target: Path) -> None:
    """Raises UsageError unless `target` is a plain file or absent, and no database; follows links."""
    for step in _way(target):
        if step.name in ("", "-", "..") or Path("/proc") in step.parents:
            raise UsageError(f"{target}: output goes to a file; give the file's name")
    try:
        mode = target.stat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        raise UsageError(f"{target} is a folder; give the file to write, such as {target / 'out'}")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{target} is a device, a pipe or a socket; output goes to a file, so give another name")
    with target.open("rb") as file:
        if file.read(16).startswith(_DATABASES):
            raise UsageError(f"{target} is a database, which may hold studies; give another name")


def _way(target: Path) -> Iterator[Path]:
    """The path itself, then each target of its chain of links."""
    for _ in range(_LINKS):
        target = Path(os.path.realpath(target.parent)) / target.name
        yield target
        if not target.is_symlink():
            return
        target = target.parent / target.readlink()


@contextlib.contextmanager
def _named_after(target: Path) -> Iterator[None]:
    """Makes errors name `target` instead of the draft."""
    try:
        yield
    except OSError as error:
        if error.filename is None or ".tuner-" not in str(error.filename):
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error


def _move_into_place(draft: Path, place: Path) -> None:
    """Moves a file to the target of the links at `place`, with the mode of the file that it replaces."""
    real = Path(os.path.realpath(place))
    if real.exists():
        shutil.copymode(real, draft)
    if draft.stat().st_dev != real.parent.stat().st_dev:
        with tempfile.TemporaryDirectory(prefix=".tuner-", dir=real.parent) as folder:
            _move_into_place(Path(shutil.copy(draft, folder)), real)
        return
    draft.replace(real)
