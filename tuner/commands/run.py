"""Commands that run a study: launch, resume, stop."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Optional

import typer

from trainers.config import StepWay
from tuner.commands.options import (
    BackbonesOption,
    CacheOption,
    DataOption,
    DatasetOption,
    GpusOption,
    HomeOption,
    ParallelOption,
    SetOption,
    SpaceName,
    StepOption,
    StorageOption,
    StudyArgument,
    open_store,
    shorthands,
    storage_url,
    text_option,
)
from tuner.errors import TunerError
from tuner.execution.slots import ExecutorName, Resources
from tuner.paths import Home
from tuner.stopping import StopRequests
from tuner.terminal.output import say, screen

if TYPE_CHECKING:
    from search_spaces import Space
    from tuner.launch import Finished


ExecutorOption = Annotated[
    ExecutorName,
    typer.Option("--executor", help="Where jobs run: on Ray workers, or one after another in this process."),
]
GrowOption = Annotated[bool, typer.Option("--grow", help="Let a study of this name go on with this wider space.")]
MixedOption = Annotated[bool, typer.Option("--mixed-trainers", help="Go on with a study of another trainer version.")]


def launch(
    context: typer.Context,
    space: Annotated[str, text_option("--space", help="Space file, or the name of one that ships.")],
    name: SpaceName = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    overrides: SetOption = None,
    parallel: ParallelOption = None,
    gpus_per_trial: GpusOption = None,
    backbones_per_gpu: BackbonesOption = None,
    step: StepOption = "recorded",
    cache_gb: CacheOption = None,
    grow: GrowOption = False,
    mixed_trainers: MixedOption = False,
    executor: ExecutorOption = "ray",
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Run a study: search, final readings of test data, report, best.yaml. Launch it again, and it goes on."""
    from search_spaces import load

    loaded = load(space, overrides=[*shorthands(dataset, data), *(overrides or [])], name=name)
    resources = _resources(executor, parallel, gpus_per_trial, backbones_per_gpu, step, cache_gb, mixed_trainers)
    _launch_study(context, loaded, home, storage, resources, grow=grow)


def resume(
    context: typer.Context,
    study: StudyArgument,
    overrides: Annotated[
        Optional[list[str]],
        text_option("--set", help="A larger budget or a wider space, e.g. budget.backbones=20, stage1.lr.high=0.5."),
    ] = None,
    parallel: ParallelOption = None,
    gpus_per_trial: GpusOption = None,
    backbones_per_gpu: BackbonesOption = None,
    step: StepOption = "recorded",
    cache_gb: CacheOption = None,
    mixed_trainers: MixedOption = False,
    executor: ExecutorOption = "ray",
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Continue a stopped or killed study up to its budget."""
    from search_spaces import loads

    with open_store(study, home, storage) as store:
        text = store.study().space_yaml
    space = loads(text, source=f"study {study}", overrides=overrides or [])
    resources = _resources(executor, parallel, gpus_per_trial, backbones_per_gpu, step, cache_gb, mixed_trainers)
    _launch_study(context, space, home, storage, resources, grow=True)  # it is asked for by --set


def stop(
    study: StudyArgument,
    now: Annotated[bool, typer.Option("--now", help="Stop at once, not after the current epochs.")] = False,
    home: HomeOption = None,
    storage: StorageOption = None,
) -> None:
    """Ask a running study to stop after its current epochs; it stays resumable."""
    from studies.locks.study_lock import holder

    with open_store(study, home, storage) as store:
        state = store.study().state
        if state != "running":
            raise TunerError(f"study {study} is not running, but {state}")
        if holder(storage_url(home, storage), study) is not None:
            store.request_stop(now=now)
            say(f"asked {study} to stop; continue with: tuner resume {study}")
            return
        store.set_state("stopped")
    say(f"the driver of {study} has died; continue with: tuner resume {study}")


def _resources(
    executor: ExecutorName,
    parallel: int | None,
    gpus_per_trial: float | None,
    backbones_per_gpu: int | Literal["auto"] | None,
    step: StepWay,
    cache_gb: float | None,
    mixed_trainers: bool,
) -> Resources:
    return Resources(
        executor=executor,
        parallel=parallel,
        gpus_per_trial=gpus_per_trial,
        backbones_per_gpu=backbones_per_gpu,
        way=step,
        cache_bytes=None if cache_gb is None else int(cache_gb * 2**30),
        mixed_trainers=mixed_trainers,
    )


def _launch_study(
    context: typer.Context,
    space: Space,
    home: Path | None,
    storage: str | None,
    resources: Resources,
    *,
    grow: bool,
) -> None:
    from tuner.launch import Launch, run_study
    from tuner.terminal.streams import steady_output

    launch = Launch(
        space=space,
        home=Home.choose(home),
        storage=storage_url(home, storage),
        resources=resources,
        console=screen(stderr=True),
        stops=context.ensure_object(StopRequests),
        grow=grow,
    )
    with steady_output():
        finished = run_study(launch)
    _print_finished(finished)


def _print_finished(finished: Finished) -> None:
    from tuner.terminal.tables import figure_lines

    for line in figure_lines(finished.readings):
        say(line)
    say(f"report   {finished.report}")
    say(f"config   {finished.best}")
