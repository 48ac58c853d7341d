"""Runs a study from its space to its report: search, final readings of test data, report and best.yaml."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from search_spaces import Space
from studies.locks.study_lock import StudyLock, study_lock
from studies.records import ReadingRow
from studies.store import Store
from studies.study_data import load_study_data
from tuner.errors import KilledError, StoppedError, TunerError, UnreachableError, UsageError
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.executor import Executor, InlineExecutor, RayExecutor
from tuner.execution.messages import JobRequest, TrainRequest, WorkerSettings
from tuner.execution.ray_session import sweep_scratch
from tuner.execution.same_code import code_sha256
from tuner.execution.slots import Resources, Slots, available_cpus, cut_slots, gpu_count, workers_in_words
from tuner.hours import Hours
from tuner.lifecycle import STATES, Verdict
from tuner.paths import Home
from tuner.preflight import Preflight, dry_build, refuse_tf32_on_a_cpu
from tuner.publishing import Publisher, publish_results
from tuner.search.configurations import naive
from tuner.search.enqueued import tried_by
from tuner.search.planner import Planner
from tuner.stopping import STOP_NOTICE, StopRequests
from tuner.terminal.live import LiveTable, PlainLines, Watchers
from tuner.terminal.output import styled
from tuner.terminal.time_left import Running

if TYPE_CHECKING:
    from trainers.files.cache import Cache

_UNRECORDED = 2  # the trainer's version when studies began to record it


@dataclass(frozen=True)
class Finished:
    """The output files of a finished study, and its readings of test data."""

    report: Path
    best: Path
    readings: tuple[ReadingRow, ...]


@dataclass(frozen=True, kw_only=True)
class Launch:
    """The inputs of a launch."""

    space: Space
    home: Home
    storage: str
    resources: Resources
    console: Console
    stops: StopRequests
    grow: bool = False  # an existing study may go on with this wider space

    def say(self, text: str, style: str = "dim") -> None:
        """Prints a line for the user."""
        self.console.print(styled(text, style), soft_wrap=True)


def run_study(launch: Launch) -> Finished:
    """Runs a study, new or half done, to the end of its budget.

    Raises StudyLockedError when another driver holds the study, UsageError or TunerError before anything is written
    when the space or the data is unusable, StoppedError or KilledError after a stop request, and TunerError when too
    many jobs failed, no trial was completed, or a final reading failed.
    """
    space, home, stops = launch.space, launch.home, launch.stops
    home.study(space.name)  # refuses a reserved name before anything is loaded
    with study_lock(launch.storage, space.name) as lock:  # torch and the data may take minutes to load
        slots = cut_slots(launch.resources, cpus=available_cpus(), gpus=gpu_count())
        checked = dry_build(space)
        if not slots.gpus:
            refuse_tf32_on_a_cpu(space)
        for note in checked.notes:
            launch.say(f"note: {note}")
        stops.leave()
        lock.confirm()
        home.make(space.name)
        with home.sharing(), _open_store(launch, lock, checked) as store, _stopped_state(store, stops):
            _sweep(home)
            planner = Planner(space, store)
            for note in growth_notes(planner):
                launch.say(note)
            hours = Hours(store, space.budget.hours)
            if hours.over:
                planner.lifecycle.hours_are_over()
            if planner.has_work():
                _begin(launch, store)
                search(launch, planner, hours, lock, slots)
            elif planner.tally.total > space.trials and not space.ladder:
                launch.say(
                    f"note: nothing was run: study {space.name} holds {planner.tally.total} trials, more than the "
                    f"{space.trials} of this budget; another study is begun with --name"
                )
            _note_others(launch, store)
            _note_waiting(launch, planner)
            return finish(launch, planner)


def _sweep(home: Home) -> None:
    """Removes the files that killed drivers left behind."""
    from trainers.files.cache import Cache

    sweep_scratch()
    Cache(home.cache.absolute()).sweep()


@contextlib.contextmanager
def _stopped_state(store: Store, stops: StopRequests) -> Iterator[None]:
    """Marks a running study as stopped after a stop request, or when the launch cannot reach what it needs."""
    try:
        with stops.ending(f"stopped before any job was begun; continue with: tuner resume {store.name}"):
            yield
    except (StoppedError, KilledError, UnreachableError):
        if store.study().state == "running":
            store.set_state("stopped")
        raise


def _note_others(launch: Launch, store: Store) -> None:
    others = store.others_trials()
    if others:
        launch.say(
            f"note: {others} trial(s) of study {store.name} are another program's, made with Optuna; none of them was "
            "run, counted or reported"
        )


def _note_waiting(launch: Launch, planner: Planner) -> None:
    """Says which points were not tried for want of budget, and how they are."""
    points = planner.waiting()
    lacking = planner.search.lacking([one.point for one in points])
    if points:
        launch.say(f"note: {len(points)} enqueued point(s) wait; {tried_by(planner.space.name, lacking)}")


def growth_notes(planner: Planner) -> Iterator[str]:
    """For a study whose newest space has no trial yet: what is wider, and whether the budget leaves room for it."""
    name, newest = planner.store.name, planner.store.spaces()[-1]
    if not newest.grew or any(row.space == newest.number for row in planner.store.trials()):
        return
    yield f"study {name} has grown ({'; '.join(newest.grew)}); trials from {newest.first_trial} on are drawn from it"
    size = planner.space.size_setting
    if not planner.owes_trials():
        yield (
            f"note: the budget of study {name} leaves no room "
            f"for trials of the wider space; give it more with: tuner resume {name} --set {size}=NUMBER"
        )


def _trainer_versions(store: Store, *, mixed: bool) -> tuple[int, ...]:
    """The trainer versions of the study's results, this one included. Raises UsageError for a mixture not asked for."""
    from trainers.stage1.backbone import TRAINER_VERSION

    known = (store.study().trainers or (_UNRECORDED,)) if store.backbones() else ()
    if known and TRAINER_VERSION not in known and not mixed:
        raise UsageError(
            f"study {store.name} holds results of trainer version {known[-1]}, and this release trains by version "
            f"{TRAINER_VERSION}, which gives other results for the same settings; go on with the release that it was "
            "begun with, start another study with --name, or mix them with --mixed-trainers (the report will say so)"
        )
    return known if TRAINER_VERSION in known else (*known, TRAINER_VERSION)


def _open_store(launch: Launch, lock: StudyLock, checked: Preflight) -> Store:
    space = launch.space
    return Store.create_or_open(
        launch.storage,
        name=space.name,
        space_yaml=space.to_yaml(),
        space_sha256=space.sha256,
        objective=space.objectives,
        held=lock,
        grow=launch.grow,
        data_fingerprint=checked.data_fingerprint,
    )


def _begin(launch: Launch, store: Store) -> None:
    store.set_trainers(_trainer_versions(store, mixed=launch.resources.mixed_trainers))
    store.set_state("running")
    store.clear_stop()


def search(launch: Launch, planner: Planner, hours: Hours, lock: StudyLock, slots: Slots) -> None:
    """Runs the executor until the planner is finished. Raises StoppedError if a stop request leaves work."""
    import torch

    name, stops = planner.space.name, launch.stops
    torch.set_num_threads(1)  # the driver only fits the outer sampler's Gaussian process
    launch.say(workers_in_words(slots, launch.resources))
    stops.note(STOP_NOTICE.format(name=name), lambda text: launch.say(text, "yellow"))
    known = _known_at_once(launch, planner.store, slots)
    running = Running(planner)
    with _screen(launch, planner, running) as screen, _executor(launch.resources, slots) as executor:
        stops.leave()
        cache = _trimmed_cache(launch)
        settings = WorkerSettings(
            threads=slots.cpus_each,
            cache=str(cache.root),
            cache_bytes=launch.resources.cache_bytes,
            checkpoint_seconds=checkpoint_seconds(),
            gpu=slots.gpus_each > 0,
            way=launch.resources.way,
        )
        attend = _attention(launch, planner, hours, lock)
        at_once = known or _measured_at_once(launch, planner, executor, settings)
        dispatcher = Dispatcher(planner, Watchers(running, screen), settings, attend, at_once)
        with stops.ending(f"stopped at once; go on from the last checkpoints with: tuner resume {name}"):
            executor.run(dispatcher)
    hours.keep(now=True)
    if planner.verdict() == "stopped":
        raise StoppedError(f"stopped with work left; continue with: tuner resume {name}")


def _known_at_once(launch: Launch, store: Store, slots: Slots) -> int | None:
    """Backbones that a worker trains at a time: as asked, else as the study began, else one; None: to be measured.

    The number is kept with the study, because it decides which proposals are made before others are finished. Raises
    UsageError if the workers share GPUs already.
    """
    asked, begun = launch.resources.backbones_per_gpu, store.study().backbones_per_gpu
    if asked == "auto" and begun is None:
        return None
    number = begun or 1 if asked is None or asked == "auto" else asked
    if number > 1 and 0 < slots.gpus_each < 1:
        raise UsageError(
            f"study {store.name} trains {number} backbones at a time in one worker, but --parallel or --gpus-per-trial "
            "divides each GPU among workers; leave these out, or give --backbones-per-gpu 1"
        )
    if begun not in (None, number):
        launch.say(
            f"note: study {store.name} began with {begun} backbone(s) at a time in each worker; from now on {number}"
        )
    _keep_at_once(launch, store, number)
    return number


def _keep_at_once(launch: Launch, store: Store, number: int) -> None:
    if number != (store.study().backbones_per_gpu or 1):
        store.set_backbones_per_gpu(number)
    if number > 1:
        launch.say(f"{number} backbones at a time in each worker")


def _measured_at_once(launch: Launch, planner: Planner, executor: Executor, settings: WorkerSettings) -> int:
    from trainers.stage1.rates import best_count

    launch.say("measuring how many backbones to train at a time")
    job = JobRequest(configs=(dict(naive(planner.space)),))
    rates = executor.measure(TrainRequest(jobs=(job,), settings=settings, code=code_sha256()))
    number = best_count(rates)
    figures = ", ".join(f"{count}: {rate:,.0f} images/s" for count, rate in sorted(rates.items()))
    launch.say(f"backbones at a time: {figures or 'nothing could be measured'}; {number} from now on")
    planner.store.set_backbones_per_gpu(number)
    return number


def _attention(launch: Launch, planner: Planner, hours: Hours, lock: StudyLock) -> Callable[[], None]:
    """A check for between two events: budget hours, publishing, stop requests, and the study's lock."""
    publisher = Publisher(planner.store, launch.home)

    def poll() -> Literal["soft", "now"] | None:
        request = planner.store.stop_requested()  # first: if the database is gone, its error explains more
        lock.confirm()  # a restarted PostgreSQL has dropped the lock
        return request

    def attend() -> None:
        if hours.over:
            planner.lifecycle.hours_are_over()
        hours.keep()
        publisher.now_and_then(planner.tally.complete + planner.tally.failed)
        if launch.stops.check(poll):
            planner.lifecycle.stop_is_requested()

    return attend


@contextlib.contextmanager
def _screen(launch: Launch, planner: Planner, running: Running) -> Iterator[LiveTable | PlainLines]:
    """A live table on a terminal, plain lines elsewhere."""
    if launch.console.is_terminal:
        screen: LiveTable | PlainLines = LiveTable(planner, running, name=launch.space.name, console=launch.console)
    else:
        screen = PlainLines(planner, running)
    try:
        yield screen
    finally:
        screen.close()


def _executor(resources: Resources, slots: Slots) -> Executor:
    return InlineExecutor() if resources.executor == "inline" else RayExecutor(slots)


def _trimmed_cache(launch: Launch) -> Cache:
    from trainers.files.cache import Cache

    cache = Cache(launch.home.cache.absolute())
    if launch.resources.cache_bytes is not None:
        cache.trim(launch.resources.cache_bytes)
    return cache


def finish(launch: Launch, planner: Planner) -> Finished:
    """Closes the study and writes report and best.yaml. Raises TunerError if it failed or a reading failed."""
    store, home, name = planner.store, launch.home, planner.space.name
    launch.stops.note(
        f"the search of {name} is over; its report is being written; Ctrl-C again stops now",
        lambda text: launch.say(text, "yellow"),
    )
    unwritten = f"the search of {name} is over, but its report is not written; write it with: tuner report {name}"
    with launch.stops.ending(f"{unwritten}, and best.yaml with: tuner export {name}"):
        planner.close_waiting()
        verdict = planner.verdict()
        store.set_state(STATES[verdict])
        _refuse_an_empty_study(planner, verdict)
        data = load_study_data(store)
        publish_results(store, data, home)
        store.confirm()  # else the files named below may not exist
        if verdict == "unread":
            raise TunerError(
                f"study {name}: the search is over and the report written, but {len(planner.unread)} final reading(s) "
                f"of test data failed, first {planner.unread[0]}; make them again with: tuner resume {name}"
            )
        return Finished(report=home.report(name), best=home.best(name), readings=(*data.readings, *data.fresh))


def _refuse_an_empty_study(planner: Planner, verdict: Verdict) -> None:
    """Raises TunerError if the study failed, or its hours were over before any trial was complete."""
    budget, name = planner.space.budget, planner.space.name
    if verdict == "out_of_time":
        what = "full schedule" if planner.space.ladder else "trial"
        raise TunerError(
            f"study {name}: budget.hours ({budget.hours:g}) were over before any {what} was complete; "
            f"give it more with: tuner resume {name} --set budget.hours=HOURS"
        )
    if verdict == "failed" and planner.space.ladder and planner.tally.failed_jobs <= budget.max_failed:
        raise TunerError(
            f"study {name}: no backbone was trained with the full schedule of {planner.space.ladder[-1]} epochs, so "
            f"there is nothing to choose from; see: tuner trials {name} --failed; give it more with: tuner resume "
            f"{name} --set {planner.space.size_setting}=NUMBER"
        )
    if verdict == "failed":
        reason = planner.failures[0] if planner.failures else "see the reasons of its trials"
        raise TunerError(
            f"study {name}: {planner.tally.failed_jobs} jobs failed (budget.max_failed is {budget.max_failed}); "
            f"first: {reason}; list them with: tuner trials {name} --failed"
        )


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints of stage 1: TUNER_CHECKPOINT_SECONDS, else 30. Raises UsageError."""
    text = os.environ.get("TUNER_CHECKPOINT_SECONDS", "30")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UsageError(f"TUNER_CHECKPOINT_SECONDS must be a number of seconds, 0 or more, but is {text!r}")
    return seconds
