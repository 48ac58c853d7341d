"""Commands that take results out of a study: report, export, dashboard; and train, which uses them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from tuner.commands.options import (
    HomeOption,
    SetOption,
    StorageOption,
    StudyArgument,
    open_store,
    storage_url,
    study_names,
)
from tuner.paths import Home

app = typer.Typer()


@app.command()
def report(
    study: StudyArgument,
    output: Annotated[
        Optional[Path], typer.Option("--output", "-o", help="Where to [default: beside the study].")
    ] = None,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Write the study's report: one HTML file that needs no network, with JSON and CSV beside it."""
    from studies.report import write_report
    from studies.study_data import load_study_data

    with open_store(study, home, storage) as store:
        target = output or Home.choose(home).report(study)
        target.parent.mkdir(parents=True, exist_ok=True)
        for path in write_report(load_study_data(store), target):
            typer.echo(path)


@app.command()
def export(
    study: StudyArgument,
    output: Annotated[
        Optional[Path], typer.Option("--output", "-o", help="Where to [default: beside the study].")
    ] = None,
    trial: Annotated[Optional[int], typer.Option("--trial", help="A trial's number [default: the best].")] = None,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Write one configuration as YAML that `tuner train` takes."""
    from studies.export import dump_config, export_config
    from studies.study_data import load_study_data

    with open_store(study, home, storage) as store:
        target = output or Home.choose(home).best(study)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(dump_config(export_config(load_study_data(store), number=trial)))
    typer.echo(target)


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A configuration exported by tuner.", show_default=False)],
    output: Annotated[Optional[Path], typer.Option("--output", "-o", help="Folder for the model.")] = None,
    data: Annotated[Optional[Path], typer.Option("--data", help="The data, where it lies here.")] = None,
    overrides: SetOption = None,
) -> None:
    """Train an exported configuration again, read test once, save the model, compare with the exported figures."""
    from tuner.training import compare, train_export

    target = output or config.with_suffix("").with_name(f"{config.stem}-model")
    trained = train_export(config, output=target, data=data, overrides=overrides or [])
    for line in compare(trained):
        typer.echo(line)


@app.command()
def dashboard(
    study: Annotated[Optional[str], typer.Argument(help="Study whose figures are refreshed first.")] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = 8080,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Serve Optuna's dashboard on the study database, on 127.0.0.1 only."""
    from studies.dashboard import publish, serve
    from studies.study_data import load_study_data

    for name in [study] if study else study_names(home, storage):
        with open_store(name, home, storage) as store:
            publish(store, load_study_data(store))
    typer.echo(f"http://127.0.0.1:{port}/  (Ctrl-C ends it)")
    serve(storage_url(home, storage), port=port, artifacts=Home.choose(home).artifacts)
