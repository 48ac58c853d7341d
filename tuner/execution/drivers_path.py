"""Workers import modules from where the driver does."""

from __future__ import annotations

import sys
from pathlib import Path

from ray.job_config import JobConfig


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
