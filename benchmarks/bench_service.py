"""What the service itself costs: jobs without training, through sampler, database, planner and Ray Tune.

Three figures: time per trial with heads in batches of 64 at 1,000 and at 10,000 trials in the study, and time per job,
one head each, against Tune's own OptunaSearch on the same machine in the same run. What is paid once, the start of Ray
and of the worker processes, is left out of all: the clock runs from the first result to the last.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.record import record
from search_spaces import Space, loads
from studies.records import Failure
from studies.store import Store
from tests.support.pretend import job_result
from trainers.results import JobResult, Progress
from tuner.execution.ray_session import ray_session
from tuner.search.assignment import Assignment
from tuner.search.planner import Planner

if TYPE_CHECKING:
    import optuna

SPACE = """
version: 1
name: noop
task: {{dataset: digits-lt}}
stage1: {{lr: {{low: 1e-2, high: 1e-1, log: true}}, weight_decay: {{low: 1e-4, high: 1e-1, log: true}}}}
stage2:
  lr: {{low: 1e-3, high: 1e-1, log: true}}
  weight_decay: {{low: 1e-4, high: 1.0, log: true}}
  maxnorm_radius: {{low: 0.1, high: 3.0, log: true}}
budget: {{backbones: {backbones}, heads_per_backbone: {heads}, rounds: 1}}
sampler: {{stage1: gp, stage2: tpe}}
baselines: []
"""


JOBS = 48


@dataclass
class Clock:
    """Watches when results come in."""

    began: float = field(default_factory=time.perf_counter)
    results: list[float] = field(default_factory=list)

    def started(self, key: str, task: Assignment) -> None: ...
    def progressed(self, key: str, progress: Progress) -> None: ...
    def ended(self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False) -> None:
        """A result is in the study database."""
        if task.job is not None:
            self.results.append(time.perf_counter())

    @property
    def start(self) -> float:
        """Seconds until the first result, most of them for worker processes to start."""
        return self.results[0] - self.began

    @property
    def each(self) -> float:
        """Seconds a job, from the first result to the last."""
        return (self.results[-1] - self.results[0]) / (len(self.results) - 1)


def main() -> None:
    """Prints one line a figure."""
    with ray_session(cpus=2, gpus=0) as scratch:
        _batches(scratch, filled=0, target=5)
        _batches(scratch, filled=9024, target=10)
        ours = _ours_one_by_one(scratch)
        theirs = _optuna_search(scratch)
    record(
        name="service_per_job", figure=theirs / ours, unit="x", baseline="Tune with OptunaSearch on SQLite, defaults",
        target=5, met=theirs / ours >= 5, n=JOBS, ours_seconds=ours, theirs_seconds=theirs,
    )  # fmt: skip


def _batches(scratch: Path, *, filled: int, target: float) -> None:
    """1,000 trials by 64 in a study that already holds `filled`."""
    with tempfile.TemporaryDirectory() as folder:
        if filled:
            _fill(Path(folder), filled)
        trials = filled + 1024
        clock = _run(_space(trials // 64, 64), Path(folder), scratch)
    each = 1000 * clock.each / 64
    record(
        name=f"service_per_trial_at_{trials}", figure=each, unit="ms", baseline="none: absolute", target=target,
        met=each <= target, n=1024, seconds_to_first_result=clock.start,
    )  # fmt: skip


def _ours_one_by_one(scratch: Path) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return _run(_space(JOBS, 1), Path(folder), scratch).each


def _space(backbones: int, heads: int) -> Space:
    return loads(SPACE.format(backbones=backbones, heads=heads))


def _fill(folder: Path, trials: int) -> None:
    """Plays the first part of the study without Ray."""
    space = _space(trials // 64, 64)
    with _store(space, folder) as store:
        planner = Planner(space, store)
        while (task := planner.next_task()) is not None and task.job is not None:
            planner.complete(task, job_result(task.configs))


def _run(space: Space, folder: Path, scratch: Path) -> Clock:
    from ray import tune

    from tuner.execution.bridge import run_tune
    from tuner.execution.dispatcher import Dispatcher
    from tuner.execution.messages import Report, TrainRequest, WorkerSettings
    from tuner.execution.slots import Slots

    class NoOp(tune.Trainable):  # type: ignore[misc]
        """Ends at once."""

        def setup(self, config: dict[str, Any]) -> None:
            self.request = TrainRequest.from_tune(config)

        def step(self) -> dict[str, Any]:
            results = {
                place: job_result(job.configs, read_test=job.read_test) for place, job in enumerate(self.request.jobs)
            }
            return Report(contents=results, over=True).to_tune()

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

    with _store(space, folder) as store:
        planner = Planner(space, store)
        clock = Clock()
        settings = WorkerSettings(threads=1, cache=str(folder))
        dispatcher = Dispatcher(planner, clock, settings, lambda: None)
        slots = Slots(workers=2, cpus_each=1, gpus_each=0, gpus=0)
        run_tune(dispatcher, slots=slots, scratch=scratch, trainable=NoOp)
        return clock


def _store(space: Space, folder: Path) -> Store:
    return Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}",
        name=space.name,
        space_yaml=space.to_yaml(),
        space_sha256=space.sha256,
        objective=space.objective,
    )


def _same_space(trial: optuna.Trial) -> None:
    for name, low, high in (("lr", 1e-2, 1e-1), ("wd", 1e-4, 1e-1), ("lr2", 1e-3, 1e-1), ("wd2", 1e-4, 1.0)):
        trial.suggest_float(name, low, high, log=True)
    trial.suggest_float("radius", 0.1, 3.0, log=True)


def _optuna_search(scratch: Path) -> float:
    """The same number of jobs by Tune's own integration, with its defaults: a new process a trial."""
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    def noop(config: dict[str, float]) -> None:
        tune.report({"value": -config["lr"]})

    results: list[float] = []

    class Ended(tune.Callback):  # type: ignore[misc]
        """Notes when a trial is over."""

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            results.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        storage = optuna.storages.RDBStorage(f"sqlite:///{Path(folder) / 'optuna.db'}")
        search = OptunaSearch(_same_space, metric="value", mode="max", storage=storage)
        tuner = tune.Tuner(
            tune.with_resources(noop, {"cpu": 1}),
            tune_config=tune.TuneConfig(search_alg=search, num_samples=JOBS, max_concurrent_trials=2),
            run_config=tune.RunConfig(name="optuna", storage_path=str(scratch), verbose=0, callbacks=[Ended()]),
        )
        tuner.fit()
    return (results[-1] - results[0]) / (JOBS - 1)


if __name__ == "__main__":
    main()
