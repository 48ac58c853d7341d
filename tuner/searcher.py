"""The bridge to Ray Tune: a Searcher that asks our planner, a Callback for dead workers, a Stopper for soft stops.

Why not Tune's OptunaSearch: it leaves trials RUNNING for ever when a value is NaN or the driver dies, records no reason
for a failure, counts `num_samples` as "more" after a restart, and knows no batches. Here Tune only executes.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from studies.records import Failure, FailureKind
from trainers.results import JobResult, Progress
from tuner.deaths import cause, oom_kills
from tuner.engine import EngineLostError, engine_watched, lost_process
from tuner.errors import UnreachableError
from tuner.messages import DONE, Report, TrainRequest, WorkerSettings
from tuner.planner import Planner, Task
from tuner.same_code import code_sha256
from tuner.worker import JobTrainable

logger = logging.getLogger(__name__)

_LOOK_EVERY = 0.5  # seconds


class Watcher(Protocol):
    """Who is told what happens; see `tuner.progress`."""

    def started(self, key: str, task: Task) -> None: ...
    def progressed(self, key: str, progress: Progress) -> None: ...
    def ended(self, key: str, task: Task, outcome: JobResult | Failure | None, *, again: bool = False) -> None: ...


@dataclass
class Desk:
    """The tasks that workers hold, by Tune's trial id."""

    planner: Planner
    watcher: Watcher
    settings: WorkerSettings
    stop_requested: Callable[[], bool]
    held: dict[str, Task] = field(default_factory=dict)
    error: Exception | None = None  # the first; `fit` raises it

    @contextlib.contextmanager
    def keeping_errors(self) -> Iterator[None]:
        """Keeps what goes wrong for `fit`: Tune would make a text of it, or the failure of some job."""
        try:
            yield
        except Exception as error:
            self.error = self.error or error

    @property
    def closed(self) -> bool:
        """Nothing more is written: after an error, what is under way only leaves its checkpoint."""
        return self.error is not None

    @property
    def finished(self) -> bool:
        """Nothing is under way, and nothing is left to hand out."""
        return not self.held if self.closed else self.planner.finished

    def __getstate__(self) -> dict[str, Any]:
        """Tune pickles searcher, callbacks and stopper for a restore that we never make: nothing of ours goes along."""
        return {}

    def should_stop(self) -> bool:
        """Whether jobs end at their next report."""
        with self.keeping_errors():
            return self.closed or self.stop_requested()
        return True

    def hand_out(self, key: str) -> TrainRequest | None:
        """The next task, as a worker is asked for it."""
        task = None if self.closed else self.planner.next_task()
        if task is None:
            return None
        self.held[key] = task
        self.watcher.started(key, task)
        return TrainRequest(
            configs=tuple(dict(config) for config in task.configs),
            read_test=task.kind == "reading",
            settings=self.settings,
            code=code_sha256(),
        )

    def take_back(self, key: str, outcome: JobResult | Failure | None) -> None:
        """A task ended by itself, or, with None, was stopped between two steps."""
        task = self.held.pop(key)
        if self.closed:
            return
        match outcome:
            case JobResult():
                if task.job is not None and task.job.round > 0 and not outcome.backbone.cached:
                    limited = self.settings.cache_bytes is not None
                    logger.warning(_trained_again(task.job.backbone_index, limited=limited))
                self.planner.complete(task, outcome)
                self.watcher.ended(key, task, outcome)
            case Failure() if outcome.kind.ends_launch:
                self.planner.interrupted(task)
                raise UnreachableError(
                    f"{outcome.text}; nothing that was finished is lost: go on with: "
                    f"tuner resume {self.planner.space.name}"
                )
            case Failure():
                self.lose(key, task, outcome)
            case None:
                self.planner.interrupted(task)
                self.watcher.ended(key, task, None)

    def lose(self, key: str, task: Task, failure: Failure) -> None:
        """A task came to nothing."""
        again = self.planner.fail(task, failure)
        self.watcher.ended(key, task, failure, again=again)


def _trained_again(backbone: int, *, limited: bool) -> str:
    """What is known of a backbone that a later round did not find: who removed its files is not."""
    said = f"backbone {backbone} was no longer in the cache, so it was trained again"
    if limited:
        return f"{said}; unless somebody deleted its files, the size limit did: raise --cache-gb"
    return f"{said}; this launch has no size limit, so its files were deleted by somebody else"


class PlannerSearcher(Searcher):
    """Tune asks, the planner answers."""

    def __init__(self, desk: Desk) -> None:
        super().__init__()
        self.desk = desk

    def suggest(self, trial_id: str) -> Any:
        """The next job's config; None while everything left waits for what is under way."""
        request = None
        with self.desk.keeping_errors():
            if self.desk.should_stop():
                self.desk.planner.closed = True
            request = self.desk.hand_out(trial_id)
        if request is not None:
            return request.to_tune()
        return Searcher.FINISHED if self.desk.finished else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Passes progress and warnings on."""
        report = Report.from_tune(result)
        if report is not None:
            _repeat(report.warnings)
            if isinstance(report.content, Progress):
                self.desk.watcher.progressed(trial_id, report.content)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Takes results in; a dead worker is `DeathWatch`'s, which knows the reason."""
        report = Report.from_tune(result)
        if report is not None:
            _repeat(report.warnings)
        if not error and trial_id in self.desk.held:
            outcome = None if report is None or isinstance(report.content, Progress) else report.content
            with self.desk.keeping_errors():
                self.desk.take_back(trial_id, outcome)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study database is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study database is the only state."""


def _repeat(warnings: Sequence[str]) -> None:
    """What the trainer warned of in a worker, where somebody sees it."""
    for warning in warnings:
        logger.warning("%s", warning)


class DeathWatch(Callback):
    """A worker process died (killed, out of memory, node lost): its job may be tried again."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._oom_kills = oom_kills()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Gives the task back with the cause of death."""
        task = self.desk.held.pop(trial.trial_id, None)
        before, self._oom_kills = self._oom_kills, oom_kills()
        if task is None or self.desk.closed:
            return
        with self.desk.keeping_errors():
            report = Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
            found = cause(report, oom_killed=self._oom_kills > before)
            text = f"the worker process died: {found}"
            self.desk.lose(trial.trial_id, task, Failure(FailureKind.WORKER_DIED, text))


class SoftStop(Stopper):
    """After a stop request, ends each job at its next report; the worker then writes a checkpoint."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._looked = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether this job ends here."""
        return not result[DONE] and self.desk.should_stop()

    def stop_all(self) -> bool:
        """Never: each job ends by itself. But Tune asks all the time, so that wishes are heard in a long epoch, too."""
        if time.monotonic() - self._looked > _LOOK_EVERY:
            self._looked = time.monotonic()
            lost = lost_process()
            if lost is not None:
                raise EngineLostError(lost)
            self.desk.should_stop()
        return False


def fit(
    desk: Desk,
    *,
    workers: int,
    cpus: int,
    gpus: float,
    scratch: Path,
    trainable: type[tune.Trainable] = JobTrainable,
) -> None:
    """Runs Tune until the planner is finished. Tune's own files go to `scratch` and mean nothing afterwards.

    Raises what the study database or a full disk raised meanwhile, and UnreachableError when Ray died before the end;
    everything under way stays adoptable.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": cpus, "gpu": gpus}),
        tune_config=tune.TuneConfig(
            search_alg=PlannerSearcher(desk),
            num_samples=-1,
            max_concurrent_trials=workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="tuner",
            storage_path=str(scratch),
            callbacks=[DeathWatch(desk)],
            stop=SoftStop(desk),
            verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),  # the trainer keeps its own
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    )
    try:
        with engine_watched():
            tuner.fit()
    except (EngineLostError, SystemError) as error:
        lost = error if isinstance(error, EngineLostError) else error.__cause__
        if not isinstance(lost, EngineLostError):
            raise
        if not desk.finished:
            raise UnreachableError(
                f"Ray's {lost} died (killed, or out of memory); nothing that was finished is lost: go on from the last "
                f"checkpoints with: tuner resume {desk.planner.space.name}"
            ) from None
    if desk.error is not None:
        raise desk.error
