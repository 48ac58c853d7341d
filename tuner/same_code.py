"""Workers run the driver's code: they import from the driver's folders, and refuse to train with any other source."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import sys
from pathlib import Path

from ray.job_config import JobConfig

PACKAGES = ("tuner", "search_spaces", "trainers", "studies")


class DriversPath(JobConfig):
    """Ray's settings of a driver, by which its workers search modules where the driver does, in the same order.

    By itself Ray puts the current folder first on the path of its workers: a `trainers/` or `pyarrow.py` that lies
    beside somebody's data would run there, and only there.
    """

    def __init__(self) -> None:
        folders = [str(Path(folder).absolute()) for folder in sys.path]  # "" is the current folder
        super().__init__(_py_driver_sys_path=folders[::-1])  # a worker puts each in front of those before it

    def _runtime_env_has_working_dir(self) -> bool:
        """True keeps Ray from adding the current folder and the script's."""
        return True


@functools.cache
def code_sha256() -> str:
    """Hash of the source files of our packages, as this process imports them; the first look counts."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        for folder in sorted(spec.submodule_search_locations or ()) if spec else ():
            for path in sorted(Path(folder).rglob("*.py")):
                digest.update(f"{package}/{path.relative_to(folder)}\n".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def difference(drivers: str) -> str | None:
    """Why this worker must not train for a driver whose code has the hash `drivers`; None if the code is the same."""
    if code_sha256() == drivers:
        return None
    spec = importlib.util.find_spec("trainers")
    folders = ", ".join(spec.submodule_search_locations or ()) if spec else "nowhere"
    return (
        f"a worker has other code than its driver: tuner was changed after the launch began, or the worker imports "
        f"another copy (its trainers: {folders})"
    )
