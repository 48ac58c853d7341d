"""The file of an SQLite database: made as private as its folder, and checked to be still the one at its path.

SQLite keeps writing to the file that it has open, even after that file is removed or moved, and the results are lost or
end up where nobody looks. So a file is identified by device and inode, which the kernel does not reuse while we hold it
open.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from studies.errors import MovedDatabaseError, StorageUnavailableError

_PRIVATE_FILE, _SHARED_FILE = 0o600, 0o660
_PRIVATE_FOLDER, _SHARED_FOLDER = 0o700, 0o2770


class DatabaseFile:
    """The file that is at a path now, held open until `close`.

    Raises FileNotFoundError, and StorageUnavailableError for a file that cannot be reached or has hard links.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._real = Path(os.path.realpath(path))  # SQLite's log and the study locks are beside this path
        self._log = Path(f"{self._real}-wal")
        try:
            # O_PATH: closing any other descriptor would drop this process's SQLite locks on the file
            self._held = os.open(path, os.O_PATH)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"there is no study database {path}") from None
        except OSError as error:
            raise _unreachable(path, error) from error
        names = os.fstat(self._held).st_nlink
        if names > 1:
            self.close()
            raise StorageUnavailableError(
                f"the study database {self.path} has {names} names (hard links); SQLite keeps a log for each, and "
                "programs that use different names damage it; remove the other names, or, while nothing uses it, "
                "copy it, remove it, and give the copy its name"
            )

    def close(self) -> None:
        """Closes the file."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def confirm(self) -> None:
        """Raises MovedDatabaseError when the path has another file, or none; takes a few microseconds.

        Does nothing after `close`.
        """
        if self._held < 0:
            return
        there, real = found(self.path), found(self._real, links=False)
        if not (self._is(there) and self._is(real)):
            raise MovedDatabaseError(self._story(replaced=there is not None and not self._is(there)))

    def _is(self, other: os.stat_result | None) -> bool:
        return other is not None and os.path.samestat(os.fstat(self._held), other)

    def log(self) -> tuple[int, int] | None:
        """Device and inode of the write-ahead log beside the file now."""
        there = found(self._log)
        return None if there is None else (there.st_dev, there.st_ino)

    def confirm_log(self, opened: tuple[int, int] | None) -> None:
        """Raises MovedDatabaseError when the log is no longer the one that was `opened`."""
        if opened is not None and self.log() != opened:
            raise MovedDatabaseError(
                f"the log of the study database, {self._log}, was removed or replaced while it was in use: what was "
                "written since its last checkpoint may be lost; put it back if you have it, then go on with: "
                "tuner resume STUDY"
            )

    def _story(self, *, replaced: bool) -> str:
        other = ", and another file lies in its place, to which nothing was written" if replaced else ""
        if not os.fstat(self._held).st_nlink:
            return (
                f"the study database {self.path} was removed while it was in use{other}: what it held is lost. If you "
                "have a copy, put it there and go on with: tuner resume STUDY. Otherwise start again with: tuner "
                "launch; backbones that are still in the cache are not trained again"
            )
        return (
            f"the study database {self.path} was moved while it was in use{other}; {_whereabouts(self._held)}. "
            f"Move it back with all that lay beside it ({self._log.name} belongs to it), or, if its whole folder was "
            "moved, name the new one by --home or --storage; then go on with: tuner resume STUDY"
        )


def found(path: Path, *, links: bool = True) -> os.stat_result | None:
    """The stat of a path, following `links` or not; None when nothing is there. Raises StorageUnavailableError."""
    try:
        return path.stat(follow_symlinks=links)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreachable(path, error) from error


def make_folder(folder: Path, *, shared: bool = False) -> None:
    """Makes a folder and its missing parents, for the owner alone or for the group. Raises OSError."""
    if folder.is_dir():
        return
    for above in reversed(folder.parents):
        if not above.is_dir():
            above.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    folder.mkdir(mode=_PRIVATE_FOLDER, exist_ok=True)
    if shared:
        folder.chmod(_SHARED_FOLDER)


def make_file(path: Path) -> int | None:
    """Makes a file, shared only if its folder is, opened for reading and appending; None if it exists already.

    Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    except FileExistsError:
        return None
    if is_shared(path.parent):
        os.fchmod(descriptor, _SHARED_FILE)
    return descriptor


def is_shared(folder: Path) -> bool:
    """True if a folder is meant for a group: the group may write there, and new files inherit it."""
    seen = folder.stat()
    inherited = seen.st_mode & stat.S_ISGID or seen.st_gid == os.getegid()
    return bool(seen.st_mode & stat.S_IWGRP and inherited) and not seen.st_mode & stat.S_ISVTX  # sticky: like /tmp


def _whereabouts(descriptor: int) -> str:
    """Where the file is now according to the kernel, if that can be confirmed."""
    try:
        place = Path(f"/proc/self/fd/{descriptor}").readlink()
        there = found(place)
    except (OSError, StorageUnavailableError):
        there = None
    if there is None or not os.path.samestat(os.fstat(descriptor), there):
        return "where it lies now is not known"
    return f"it lies at {place} now, with all that was finished"


def _unreachable(path: Path, error: OSError) -> StorageUnavailableError:
    return StorageUnavailableError(f"the study database {path} cannot be reached: {error.strerror}")
