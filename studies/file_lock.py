"""The lock of a study as a file beside its SQLite database, by `flock`."""

from __future__ import annotations

import errno
import fcntl
import glob
import hashlib
import os
import time
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from studies.errors import StorageUnavailableError
from studies.lock_names import JUST_STARTED, locked, this_driver

_TRIES, _PAUSE = 10, 0.02  # seconds; somebody who asks holds a lock file for a moment
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of a file system that cannot


def lock_file(database: Path, name: str) -> Path:
    """Beside the database, whatever characters the study's name has."""
    safe = quote(name, safe=" ")
    if len(safe) > 100:  # file systems stop at 255 bytes
        safe = f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    real = Path(os.path.realpath(database))  # which a link in a circle leaves to whoever opens it
    return real.with_name(f"{real.name}.{safe}.lock")


def lock_files(database: Path) -> list[Path]:
    """Of all studies of a database that were ever locked."""
    real = Path(os.path.realpath(database))  # which a link in a circle leaves to whoever opens it
    return sorted(real.parent.glob(f"{glob.escape(real.name)}.*.lock"))


class FileLock:
    """A lock on a file. Close it by `release`."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name
        self._file: TextIO | None = None

    def confirm(self) -> None:
        """Takes the lock, or makes sure that its file is still the one that others find."""
        if self._file is None or not _is_at(self._file, self._path):
            before, self._file = self._file, self._take()
            if before is not None:
                before.close()

    def release(self) -> None:
        """Lets go. The file stays: removing it could take a lock from under another driver."""
        if self._file is not None:
            with self._file:
                os.ftruncate(self._file.fileno(), 0)

    def _take(self) -> TextIO:
        while True:
            file = _open_lock(self._path, self._name)
            try:
                if not _flock(file, fcntl.LOCK_EX, self._path, self._name, tries=_TRIES):
                    raise locked(self._name, _says(file))
                _say_who(file.fileno(), this_driver(" "), self._name)
                if _is_at(file, self._path):  # not one that somebody removed meanwhile
                    return file
            except BaseException:
                file.close()
                raise
            file.close()


def _open_lock(path: Path, name: str) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+", encoding="utf-8")
    except OSError as error:
        raise StorageUnavailableError(f"cannot write the lock of study {name!r}: {error}") from error


def file_holder(path: Path, name: str) -> str | None:
    """Who has a lock file. A shared lock for a moment is the way to ask: askers are not in each other's way."""
    try:
        with path.open(encoding="utf-8") as file:
            return None if _flock(file, fcntl.LOCK_SH, path, name) else _says(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailableError(f"cannot read the lock of study {name!r}: {error}") from error


def _flock(file: TextIO, kind: int, path: Path, name: str, *, tries: int = 1) -> bool:
    """Whether the lock was had. Raises StorageUnavailableError on a file system that has none."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            raise StorageUnavailableError(
                f"the file system of {path.parent} has no file locks ({error.strerror}), so nothing would keep a "
                f"second driver from study {name!r}; put the database on a local disk (--home, --storage), or in "
                "PostgreSQL"
            ) from error
        else:
            return True
    return False


def _is_at(file: TextIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def _says(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or JUST_STARTED


def _say_who(descriptor: int, who: str, name: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{who}\n".encode())
    except OSError as error:  # a full disk
        raise StorageUnavailableError(f"cannot write the lock of study {name!r}: {error.strerror}") from error
