"""A driver's running jobs and its estimate of the time left, in memory and in the database."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from studies.confirmed import CONFIRM, seed_in
from studies.records import Failure, ProgressRow, RunningRow
from studies.study_data import FRESH_SEED
from trainers.results import JobResult, Progress
from tuner.search.assignment import Assignment
from tuner.search.budget import OF_HEADS, time_of
from tuner.search.planner import Planner
from tuner.terminal.layout import share_of_stage1

log = logging.getLogger(__name__)

WRITE_EVERY = 2.0  # seconds; a write costs the driver about a millisecond
_CACHED = 0.25  # time of a job on a cached backbone, as a share of one that trains, until both are measured
_MEASURED = 2.0  # seconds before the first estimate


@dataclasses.dataclass
class _Job:
    row: RunningRow
    trains: bool
    size: float  # its time as a share of a full training's, if it trains
    since: float


class Running:
    """A watcher that keeps the running jobs in `rows`, and writes them to the database for `tuner status`.

    A failed write is logged, and the search goes on: nothing is derived from these rows.
    """

    def __init__(self, planner: Planner, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._planner = planner
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._first: tuple[float, float] | None = None  # time of the first report, and the work done by then
        self._written = -math.inf
        self._took: dict[bool, list[float]] = {False: [], True: []}  # seconds of ended jobs, by "cached"
        self._trained = 0.0  # full trainings that ended, shorter ones in part
        self._write()  # replaces the rows of an earlier driver

    @property
    def rows(self) -> tuple[RunningRow, ...]:
        """The running jobs, oldest first."""
        return tuple(job.row for job in self._jobs.values())

    def started(self, key: str, task: Assignment) -> None:
        """Job started; written at once."""
        trains = _trains(task)
        row = RunningRow(
            what=_in_words(task), heads=len(task.configs), reading=_only_reads(task), stage=1 if trains else 2
        )
        size = time_of(task.configs[0], self._planner.space.ladder)
        self._jobs[key] = _Job(row, trains=trains, size=size, since=self._clock())
        self._write()

    def progressed(self, key: str, progress: Progress) -> None:
        """Job reported progress; written every two seconds."""
        job = self._jobs[key]
        job.row = dataclasses.replace(
            job.row,
            stage=progress.stage,
            epoch=progress.epoch,
            epochs=progress.epochs,
            images_per_second=progress.images_per_second,
        )
        self._heard()
        if self._clock() - self._written >= WRITE_EVERY:
            self._write()

    def ended(self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False) -> None:
        """Job ended; written with the next event of another job."""
        job = self._jobs.pop(key)
        if isinstance(outcome, JobResult):
            self._took[outcome.backbone.cached].append(self._clock() - job.since)
            self._trained += 0.0 if outcome.backbone.cached else job.size
            self._heard()

    def seconds_left(self) -> float | None:
        """The time left at the speed so far, from ended jobs and epochs of running ones; None before it is measured.

        The unit is a full training of a backbone; a shorter one counts by its epochs, a job on a cached backbone as the
        share measured so far.
        """
        if self._first is None:
            return None
        since, before = self._first
        passed, done = self._clock() - since, self._done() - before
        if passed < _MEASURED or done <= 0:
            return None
        cached = self._share_of_cached()
        trainings, others = self._planner.work_left
        asked = sum(job.size if job.trains else cached for job in self._jobs.values())
        left = trainings + cached * others + asked - self._under_way()
        return passed / done * left

    def _heard(self) -> None:
        """Starts the clock at the first report of a worker, so that start-up does not count."""
        if self._first is None:
            self._first = (self._clock(), self._done())

    def _done(self) -> float:
        return self._trained + self._share_of_cached() * len(self._took[True]) + self._under_way()

    def _under_way(self) -> float:
        """Full trainings, of jobs that run."""
        return sum((job.size - OF_HEADS) * share_of_stage1(job.row) for job in self._jobs.values() if job.trains)

    def _share_of_cached(self) -> float:
        trained, cached = self._took[False], self._took[True]
        if not trained or not cached:
            return _CACHED
        return min(1.0, sum(cached) / len(cached) / max(1e-9, sum(trained) / self._trained))

    def _write(self) -> None:
        row = ProgressRow(updated=datetime.now(UTC), running=self.rows, seconds_left=self.seconds_left())
        try:
            self._planner.store.keep_progress(row)
        except Exception as error:  # no error here may end hours of training
            log.warning("what runs now was not written down for `tuner status`: %s", error)
        self._written = self._clock()


def _trains(task: Assignment) -> bool:
    """True if the job is expected to train its backbone, not to find it in the cache."""
    if task.job is None:
        return not _only_reads(task)
    return task.job.round == 0


def _only_reads(task: Assignment) -> bool:
    """True if the task only reads test data and trains nothing."""
    return task.job is None and not all(reading.trains for reading in task.readings)


def _in_words(task: Assignment) -> str:
    if task.job is None:
        if _trains(task):
            return f"fresh seed {task.configs[0]['stage1.seed']}"
        seed = f"seed {seed_in(task.configs[0])}"
        return f"test of {', '.join(seed if one.role == FRESH_SEED else one.role for one in task.readings)}"
    if task.job.kind == "baseline":
        return "naive baseline"
    if task.job.kind == CONFIRM:
        return f"confirm backbone {task.job.backbone_index}, seed {seed_in(task.configs[0])}"
    return f"backbone {task.job.backbone_index}{', refined' if task.job.kind == 'refine' else ''}"
