"""A private Ray on this machine: loopback only, token authentication, no usage statistics, removed at the end."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tuner.errors import UnreachableError, UsageError
from tuner.execution.liveness import start_watched, use_watched
from tuner.execution.shared_memory import OBJECT_STORE, object_store_folder

_PREFIX, _OWNER, SIGN = "tuner-", "owner", "tuner's scratch folder, of process"
LONGEST = 39  # bytes of the scratch folder's path: a socket's path may have 107, and Ray adds up to 68
YOUNG = 1.0  # seconds

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_worker_niceness": "0",  # Ray's default of 15 starves the workers beside other processes
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # makes Ray use the loopback address on any system
    "RAY_AUTH_MODE": "token",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_FORCE_TRIAL_CLEANUP_S": "60",
}


@contextlib.contextmanager
def ray_session(*, cpus: int, gpus: int) -> Iterator[Path]:
    """Starts Ray with these resources; yields a scratch folder for Tune. Both end with the block.

    It ends only its own processes: never call `ray stop`, which ends every Ray process of the machine.
    """
    os.environ.update(_QUIET)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    import ray

    from tuner.execution.drivers_path import DriversPath

    with scratch_folder() as scratch, contextlib.ExitStack() as last:
        last.callback(sweep_scratch)  # again: processes of dead drivers may have been writing the first time
        last.enter_context(use_watched())
        last.callback(ray.shutdown)
        plasma = object_store_folder(scratch)
        try:
            with start_watched():
                ray.init(
                    address="local",  # never join a cluster that runs here
                    num_cpus=cpus,
                    num_gpus=gpus,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=OBJECT_STORE,
                    _plasma_directory=str(plasma),
                    job_config=DriversPath(),
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(scratch / "ray"),
                )
        except Exception as error:  # Ray raises various errors when one of its processes does not start
            raise UnreachableError(f"Ray did not start ({_first_line(error)}); give the same command again") from error
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        logging.getLogger("ray").setLevel(logging.CRITICAL)
        yield scratch / "tune"


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder that this process locks while it lives, and removes at the end.

    Raises UsageError if its path is too long for Ray's sockets.
    """
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        if len(os.fsencode(folder)) > LONGEST:
            raise UsageError(
                f"the temporary folder is too deep for Ray's sockets ({folder}, more than {LONGEST} bytes); name a "
                "shorter one, e.g. TMPDIR=/tmp"
            )
        with (folder / _OWNER).open("w", encoding="ascii") as owner:
            fcntl.flock(owner, fcntl.LOCK_EX)
            owner.write(f"{SIGN} {os.getpid()}\n")
            owner.flush()
            yield folder
    finally:
        _remove(folder)


def sweep_scratch() -> list[Path]:
    """Removes the scratch folders of killed drivers, whose locks the kernel has released; returns them.

    A folder must have the right name, belong to this user, be no link, and hold a signed owner's file. A dying Ray
    makes its folder anew, so a folder that holds only Ray's sessions counts too.
    """
    named = Path(tempfile.gettempdir()).glob(f"{_PREFIX}????????")  # as tempfile makes them
    left = [folder for folder in named if _is_ours(folder) and _is_left(folder / _OWNER)]
    for folder in left:
        with contextlib.suppress(FileNotFoundError):  # another driver removed it first
            _remove(folder)
    return left


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _is_ours(folder: Path) -> bool:
    try:
        about = folder.lstat()
        if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid():
            return False
        owner = folder / _OWNER
        if owner.exists():
            return owner.read_text(encoding="utf-8", errors="replace").startswith(f"{SIGN} ")
        inside = [*folder.iterdir()]
        return [path.name for path in inside] == ["ray"] and all(
            path.name.startswith("session_") for path in inside[0].iterdir()
        )
    except OSError:  # it is gone, or cannot be read
        return False


def _remove(folder: Path) -> None:
    """Removes the folder. While Ray's last processes still write there, its owner's file stays for the next sweep."""
    for entry in folder.iterdir():
        if entry.name != _OWNER:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
    if not any(entry.name != _OWNER for entry in folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)


def _is_left(owner: Path) -> bool:
    try:
        if time.time() - owner.stat().st_mtime < YOUNG:  # its driver may be about to lock it
            return False
        with owner.open("r+b") as file:  # NFS needs a file open for writing for an exclusive lock
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # a live driver makes the owner's file before it starts Ray
        return True
    except OSError:  # locked, or another user's
        return False
    return True
