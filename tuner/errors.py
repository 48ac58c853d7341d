"""What ends a command early, and with which exit code.

TunerError            1   it ran and could not succeed
├── UsageError        2   the request cannot be
├── NotThereError     3   no such study, trial or file
├── UnreachableError  4   the database or the cluster does not answer, or the disk is full
├── StoppedError      75  stopped early; `tuner resume` goes on
└── KilledError       130 stopped at once; `tuner resume` goes on from the last checkpoints
"""

import errno

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class TunerError(Exception):
    """A command could not succeed; the text says why and what to do."""

    exit_code = 1


class UsageError(TunerError):
    """The request cannot be."""

    exit_code = 2


class NotThereError(TunerError):
    """No such study, trial or file."""

    exit_code = 3


class UnreachableError(TunerError):
    """The database or the cluster does not answer, or the disk is full."""

    exit_code = 4


class StoppedError(TunerError):
    """Stopped before the budget was spent, and resumable."""

    exit_code = 75


class KilledError(TunerError):
    """Stopped at once, and resumable from the last checkpoints."""

    exit_code = 130
