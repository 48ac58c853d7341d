"""Makes workers import modules from the driver's folders."""

from __future__ import annotations

import sys
from pathlib import Path

from ray.job_config import JobConfig


class DriversPath(JobConfig):
    """Ray's job settings with the driver's module path, in the same order.

    By default Ray puts the current folder first on its workers' path. A `trainers/` or `pyarrow.py` beside the user's
    data would then run in the workers.
    """

    def __init__(self) -> None:
        folders = [str(Path(folder).absolute()) for folder in sys.path]  # "" is the current folder
        super().__init__(_py_driver_sys_path=folders[::-1])  # a worker prepends them one by one

    def _runtime_env_has_working_dir(self) -> bool:
        """True keeps Ray from adding the current folder and the script's."""
        return True
