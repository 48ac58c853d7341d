"""The `tuner` command. Nothing heavy is imported at the top, so that `tuner --help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from tuner.commands import cache, database, look, models, results, run, spaces
from tuner.errors import KilledError, StoppedError, UsageError
from tuner.stopping import StopRequests
from tuner.terminal import say, take_over

app = typer.Typer(
    name="tuner",
    help="Hyperparameter search for image recognition on long-tailed data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # locals may hold database passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
for part in (run, look, results, models, spaces, cache, database):
    app.add_typer(part.app)


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        say(metadata.version("longtail-tuner"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Print the version and end.")
    ] = False,
) -> None:
    """Hyperparameter search for image recognition on long-tailed data."""


def main() -> None:
    """The `tuner` command: runs it and turns what went wrong into one message and an exit code."""
    take_over()
    with StopRequests() as stops:
        try:
            _run(stops)
        except KeyboardInterrupt:  # a second signal, while the command ended for the first one
            _end(["this command was stopped at once"], KilledError.exit_code)


def _run(stops: StopRequests) -> None:
    try:
        with _stopped_early(stops):
            code = typer.main.get_command(app).main(prog_name="tuner", standalone_mode=False, obj=stops)
            if code == KilledError.exit_code:  # typer makes this code of a KeyboardInterrupt
                raise KeyboardInterrupt
    except TyperException as error:
        _refuse(error)
    except Exception as error:
        known = _exit_code(error)
        if known is None:
            raise
        _end(_words(error), known)
    if code:
        raise SystemExit(code)


def _refuse(error: TyperException) -> NoReturn:
    """Ends with what the command line should have been."""
    context = getattr(error, "ctx", None)
    if context is not None and error.message:
        say(context.get_usage(), err=True)
        say(f"try: {context.command_path} --help", err=True)
    _end([error.format_message() or "name a command, of those listed above"], UsageError.exit_code)


def _stopped_early(stops: StopRequests) -> AbstractContextManager[None]:
    """What a stop request is to a command that says nothing of its own about it."""
    if sys.argv[1:2] in (["launch"], ["resume"]):
        return stops.ending("stopped before anything was begun; give the same command again")
    return stops.ending("this command was stopped at once", kind=KilledError)


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
    if isinstance(error, OSError):
        return _exit_code_of_os(error)
    return next((by_name[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in by_name), None)


def _exit_code_of_os(error: OSError) -> int | None:
    """4 for a full disk, 1 for any other file that cannot be used; None when no file is named."""
    from tuner.errors import DISK_FULL, TunerError, UnreachableError

    if error.errno in DISK_FULL:
        return UnreachableError.exit_code
    return None if error.filename is None else TunerError.exit_code


def _words(error: Exception) -> list[str]:
    """One line, or a line for each problem of a file; a line break in a name makes no line."""
    from tuner.errors import DISK_FULL

    if type(error).__name__ in ("SpaceError", "SpaceNotFoundError", "ExportError"):
        return str(error).split("\n")
    if not isinstance(error, OSError):
        return [str(error)]
    where = "" if error.filename is None else f"{error.filename}: "
    way_out = "; make space, then give the same command again" if error.errno in DISK_FULL else ""
    return [f"{where}{error.strerror}{way_out}"]


def _end(lines: Sequence[str], code: int) -> NoReturn:
    from tuner.streams import SteadyStream

    SteadyStream(sys.stdout).flush()
    plain = any(": error: " in line for line in lines) or code == StoppedError.exit_code  # placed, or no error at all
    for place, line in enumerate(lines):  # the code tells it, too
        say(line if plain or place else f"error: {line}", to=SteadyStream(sys.stderr))
    raise SystemExit(code)


if __name__ == "__main__":
    main()
