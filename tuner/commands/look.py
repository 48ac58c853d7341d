"""Read-only commands: status, trials, best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.commands.options import (
    HomeOption,
    JsonOption,
    StorageOption,
    StudyArgument,
    all_studies,
    open_store,
    text_argument,
)
from tuner.terminal.output import say, say_json, screen

_WATCH_SECONDS = 2.0


def show_status(
    study: Annotated[Optional[str], text_argument(help="Name of the study; all studies without it.")] = None,
    as_json: JsonOption = False,
    watch: Annotated[bool, typer.Option("--watch", help="Until no study runs; with --json a line a change.")] = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Show a study's progress and its best trial so far."""
    from tuner.terminal.watch import glance, picture, status_object

    names = [study] if study else all_studies(home, storage)
    if watch and names:
        _watch(names, home, storage, as_json=as_json)
        return
    found = []
    for name in names:
        with open_store(name, home, storage) as store:
            found.append(glance(store))
    if as_json:
        objects = [status_object(one) for one in found]
        say_json(objects[0] if study else objects, indent=2)
    elif not found:
        say("no studies yet; start one with: tuner launch --space wd_maxnorm.yaml")
    else:
        screen(wide=True).print(picture(found))


def list_trials(
    study: StudyArgument,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed trials, with their reasons.")] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """List a study's trials."""
    from tuner.terminal import tables

    with open_store(study, home, storage) as store:
        rows = [row for row in store.trials() if row.state == "FAIL" or not failed]
    if as_json:
        say_json([tables.trial(row) for row in rows], indent=2)
    else:
        screen(wide=True).print(tables.trials_table(rows, title=f"study {study}"))


def show_best(
    study: StudyArgument,
    pareto: Annotated[
        bool, typer.Option("--pareto", help="The Pareto front: of several objectives, else of accuracy and balance.")
    ] = False,
    as_json: JsonOption = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Show the trial chosen on validation, and its reading of test data if there is one."""
    from tuner.terminal import tables
    from tuner.terminal.objectives import front_table

    if pareto:
        _pareto(study, home, storage, as_json=as_json)
        return
    with open_store(study, home, storage) as store:
        found = tables.best(store)
    if as_json:
        say_json(found, indent=2)
    else:
        screen().print(tables.best_table(found))
        if "front" in found:
            screen().print(front_table(found))


def _pareto(study: str, home: Path | None, storage: str | None, *, as_json: bool) -> None:
    from studies.findings.pareto import pareto_front
    from studies.study_data import load_study_data
    from tuner.terminal import tables
    from tuner.terminal.objectives import labels

    with open_store(study, home, storage) as store:
        data = load_study_data(store)
        rows = pareto_front(data)
    if as_json:
        say_json([tables.trial(row) for row in rows], indent=2)
    else:
        objectives = data.study.objectives if data.study.others else ()
        named = labels(objectives) or "accuracy and nearness to balance"
        title = f"study {study}: the Pareto front of {named}"
        screen(wide=True).print(tables.trials_table(rows, title=title, objectives=objectives))


def _watch(names: list[str], home: Path | None, storage: str | None, *, as_json: bool) -> None:
    from contextlib import ExitStack

    from tuner.terminal.watch import glance, show, watch

    with ExitStack() as stack:
        stores = [stack.enter_context(open_store(name, home, storage)) for name in names]
        seen = watch(lambda: [glance(store) for store in stores], every=_WATCH_SECONDS)
        try:
            show(seen, console=screen(), as_json=as_json)
        except KeyboardInterrupt:  # ends the watching, not the study
            raise typer.Exit(130) from None
