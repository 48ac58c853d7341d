"""Commands that write or serve results: report, export, train, dashboard."""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tuner.commands.options import (
    HomeOption,
    SetOption,
    StorageOption,
    StudyArgument,
    all_studies,
    number_option,
    open_store,
    path_argument,
    path_option,
    storage_url,
    text_argument,
    text_option,
    whole_number,
)
from tuner.paths import Home
from tuner.terminal.output import say, screen, styled

if TYPE_CHECKING:
    from studies.study_data import StudyData
    from trainers.job import Progress


def report(
    study: StudyArgument,
    output: Annotated[
        Optional[Path], path_option("--output", "-o", help="File to write (default: in the study's folder).")
    ] = None,
    others: Annotated[
        Optional[list[str]],
        text_option("--compare", help="Compare with this study instead; may be repeated."),
    ] = None,
    images: Annotated[
        bool, typer.Option("--images", help="Write each figure as SVG, too; needs the extra `images`.")
    ] = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Write the study's report: one HTML file that needs no network, with JSON and CSV beside it."""
    from studies.report.comparison import write_comparison
    from studies.report.write import write_report
    from tuner.errors import UsageError
    from tuner.outputs import staged

    names = [study, *(others or [])]
    if len(set(names)) < len(names):
        raise UsageError(f"--compare {' '.join(names[1:])}: name other studies than {study}, each once")
    studies = [_study_data(name, home, storage) for name in names]
    default = Home.choose(home).report(study)
    if others:
        default = default.with_name(f"compared_with_{'_and_'.join(names[1:])}.html")
    target = output or default
    with staged(target) as draft:
        written = write_comparison(studies, draft) if others else write_report(studies[0], draft, images=images)
    for path in written:
        say(target.parent / path.relative_to(draft.parent))


def export(
    study: StudyArgument,
    output: Annotated[
        Optional[Path], path_option("--output", "-o", help="File to write (default: in the study's folder).")
    ] = None,
    trial: Annotated[
        Optional[int], number_option("--trial", help="A trial's number (default: the best).", parser=whole_number(0))
    ] = None,
    baseline: Annotated[
        Optional[str], text_option("--baseline", help="A baseline that was read on test, e.g. tau_norm.")
    ] = None,
    pareto: Annotated[
        Optional[Path], path_option("--pareto", help="Folder for the whole Pareto front, a file each trial.")
    ] = None,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Write one configuration as YAML that `tuner train` takes."""
    from studies.export.write import dump_config, export_config
    from studies.findings.pareto import pareto_front
    from studies.study_data import load_study_data, with_classes
    from tuner.errors import NotThereError, UsageError
    from tuner.outputs import staged

    if pareto and (output or trial is not None or baseline is not None):
        raise UsageError(
            "--pareto DIR writes a file for each trial of the front; leave out --output, --trial and --baseline"
        )
    if trial is not None and baseline is not None:
        raise UsageError("--trial and --baseline name two configurations; give one of them")
    with open_store(study, home, storage) as store:
        data = load_study_data(store)
        targets = {trial: output or Home.choose(home).study(study) / f"{baseline or 'best'}.yaml"}
        if pareto:
            targets = {row.number: pareto / f"trial-{row.number:04}.yaml" for row in pareto_front(data)}
        data = with_classes(data, store, data.trial_by_number.keys() & targets.keys())
    if not targets:
        raise NotThereError(f"study {study} has no finished trial with a norm balance yet; see: tuner status")
    for number, target in targets.items():
        config = export_config(data, number=number, baseline=baseline, folder=target.parent)
        content = dump_config(config, file=target.name)
        with staged(target) as draft:
            draft.write_text(content, encoding="utf-8")
        say(target)


def _study_data(study: str, home: Path | None, storage: str | None) -> StudyData:
    from studies.study_data import load_study_data

    with open_store(study, home, storage) as store:
        return load_study_data(store)


def retrain(
    config: Annotated[Path, path_argument(help="A configuration exported by tuner.")],
    output: Annotated[Optional[Path], path_option("--output", "-o", help="Folder for the model.")] = None,
    data: Annotated[Optional[Path], path_option("--data", help="Where the data lies here.")] = None,
    overrides: SetOption = None,
    seeds: Annotated[Optional[str], text_option("--seeds", help="Train once per seed: 0,1,2.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Exit code 1 unless within the export's tolerances.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --check: compare on other data, too.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Train on validation images, too; nothing is selected.")] = False,
) -> None:
    """Train an exported configuration again, read test once per seed, save the model, compare with the export."""
    from tuner.errors import TunerError
    from tuner.retrain.request import RetrainRequest, parse_seeds
    from tuner.retrain.tolerances import differences
    from tuner.retrain.train import compare, train_export

    target = output or config.with_suffix("").with_name(f"{config.stem}-model")
    asked = RetrainRequest(
        data=data, overrides=tuple(overrides or ()), seeds=parse_seeds(seeds), check=check, force=force, full=full
    )
    with screen(stderr=True).status(styled("loading data")) as status:  # shown on a terminal only

        def watch(seed: int, progress: Progress) -> None:
            rate = f", {progress.images_per_second:,.0f} images/s" if progress.images_per_second else ""
            at = f"stage {progress.stage}, epoch {progress.epoch} of {progress.epochs}{rate}"
            status.update(styled(f"seed {seed}: {at}"))

        trained = train_export(config, output=target, asked=asked, watch=watch)
    for line in differences(trained.exported.provenance):
        say(f"note: {line}", err=True)
    for line in compare(trained):
        say(line)
    if check and trained.outside:
        raise TunerError(f"outside its tolerance: {', '.join(trained.outside)}")
    if check:
        say("within all tolerances")


def serve_dashboard(
    study: Annotated[Optional[str], text_argument(help="Refresh only this study's figures first.")] = None,
    port: Annotated[int, number_option("--port", help="Where it listens.", parser=whole_number(1, 65_535))] = 8080,
    hosts: Annotated[
        Optional[list[str]],
        text_option("--allow-host", help="Accept this host name, too; may be repeated."),
    ] = None,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Serve Optuna's dashboard on the study database, on 127.0.0.1 only."""
    from studies.dashboard.guard import is_host_name
    from studies.dashboard.server import server
    from tuner.errors import TunerError, UsageError

    for host in hosts or ():
        if not is_host_name(host):
            raise UsageError(
                f"--allow-host {host!r}: give a name as in the browser's address, without http:// and port"
            )
    place = Home.choose(home)
    for name in [study] if study else all_studies(home, storage):
        _refresh(name, home, storage)
    try:
        served = server(
            storage_url(home, storage),
            port=port,
            artifacts=place.artifacts,
            hosts=hosts or (),
            check_name=functools.partial(check_name, place),
        )
    except OSError as error:
        if error.filename is not None:  # a folder, not the port
            raise
        raise TunerError(f"port {port} cannot be used ({error.strerror}); give another one with --port") from None
    with served, contextlib.suppress(KeyboardInterrupt):
        say(f"http://127.0.0.1:{port}/  (Ctrl-C ends it)")
        served.serve_forever()


def check_name(home: Home, name: str) -> None:
    """Raises StudyMismatchError for a reserved name."""
    from studies.errors import StudyMismatchError
    from tuner.errors import UsageError

    try:
        home.study(name)
    except UsageError as error:
        raise StudyMismatchError(str(error)) from error


def _refresh(name: str, home: Path | None, storage: str | None) -> None:
    """Updates a study's page, unless a driver runs the study and so does it itself. Takes no lock."""
    from studies.locks.study_lock import holder
    from studies.study_data import load_study_data
    from tuner.publishing import show_results

    if holder(storage_url(home, storage), name) is not None:
        say(f"{name} is running; its driver updates the page", err=True)
        return
    with open_store(name, home, storage) as store:
        show_results(store, load_study_data(store), Home.choose(home))
