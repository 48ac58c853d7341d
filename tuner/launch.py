"""A study from its space to its report: Ray up, jobs out, results in, final reading, report and best.yaml."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rich.console import Console

from search_spaces import Space
from studies.lock import StudyLock, study_lock
from studies.records import ReadingRow
from studies.store import Store
from tuner.errors import KilledError, StoppedError, TunerError, UnreachableError, UsageError
from tuner.hours import Hours
from tuner.paths import Home
from tuner.planner import Planner
from tuner.preflight import Preflight, dry_build
from tuner.publishing import Publisher, publish_results
from tuner.ray_session import ray_session, sweep_scratch
from tuner.slots import Resources, Slots, available_cpus, cut_slots, describe, gpu_count
from tuner.stopping import STOP_NOTICE, StopRequests
from tuner.terminal import styled

_UNRECORDED = 2  # the trainer's version when studies began to record it


@dataclass(frozen=True)
class Finished:
    """Where a finished study's results lie, and the readings of test data."""

    report: Path
    best: Path
    readings: tuple[ReadingRow, ...]


def run_study(
    space: Space, *, home: Home, storage: str, resources: Resources, console: Console, stops: StopRequests
) -> Finished:
    """Runs a study to the end of its budget, from wherever it stands.

    Raises StudyLockedError when another driver has the study, UsageError or TunerError before anything is written when
    space or data cannot work, StoppedError or KilledError after a stop request, TunerError when too many jobs failed.
    """
    home.study(space.name)  # refuses a name that cannot be, before anything is loaded
    with study_lock(storage, space.name) as lock:  # torch and the data may take minutes to load
        slots = cut_slots(resources, cpus=available_cpus(), gpus=gpu_count())
        checked = dry_build(space)
        for note in checked.notes:
            console.print(styled(f"note: {note}", "dim"), soft_wrap=True)
        stops.leave()
        lock.confirm()
        home.make(space.name)
        with home.sharing(), _open(storage, space, lock) as store, _stopped_state(store, stops):
            _refuse_other_data(store, checked)
            return _run(Planner(space, store), lock, home, slots, resources, console, stops)


def _run(
    planner: Planner,
    lock: StudyLock,
    home: Home,
    slots: Slots,
    resources: Resources,
    console: Console,
    stops: StopRequests,
) -> Finished:
    from trainers.cache import Cache

    store, name = planner.store, planner.space.name
    sweep_scratch()  # of killed drivers, also where nothing is left to run
    Cache(home.cache.absolute()).sweep()
    planner.time_is_up = Hours(store, planner.space.budget.hours).over
    if planner.has_work():
        store.set_trainers(_trainers(store, mixed=resources.mixed_trainers))
        store.set_state("running")
        store.clear_stop()
        _search(planner, lock, home, slots, resources, console, stops)
    _note_others(store, console)
    stops.note(f"the search of {name} is over; its report is being written; Ctrl-C again stops now", _teller(console))
    unwritten = f"the search of {name} is over, but its report is not written; write it with: tuner report {name}"
    with stops.ending(f"{unwritten}, and best.yaml with: tuner export {name}"):
        return _finish(planner, home)


@contextlib.contextmanager
def _stopped_state(store: Store, stops: StopRequests) -> Iterator[None]:
    """Whatever stops the driver from here on, its study says that it is stopped."""
    try:
        with stops.ending(f"stopped before any job was begun; continue with: tuner resume {store.name}"):
            yield
    except (StoppedError, KilledError, UnreachableError):
        if store.study().state == "running":
            store.set_state("stopped")
        raise


def _teller(console: Console) -> Callable[[str], None]:
    return lambda text: console.print(styled(text, "yellow"), soft_wrap=True)


def _note_others(store: Store, console: Console) -> None:
    others = store.others_trials()
    if others:
        words = (
            f"note: {others} trial(s) of study {store.name} are another program's, made with Optuna; none of them was "
            "run, counted or reported"
        )
        console.print(styled(words, "dim"), soft_wrap=True)


def _refuse_other_data(store: Store, checked: Preflight) -> None:
    known = store.study().data_fingerprint
    if known not in (None, checked.data_fingerprint):
        raise UsageError(
            f"study {store.study().name} was made on other images (fingerprint {str(known)[:12]}, now "
            f"{checked.data_fingerprint[:12]}); bring the data back, or start another study with --name"
        )


def _trainers(store: Store, *, mixed: bool) -> tuple[int, ...]:
    """The versions of the trainer that the study's results will be of. Raises UsageError for an unwanted mixture."""
    from trainers.backbone import TRAINER_VERSION

    known = (store.study().trainers or (_UNRECORDED,)) if store.backbones() else ()
    if known and TRAINER_VERSION not in known and not mixed:
        raise UsageError(
            f"study {store.name} holds results of trainer version {known[-1]}, and this release trains by version "
            f"{TRAINER_VERSION}, which gives other results for the same settings; go on with the release that it was "
            "begun with, start another study with --name, or mix them with --mixed-trainers (the report will say so)"
        )
    return known if TRAINER_VERSION in known else (*known, TRAINER_VERSION)


def _open(storage: str, space: Space, lock: StudyLock) -> Store:
    return Store.create_or_open(
        storage,
        name=space.name,
        space_yaml=space.to_yaml(),
        space_sha256=space.sha256,
        objective=space.objective,
        held=lock,
    )


def _search(
    planner: Planner,
    lock: StudyLock,
    home: Home,
    slots: Slots,
    resources: Resources,
    console: Console,
    stops: StopRequests,
) -> None:
    """Hands every task to Ray Tune until the planner is finished or a stop was asked for."""
    import torch

    from trainers.cache import Cache
    from tuner.progress import LiveTable, PlainLines, Told
    from tuner.running import Running

    torch.set_num_threads(1)  # the driver's share: the outer sampler's Gaussian process
    name = planner.space.name
    console.print(styled(describe(slots, resources), "dim"), soft_wrap=True)
    running = Running(planner)
    live = console.is_terminal
    screen = LiveTable(planner, running, name=name, console=console) if live else PlainLines(planner, running)
    hours = Hours(planner.store, planner.space.budget.hours)

    def poll() -> Literal["soft", "now"] | None:
        wish = planner.store.stop_requested()  # first, for it says the most when the database is not there
        lock.confirm()  # a restarted PostgreSQL has forgotten whose the study is
        return wish

    stops.note(STOP_NOTICE.format(name=name), _teller(console))
    at_once = f"stopped at once; go on from the last checkpoints with: tuner resume {name}"
    try:
        with ray_session(cpus=slots.workers * slots.cpus_each, gpus=slots.gpus) as scratch:
            stops.leave()
            from tuner.messages import WorkerSettings
            from tuner.searcher import Desk, fit

            cache = Cache(home.cache.absolute())
            if resources.cache_bytes is not None:
                cache.trim(resources.cache_bytes)
            settings = WorkerSettings(
                threads=slots.cpus_each,
                cache=str(cache.root),
                cache_bytes=resources.cache_bytes,
                checkpoint_seconds=checkpoint_seconds(),
                gpu=slots.gpus_each > 0,
            )
            desk = Desk(
                planner,
                Told(running, screen),
                settings,
                _until(lambda: stops.check(poll), planner, Publisher(planner.store, home), hours),
            )
            with stops.ending(at_once):
                fit(desk, workers=slots.workers, cpus=slots.cpus_each, gpus=slots.gpus_each, scratch=scratch)
    finally:
        screen.close()
    hours.keep(now=True)
    if stops.requested and planner.has_work():
        raise StoppedError(f"stopped with work left; continue with: tuner resume {name}")


def _until(stopped: Callable[[], bool], planner: Planner, publisher: Publisher, hours: Hours) -> Callable[[], bool]:
    """The stop check of this run, which also watches the hours of the budget and keeps the dashboard fresh."""

    def check() -> bool:
        planner.time_is_up = hours.over
        hours.keep()
        publisher.now_and_then(planner.tally.complete + planner.tally.failed)
        return stopped()

    return check


def _finish(planner: Planner, home: Home) -> Finished:
    """Closes the study: a readable end when it failed, else report and best.yaml."""
    from studies.study_data import load_study_data

    store, name = planner.store, planner.space.name
    planner.close_waiting()
    if planner.time_is_up and not planner.hopeless and not planner.tally.complete:
        store.set_state("stopped")
        raise TunerError(
            f"study {name}: budget.hours ({planner.space.budget.hours:g}) were over before any trial was complete; "
            f"give it more with: tuner resume {name} --set budget.hours=HOURS"
        )
    if planner.hopeless or not planner.tally.complete:
        store.set_state("failed")
        reason = planner.failures[0] if planner.failures else "see the reasons of its trials"
        raise TunerError(
            f"study {name}: {planner.tally.failed_jobs} jobs failed (budget.max_failed is "
            f"{planner.space.budget.max_failed}); first: {reason}; list them with: tuner trials {name} --failed"
        )
    store.set_state("stopped" if planner.unread else "done")
    data = load_study_data(store)
    publish_results(store, data, home)
    store.confirm()  # or what is named below is not there
    if planner.unread:
        raise TunerError(
            f"study {name}: the search is over and the report written, but {len(planner.unread)} final reading(s) of "
            f"test data failed, first {planner.unread[0]}; make them again with: tuner resume {name}"
        )
    return Finished(report=home.report(name), best=home.best(name), readings=(*data.readings, *data.fresh))


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints of stage 1, from the environment where it says so. Raises UsageError."""
    text = os.environ.get("TUNER_CHECKPOINT_SECONDS", "30")
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise UsageError(f"TUNER_CHECKPOINT_SECONDS must be a number of seconds, 0 or more, but is {text!r}")
    return seconds
