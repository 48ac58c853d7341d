"""The `tuner` command. Nothing heavy is imported at the top, so that `tuner --help` answers at once."""

from __future__ import annotations

import sys
from typing import NoReturn

import typer

from tuner.commands import cache, look, results, run, spaces

app = typer.Typer(
    name="tuner",
    help="Hyperparameter search for image recognition on long-tailed data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # locals may hold database passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (run, look, results, spaces, cache):
    app.add_typer(part.app)


def main() -> None:
    """The `tuner` command: runs it and turns what went wrong into one message and an exit code."""
    try:
        app()
    except KeyboardInterrupt:
        _end("stopped at once; running trials are adopted by: tuner resume STUDY", 130)
    except Exception as error:
        code = _exit_code(error)
        if code is None:
            raise
        _end(str(error), code)


def _exit_code(error: Exception) -> int | None:
    """The documented exit code of an expected error; None for a defect, which shows its traceback."""
    from tuner.errors import TunerError

    if isinstance(error, TunerError):
        return error.exit_code
    by_name = {
        "SpaceError": 2, "SpaceNotFoundError": 3, "StudyMismatchError": 2, "ExportError": 2, "ConfigError": 2,
        "StudyNotFoundError": 3, "TrialNotFoundError": 3,
        "StorageUnavailableError": 4, "NewerSchemaError": 4,
        "DataError": 1, "DivergedError": 1, "StudyLockedError": 1, "ResultError": 1,
    }  # fmt: skip
    return next((by_name[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in by_name), None)


def _end(message: str, code: int) -> NoReturn:
    sys.stdout.flush()
    print(message if ": error: " in message else f"error: {message}", file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
