"""Chooses the folder of Ray's objects: shared memory, else the scratch folder.

Ray itself falls back to another folder only if /dev/shm is too small. If it is read-only, Ray's server dies.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from tuner.errors import UnreachableError

OBJECT_STORE = 100 * 2**20  # bytes; Ray's messages here are small
_SHM = Path("/dev/shm")


def object_store_folder(scratch: Path, *, shared: Path = _SHM) -> Path:
    """The first of both folders that can hold Ray's objects. Raises UnreachableError if neither can."""
    reasons = []
    for folder in (shared, scratch):
        reason = _unusable(folder)
        if reason is None:
            return folder
        reasons.append(f"{folder} {reason}")
    raise UnreachableError(
        f"Ray needs {OBJECT_STORE // 2**20} MiB for its objects, but {' and '.join(reasons)}; make space, mount "
        "/dev/shm writable (of a container: --shm-size=1g), or name another folder with TMPDIR"
    )


def _unusable(folder: Path) -> str | None:
    """Why the folder cannot hold Ray's objects; None if it can."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            about = os.statvfs(folder)
    except OSError as error:
        return f"cannot be written ({error.strerror})"
    free = about.f_bavail * about.f_frsize
    return None if free >= OBJECT_STORE else f"has only {free // 2**20} MiB left"
