"""The errors that end a command, and their exit codes.

TunerError            1   the command ran and failed
├── UsageError        2   the request is invalid
├── NotThereError     3   no such study, trial or file
├── UnreachableError  4   the database, Ray, a worker or the GPU cannot be used, or the disk is full
├── StoppedError      75  stopped before the end; `tuner resume` goes on
└── KilledError       130 stopped at once; `tuner resume` continues a study from its last checkpoints
"""

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class TunerError(Exception):
    """The command failed; the text says why and what to do."""

    exit_code = 1


class UsageError(TunerError):
    """The request is invalid."""

    exit_code = 2


class NotThereError(TunerError):
    """No such study, trial or file."""

    exit_code = 3


class UnreachableError(TunerError):
    """The database, Ray, a worker or the GPU cannot be used, or the disk is full."""

    exit_code = 4


class StoppedError(TunerError):
    """Stopped before the end; the study is resumable."""

    exit_code = 75


class KilledError(TunerError):
    """Stopped at once; a study is resumable from its last checkpoints."""

    exit_code = 130
