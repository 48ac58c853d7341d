"""Commands that look at studies: status, trials, best."""

from __future__ import annotations

from typing import Annotated, Optional

import typer
from rich.console import Console

from tuner.commands.options import (
    HomeOption,
    JsonOption,
    StorageOption,
    StudyArgument,
    open_store,
    print_json,
    study_names,
)

app = typer.Typer()


@app.command()
def status(
    study: Annotated[Optional[str], typer.Argument(help="Name of the study; all studies without it.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Show how far a study is, and its best trial so far."""
    from tuner import views

    names = [study] if study else study_names(home, storage)
    found = []
    for name in names:
        with open_store(name, home, storage) as store:
            found.append(views.status(store))
    if as_json:
        print_json(found[0] if study else found)
    elif not found:
        typer.echo("no studies yet; start one with: tuner launch --space wd_maxnorm.yaml")
    else:
        Console().print(views.status_table(found))


@app.command()
def trials(
    study: StudyArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed trials, with their reasons.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """List a study's trials."""
    from tuner import views

    with open_store(study, home, storage) as store:
        rows = [row for row in store.trials() if row.state == "FAIL" or not failed]
    if as_json:
        print_json([views.trial(row) for row in rows])
    else:
        wide_console().print(views.trials_table(rows, title=f"study {study}"))


@app.command()
def best(
    study: StudyArgument, as_json: JsonOption = False, home: HomeOption = None, storage: StorageOption = None
) -> None:
    """Show the trial chosen on validation, and its reading on test if there is one."""
    from tuner import views

    with open_store(study, home, storage) as store:
        found = views.best(store)
    if as_json:
        print_json(found)
    else:
        Console().print(views.best_table(found))


def wide_console() -> Console:
    """A console that cuts no line where it is not a terminal: in a pipe, a log or a file."""
    console = Console()
    return console if console.is_terminal else Console(width=400)
