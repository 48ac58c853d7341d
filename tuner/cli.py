"""The commands. Nothing heavy is imported at the top, so that `tuner --help` answers at once."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Optional

import typer
from rich.console import Console

from tuner.paths import Home

if TYPE_CHECKING:
    from search_spaces import Space
    from studies.store import Store
    from tuner.launch import Finished

app = typer.Typer(
    name="tuner",
    help="Hyperparameter search for image recognition on long-tailed data.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # locals may hold database passwords
    context_settings={"help_option_names": ["-h", "--help"]},
)

HomeOption = Annotated[
    Optional[Path],
    typer.Option("--home", help="Folder of all output [env TUNER_HOME; default runs].", show_default=False),
]
StorageOption = Annotated[
    Optional[str],
    typer.Option("--storage", help="SQLAlchemy URL of the study database [env TUNER_STORAGE].", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
SetOption = Annotated[
    Optional[list[str]],
    typer.Option("--set", help="Override, e.g. stage1.epochs=80; may be repeated.", show_default=False),
]
StudyArgument = Annotated[str, typer.Argument(help="Name of the study.", show_default=False)]
ParallelOption = Annotated[
    Optional[int], typer.Option("--parallel", "-j", min=1, help="Jobs at a time [default: as CPUs and GPUs allow].")
]
GpusOption = Annotated[
    Optional[float], typer.Option("--gpus-per-trial", min=0, help="GPUs of one job; 0.25 puts four on one GPU.")
]


@app.command()
def launch(
    space: Annotated[str, typer.Option("--space", help="Space file, or the name of one that ships.")],
    name: Annotated[Optional[str], typer.Option("--name", help="Study name [default: the space's].")] = None,
    dataset: Annotated[Optional[str], typer.Option("--dataset", help="Shorthand for --set task.dataset=...")] = None,
    data: Annotated[Optional[Path], typer.Option("--data", help="Shorthand for --set task.data=...")] = None,
    overrides: SetOption = None,
    parallel: ParallelOption = None,
    gpus_per_trial: GpusOption = None,
    cache_gb: Annotated[Optional[float], typer.Option("--cache-gb", help="Size limit of the backbone cache.")] = None,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Run a study: search, final reading on test, report and best.yaml. Launched again, it goes on where it was."""
    from search_spaces import load

    shorthand = [f"task.dataset={dataset}"] if dataset else []
    shorthand += [f"task.data={json.dumps(str(data.absolute()), ensure_ascii=False)}"] if data else []
    _run(
        load(space, overrides=[*shorthand, *(overrides or [])], name=name),
        home,
        storage,
        parallel,
        gpus_per_trial,
        cache_gb,
    )


@app.command()
def resume(
    study: StudyArgument,
    overrides: Annotated[
        Optional[list[str]],
        typer.Option("--set", help="A larger budget, e.g. budget.backbones=20.", show_default=False),
    ] = None,
    parallel: ParallelOption = None,
    gpus_per_trial: GpusOption = None,
    cache_gb: Annotated[Optional[float], typer.Option("--cache-gb", help="Size limit of the backbone cache.")] = None,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Go on with a stopped or killed study, to the same total."""
    from search_spaces import loads

    with _open(study, home, storage) as store:
        text = store.study().space_yaml
    space = loads(text, source=f"study {study}", overrides=overrides or [])
    _run(space, home, storage, parallel, gpus_per_trial, cache_gb)


@app.command()
def check(space: Annotated[str, typer.Argument(help="Space file or name.")], overrides: SetOption = None) -> None:
    """Check a space: all its errors at once, or what it would do. Trains nothing, writes nothing."""
    from search_spaces import load
    from tuner.preflight import dry_build

    loaded = load(space, overrides=overrides or [])
    built = dry_build(loaded)
    typer.echo(f"{loaded.name}: {loaded.trials} trials on {loaded.budget.backbones} backbones")
    for key, distribution in loaded.searched.items():
        typer.echo(f"  {key}: {distribution}")
    counts = built.train_counts
    typer.echo(f"  data: {len(counts)} classes, {sum(counts)} training images, {max(counts)} down to {min(counts)}")
    typer.echo(f"  model: {built.parameters:,} parameters")
    for note in built.notes:
        typer.echo(f"  note: {note}")


@app.command()
def status(
    study: Annotated[Optional[str], typer.Argument(help="Name of the study; all studies without it.")] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Show how far a study is, and its best trial so far."""
    from tuner import views

    names = [study] if study else _names(home, storage)
    found = []
    for name in names:
        with _open(name, home, storage) as store:
            found.append(views.status(store))
    if as_json:
        _print_json(found[0] if study else found)
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

    with _open(study, home, storage) as store:
        rows = [row for row in store.trials() if row.state == "FAIL" or not failed]
    if as_json:
        _print_json([views.trial(row) for row in rows])
    else:
        Console().print(views.trials_table(rows, title=f"study {study}"))


@app.command()
def best(
    study: StudyArgument, as_json: JsonOption = False, home: HomeOption = None, storage: StorageOption = None
) -> None:
    """Show the trial chosen on validation, and its reading on test if there is one."""
    from tuner import views

    with _open(study, home, storage) as store:
        found = views.best(store)
    if as_json:
        _print_json(found)
    else:
        Console().print(views.best_table(found))


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

    with _open(study, home, storage) as store:
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

    with _open(study, home, storage) as store:
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

    for name in [study] if study else _names(home, storage):
        with _open(name, home, storage) as store:
            publish(store, load_study_data(store))
    typer.echo(f"http://127.0.0.1:{port}/  (Ctrl-C ends it)")
    serve(_storage(home, storage), port=port, artifacts=Home.choose(home).artifacts)


@app.command()
def stop(
    study: StudyArgument,
    now: Annotated[bool, typer.Option("--now", help="At once, not after the current epochs.")] = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Ask a running study to stop after its current epochs; it stays resumable."""
    with _open(study, home, storage) as store:
        store.request_stop(now=now)
    typer.echo(f"asked {study} to stop; continue with: tuner resume {study}")


@app.command()
def spaces() -> None:
    """List the spaces that ship, with the question each asks."""
    from search_spaces import shipped

    for name, question in shipped().items():
        typer.echo(f"{name:24} {question}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a space file, for editors."""
    from search_spaces import json_schema

    _print_json(json_schema())


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


def _run(
    space: Space,
    home: Path | None,
    storage: str | None,
    parallel: int | None,
    gpus: float | None,
    cache_gb: float | None,
) -> None:
    from tuner.launch import Resources, run_study

    resources = Resources(
        parallel=parallel, gpus_per_trial=gpus, cache_bytes=None if cache_gb is None else int(cache_gb * 2**30)
    )
    finished = run_study(
        space,
        home=Home.choose(home),
        storage=_storage(home, storage),
        resources=resources,
        console=Console(stderr=True),
    )
    _print_finished(finished)


def _print_finished(finished: Finished) -> None:
    from tuner.views import headline

    for line in headline(finished.readings):
        typer.echo(line)
    typer.echo(f"report   {finished.report}")
    typer.echo(f"config   {finished.best}")


def _storage(home: Path | None, storage: str | None) -> str:
    return storage or os.environ.get("TUNER_STORAGE") or Home.choose(home).storage_url


def _names(home: Path | None, storage: str | None) -> list[str]:
    from studies.store import study_names

    return study_names(_storage(home, storage))


def _open(study: str, home: Path | None, storage: str | None) -> Store:
    from studies.store import Store

    return Store.open(_storage(home, storage), study)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))


if __name__ == "__main__":
    main()
