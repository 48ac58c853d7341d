"""The bridge to Ray Tune: a Searcher that asks our dispatcher, a Callback for dead workers, a Stopper for soft stops.

Why not Tune's OptunaSearch: it leaves trials RUNNING for ever when a value is NaN or the driver dies, records no reason
for a failure, adds `num_samples` again after a restart, and has no batches. Here Tune only executes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from studies.records import Failure, FailureKind
from tuner.errors import UnreachableError
from tuner.execution.deaths import cause, oom_kills
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.job_group import rates
from tuner.execution.liveness import EngineLostError, engine_watched, lost_process
from tuner.execution.messages import DONE, Report, TrainRequest
from tuner.execution.slots import Slots
from tuner.execution.worker import JobTrainable

logger = logging.getLogger(__name__)

_STOP_CHECK_EVERY = 0.5  # seconds


class PlannerSearcher(Searcher):
    """Gives Tune the planner's jobs, and the planner Tune's results."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        super().__init__()
        self.dispatcher = dispatcher

    def suggest(self, trial_id: str) -> Any:
        """The next jobs' config; None while the remaining work waits for running jobs."""
        request = self.dispatcher.hand_out(trial_id)
        if request is not None:
            return request.to_tune()
        return Searcher.FINISHED if self.dispatcher.finished else None

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Forwards news and warnings."""
        report = Report.from_tune(result)
        if report is not None:
            _repeat(report.warnings)
            self.dispatcher.reported(trial_id, report.contents)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Forwards the last news, except of a dead worker: `DeathWatch` knows the reason."""
        report = Report.from_tune(result)
        if report is not None and not error:
            _repeat(report.warnings)
            self.dispatcher.reported(trial_id, report.contents)
        if not error:
            self.dispatcher.ended(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the study database is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: the study database is the only state."""


def _repeat(warnings: Sequence[str]) -> None:
    """Logs a worker's warnings in the driver, where the user sees them."""
    for warning in warnings:
        logger.warning("%s", warning)


class DeathWatch(Callback):
    """Reports jobs whose worker process died (killed, out of memory), so that they can be retried."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._oom_kills = oom_kills()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Ends the worker's jobs with the cause of death."""
        before, self._oom_kills = self._oom_kills, oom_kills()
        found = cause(_report_of(trial), oom_killed=self._oom_kills > before)
        failure = Failure(FailureKind.WORKER_DIED, f"the worker process died: {found}")
        self.dispatcher.ended(trial.trial_id, failure)


def _report_of(trial: Any) -> str:
    """Ray's text about a trial's error; "" if it cannot be read."""
    try:
        return Path(trial.error_file).read_text(encoding="utf-8") if trial.error_file else ""
    except OSError:
        return ""


class SoftStop(Stopper):
    """After a stop request, ends each job at its next report; the worker then writes a checkpoint."""

    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._looked = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """True if these jobs end now."""
        return not result[DONE] and self.dispatcher.ends_jobs()

    def stop_all(self) -> bool:
        """Always False. Tune calls it often, so it looks for stop requests and a dead Ray during long epochs."""
        if time.monotonic() - self._looked > _STOP_CHECK_EVERY:
            self._looked = time.monotonic()
            lost = lost_process()
            if lost is not None:
                raise EngineLostError(lost)
            self.dispatcher.ends_jobs()
        return False


def measure_in_worker(request: TrainRequest, *, slots: Slots) -> dict[int, float]:
    """Measures images per second by number of backbones at once, in a worker like those of the jobs.

    Raises UnreachableError if Ray died, and the errors of the configuration.
    """
    import ray

    @ray.remote(num_cpus=slots.cpus_each, num_gpus=slots.gpus_each, max_retries=0)
    def measured(encoded: dict[str, Any]) -> dict[int, float]:
        return rates(TrainRequest.from_tune(encoded))

    try:
        with engine_watched():
            found: dict[int, float] = ray.get(measured.remote(request.to_tune()))
    except EngineLostError as error:
        raise UnreachableError(f"Ray's {error} died; give the same command again") from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause if isinstance(error.cause, Exception) else error from None
    return found


def run_tune(
    dispatcher: Dispatcher, *, slots: Slots, scratch: Path, trainable: type[tune.Trainable] = JobTrainable
) -> None:
    """Runs Tune until the dispatcher is finished. Tune's own files go to `scratch` and are not needed afterwards.

    Raises the error that broke the launch, or UnreachableError if Ray died before the end; the next launch can adopt
    the running jobs.
    """
    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": slots.cpus_each, "gpu": slots.gpus_each}),
        tune_config=tune.TuneConfig(
            search_alg=PlannerSearcher(dispatcher),
            num_samples=-1,
            max_concurrent_trials=slots.workers,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="tuner",
            storage_path=str(scratch),
            callbacks=[DeathWatch(dispatcher)],
            stop=SoftStop(dispatcher),
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
        if not dispatcher.finished:
            raise UnreachableError(
                f"Ray's {lost} died (killed, or out of memory); nothing that was finished is lost: go on from the last "
                f"checkpoints with: tuner resume {dispatcher.planner.space.name}"
            ) from None
    dispatcher.raise_error()
