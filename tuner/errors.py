"""What ends a command early, and with which exit code.

TunerError            1   it ran and could not succeed
├── UsageError        2   the request cannot be
├── NotThereError     3   no such study, trial or file
├── UnreachableError  4   the database or the cluster does not answer
└── StoppedError      75  stopped early; `tuner resume` goes on
"""


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
    """The database or the cluster does not answer."""

    exit_code = 4


class StoppedError(TunerError):
    """Stopped before the budget was spent, and resumable."""

    exit_code = 75
