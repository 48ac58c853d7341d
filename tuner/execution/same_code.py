"""Compares a worker's source code with its driver's."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
from pathlib import Path

PACKAGES = ("tuner", "search_spaces", "trainers", "studies")


@functools.cache
def code_sha256() -> str:
    """Hash of the source files of our packages that this process imports; cached from the first call."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in sorted(spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def difference(drivers: str) -> str | None:
    """Why this worker must not train for a driver with the code hash `drivers`; None if the code is the same."""
    if code_sha256() == drivers:
        return None
    spec = importlib.util.find_spec("trainers")
    folders = ", ".join(spec.submodule_search_locations or ()) if spec else "nowhere"
    return (
        f"a worker has other code than its driver: tuner was changed after the launch began, or the worker imports "
        f"another copy (its trainers: {folders})"
    )
