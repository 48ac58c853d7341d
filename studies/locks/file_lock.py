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

from studies.errors import MovedDatabaseError, StorageUnavailableError
from studies.locks.names import JUST_STARTED, locked, this_driver
from studies.sql.database_file import found, make_file, make_folder

_TRIES, _PAUSE_BETWEEN_TRIES = 10, 0.02  # seconds; `file_holder` holds a shared lock for a moment
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)  # of file systems without locks


def lock_file(database: Path, name: str) -> Path:
    """The lock file beside the database, whatever characters the study's name contains."""
    safe = quote(name, safe=" ")
    if len(safe) > 100:  # file systems stop at 255 bytes
        safe = f"{safe[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    real = Path(os.path.realpath(database))
    return real.with_name(f"{real.name}.{safe}.lock")


def lock_files(database: Path) -> list[Path]:
    """Lock files of every study of a database that was ever locked."""
    real = Path(os.path.realpath(database))
    return sorted(real.parent.glob(f"{glob.escape(real.name)}.*.lock"))


class FileLock:
    """A lock on a file. Close it with `release`.

    A driver whose lock file was removed or replaced stops. It makes no new file: another driver may have started,
    written and ended meanwhile.
    """

    def __init__(self, database: Path, name: str) -> None:
        self._database, self._name = database.absolute(), name
        self._path = lock_file(database, name)
        self._file: TextIO | None = None

    def confirm(self) -> None:
        """Acquires the lock, or makes sure that its file is still the one at its path."""
        if self._file is None:
            self._path, self._file = self._take()
        self._check(lock_file(self._database, self._name))

    def check(self) -> None:
        """Makes sure of the same without following the links of the database's path again."""
        self._check(self._path)

    def _check(self, path: Path) -> None:
        if self._file is None or _is_at(self._file, path):
            return
        holder = file_holder(path, self._name)
        if holder is not None:
            raise locked(self._name, holder)
        raise MovedDatabaseError(
            f"the lock of study {self._name!r}, {path}, was removed or moved while its driver was at work, so that "
            f"another one may have begun; nothing more was written. Go on with: tuner resume {self._name}"
        )

    def release(self) -> None:
        """Frees the lock. The file stays: another driver may hold it already."""
        if self._file is not None:
            with self._file:
                os.ftruncate(self._file.fileno(), 0)

    def _take(self) -> tuple[Path, TextIO]:
        while True:
            path = lock_file(self._database, self._name)
            file = _open_lock(path, self._name)
            try:
                if not _flock(file, fcntl.LOCK_EX, path, self._name, tries=_TRIES):
                    raise locked(self._name, _says(file))
                _say_who(file.fileno(), this_driver(" "), self._name)
                if _is_at(file, path):  # the file may have been removed meanwhile
                    return path, file
            except BaseException:
                file.close()
                raise
            file.close()


def _open_lock(path: Path, name: str) -> TextIO:
    """Opens the lock file for reading and writing: `flock` on NFS needs both."""
    try:
        make_folder(path.parent)
        made = make_file(path)
        return os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND) if made is None else made, "a+", encoding="utf-8")
    except OSError as error:
        raise StorageUnavailableError(f"cannot write the lock of study {name!r}: {error}") from error


def file_holder(path: Path, name: str) -> str | None:
    """The holder of a lock file; None when it is free. Tries a shared lock, so that queries do not block each other."""
    try:
        with path.open(encoding="utf-8") as file:
            return None if _flock(file, fcntl.LOCK_SH, path, name) else _says(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageUnavailableError(f"cannot read the lock of study {name!r}: {error}") from error


def _flock(file: TextIO, kind: int, path: Path, name: str, *, tries: int = 1) -> bool:
    """True if the lock was acquired. Raises StorageUnavailableError on a file system without locks."""
    for left in reversed(range(tries)):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if left:
                time.sleep(_PAUSE_BETWEEN_TRIES)
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
    there = found(path)
    return there is not None and os.path.samestat(os.fstat(file.fileno()), there)


def _says(file: TextIO) -> str:
    file.seek(0)
    return file.read().strip() or JUST_STARTED


def _say_who(descriptor: int, who: str, name: str) -> None:
    try:
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{who}\n".encode())
    except OSError as error:  # a full disk
        raise StorageUnavailableError(f"cannot write the lock of study {name!r}: {error.strerror}") from error
