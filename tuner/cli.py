"""The `tuner` command. Nothing heavy is imported at the top, so that `tuner --help` answers at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, NoReturn

import typer
from typer.exceptions import TyperException

from tuner.commands import cache, data, database, enqueue, look, models, results, run, spaces
from tuner.errors import KilledError, UsageError
from tuner.stopping import StopRequests
from tuner.terminal.output import say, take_over_output

app = typer.Typer(
    name="tuner",
    help="Hyperparameter search for image recognition on long-tailed data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # locals may hold database passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)
COMMANDS: dict[str, Callable[..., None]] = {  # in the order of the help
    "data": data.data,
    "launch": run.launch,
    "resume": run.resume,
    "stop": run.stop,
    "enqueue": enqueue.enqueue,
    "status": look.show_status,
    "trials": look.list_trials,
    "best": look.show_best,
    "report": results.report,
    "export": results.export,
    "train": results.retrain,
    "dashboard": results.serve_dashboard,
    "evaluate": models.evaluate_model,
    "predict": models.classify_images,
    "export-model": models.export_model,
    "check": spaces.check,
    "spaces": spaces.spaces,
    "schema": spaces.schema,
    "cache": cache.cache,
    "migrate": database.migrate,
}
for word, command in COMMANDS.items():
    app.command(word)(command)


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
    """Runs the `tuner` command; an error becomes one message and an exit code."""
    take_over_output()
    with StopRequests() as stops:
        try:
            _run_command(stops)
        except KeyboardInterrupt:  # a second signal, while the first one was ending the command
            _end(["this command was stopped at once"], KilledError.exit_code)


def _run_command(stops: StopRequests) -> None:
    try:
        with _stopped_early(stops):
            code = typer.main.get_command(app).main(prog_name="tuner", standalone_mode=False, obj=stops)
            if code == KilledError.exit_code:  # typer turns a KeyboardInterrupt into this code
                raise KeyboardInterrupt
    except TyperException as error:
        _end_usage_error(error)
    except Exception as error:
        from tuner.endings import ending

        found = ending(error)
        if found is None:  # a defect: show the traceback
            raise
        _end(found.lines, found.code, plain=found.plain)
    if code:
        raise SystemExit(code)


def _end_usage_error(error: TyperException) -> NoReturn:
    """Ends with a usage error."""
    context = getattr(error, "ctx", None)
    if context is not None and error.message:
        say(context.get_usage(), err=True)
        say(f"try: {context.command_path} --help", err=True)
    _end([error.format_message() or "name a command, of those listed above"], UsageError.exit_code)


def _stopped_early(stops: StopRequests) -> AbstractContextManager[None]:
    """How a stop request ends a command that does not handle it itself."""
    if sys.argv[1:2] in (["launch"], ["resume"]):
        return stops.ending("stopped before anything was begun; give the same command again")
    return stops.ending("this command was stopped at once", kind=KilledError)


def _end(lines: Sequence[str], code: int, *, plain: bool = False) -> NoReturn:
    """Ends with these lines on standard error, the first one marked as an error unless `plain`."""
    from tuner.terminal.streams import SteadyStream

    SteadyStream(sys.stdout).flush()
    for place, line in enumerate(lines):
        say(line if plain or place else f"error: {line}", to=SteadyStream(sys.stderr))
    raise SystemExit(code)


if __name__ == "__main__":
    main()
