"""What a driver is at: its jobs and the time left, in memory for its own terminal and in the database for others."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from studies.records import Failure, ProgressRow, RunningRow
from studies.study_data import FRESH_SEED
from trainers.results import JobResult, Progress
from tuner.search.planner import Assignment, Planner
from tuner.terminal.layout import share_of_stage1

log = logging.getLogger(__name__)

WRITE_EVERY = 2.0  # seconds; a write costs the driver about a millisecond
_CACHED = 0.25  # of a job that trains: what one on a cached backbone takes, until both have been measured
_TRAINING = 0.9  # of a job that trains: its stage 1; the heads come after
_MEASURED = 2.0  # seconds from which on a speed is worth telling


@dataclasses.dataclass
class _Job:
    row: RunningRow
    trains: bool
    since: float


class Running:
    """Watchers of every job, like a watcher; `rows` are those under way.

    The database holds them for `tuner status` in another terminal, for as long as the study's state is "running". That
    is a view: what cannot be written is logged, and the search goes on.
    """

    def __init__(self, planner: Planner, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._planner = planner
        self._clock = clock
        self._jobs: dict[str, _Job] = {}
        self._first: tuple[float, float] | None = None  # when something was first heard, and what was done by then
        self._written = -math.inf
        self._took: dict[bool, list[float]] = {False: [], True: []}  # seconds of ended jobs, by "cached"
        self._write()  # that of an earlier driver is no longer true

    @property
    def rows(self) -> tuple[RunningRow, ...]:
        """The jobs under way, oldest first."""
        return tuple(job.row for job in self._jobs.values())

    def started(self, key: str, task: Assignment) -> None:
        """A job more, known to others at once."""
        trains = _trains(task)
        row = RunningRow(what=_what(task), heads=len(task.configs), reading=_only_reads(task), stage=1 if trains else 2)
        self._jobs[key] = _Job(row, trains=trains, since=self._clock())
        self._write()

    def progressed(self, key: str, progress: Progress) -> None:
        """An epoch more."""
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
        """A job less; the next one that starts makes it known."""
        job = self._jobs.pop(key)
        if isinstance(outcome, JobResult):
            self._took[outcome.backbone.cached].append(self._clock() - job.since)
            self._heard()

    def seconds_left(self) -> float | None:
        """At the speed so far, by the epochs of what runs and the jobs that ended; None before anything is measured.

        Counted in trainings of a backbone: a job that finds one in the cache is the share of it that it was till now.
        """
        if self._first is None:
            return None
        since, before = self._first
        passed, done = self._clock() - since, self._done() - before
        if passed < _MEASURED or done <= 0:
            return None
        cached = self._share_of_cached()
        trainings, others = self._planner.work_left
        asked = sum(1.0 if job.trains else cached for job in self._jobs.values())
        left = trainings + cached * others + asked - self._under_way()
        return passed / done * left

    def _heard(self) -> None:
        """The clock runs from the first word of a worker: its start-up is paid once."""
        if self._first is None:
            self._first = (self._clock(), self._done())

    def _done(self) -> float:
        return len(self._took[False]) + self._share_of_cached() * len(self._took[True]) + self._under_way()

    def _under_way(self) -> float:
        return sum(_TRAINING * share_of_stage1(job.row) for job in self._jobs.values() if job.trains)

    def _share_of_cached(self) -> float:
        trained, cached = self._took[False], self._took[True]
        if not trained or not cached:
            return _CACHED
        return min(1.0, sum(cached) / len(cached) / max(1e-9, sum(trained) / len(trained)))

    def _write(self) -> None:
        row = ProgressRow(updated=datetime.now(UTC), running=self.rows, seconds_left=self.seconds_left())
        try:
            self._planner.store.keep_progress(row)
        except Exception as error:  # whatever it is, it must not end hours of training
            log.warning("what runs now was not written down for `tuner status`: %s", error)
        self._written = self._clock()


def _trains(task: Assignment) -> bool:
    """Whether the job is likely to train its backbone, and not to find it."""
    if task.job is None:
        return not _only_reads(task)
    return task.job.round == 0


def _only_reads(task: Assignment) -> bool:
    """Whether test data is read and nothing is trained."""
    return task.job is None and any(reading.role != FRESH_SEED for reading in task.readings)


def _what(task: Assignment) -> str:
    if task.job is None:
        if _trains(task):
            return f"fresh seed {task.configs[0]['stage1.seed']}"
        return f"test of {', '.join(reading.role for reading in task.readings)}"
    if task.job.kind == "baseline":
        return "naive baseline"
    return f"backbone {task.job.backbone_index}{', refined' if task.job.kind == 'refine' else ''}"
