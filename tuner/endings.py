"""The exit code and the message of each error.

It imports the errors of all packages, so `cli` imports it only after a failure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search_spaces.problems import SpaceError, SpaceNotFoundError
from studies.errors import (
    NewerSchemaError,
    StorageUnavailableError,
    StudyError,
    StudyMismatchError,
    StudyNotFoundError,
    TrialNotFoundError,
)
from studies.export.read import ExportError, ExportFileError
from trainers.errors import ConfigError, TrainerError
from tuner.errors import DISK_FULL, NotThereError, StoppedError, TunerError, UnreachableError, UsageError

_CODES: dict[type[Exception], int] = {  # a subclass before its base class
    SpaceNotFoundError: NotThereError.exit_code,
    SpaceError: UsageError.exit_code,
    ExportError: UsageError.exit_code,
    ConfigError: UsageError.exit_code,
    TrainerError: TunerError.exit_code,
    StudyNotFoundError: NotThereError.exit_code,
    TrialNotFoundError: NotThereError.exit_code,
    StudyMismatchError: UsageError.exit_code,
    StorageUnavailableError: UnreachableError.exit_code,
    NewerSchemaError: UnreachableError.exit_code,
    StudyError: TunerError.exit_code,
}


@dataclass(frozen=True, kw_only=True)
class Ending:
    """The lines for standard error, and the exit code."""

    lines: Sequence[str]
    code: int
    plain: bool = False  # print no "error: " in front: the lines have their own, or report no error


def ending(error: Exception) -> Ending | None:
    """The ending for this error; None for a defect."""
    if isinstance(error, TunerError):
        return Ending(lines=[str(error)], code=error.exit_code, plain=isinstance(error, StoppedError))
    if isinstance(error, OSError):
        return _ending_of_os(error)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None:
        return None
    if isinstance(error, SpaceError | ExportFileError):
        return Ending(lines=str(error).split("\n"), code=code, plain=True)
    return Ending(lines=[str(error)], code=code)


def _ending_of_os(error: OSError) -> Ending | None:
    """Exit code 4 for a full disk, 1 for any other error of a named file; None when no file is named."""
    full = error.errno in DISK_FULL
    if not full and error.filename is None:
        return None
    where = "" if error.filename is None else f"{error.filename}: "
    way_out = "; make space, then give the same command again" if full else ""
    code = UnreachableError.exit_code if full else TunerError.exit_code
    return Ending(lines=[f"{where}{error.strerror}{way_out}"], code=code)
