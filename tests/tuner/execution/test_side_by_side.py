"""Several backbones in one worker: the study's rows know no difference, and what fails, fails alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.tune.search import Searcher
from rich.console import Console

from search_spaces import loads
from studies.errors import StorageUnavailableError
from studies.records import Failure, FailureKind
from studies.store import Store
from tests.support.dispatchers import dispatcher_of
from tests.support.pretend import job_result
from trainers.results import Progress
from tuner.errors import StoppedError, UsageError
from tuner.execution import executor
from tuner.execution.bridge import DeathWatch, PlannerSearcher
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.messages import Report, TrainRequest
from tuner.execution.slots import Resources
from tuner.launch import Launch, run_study
from tuner.paths import Home
from tuner.stopping import StopRequests

SPACE = """
version: 1
name: abreast
task: {dataset: digits-lt, imbalance_factor: 10, max_count: 40, model: cnn-small}
stage1: {epochs: 2, precision: fp32, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 3, heads_per_backbone: 2, rounds: 1, fresh_seeds: 2, max_retries: 2}
sampler: {stage1: random, stage2: random}
baselines: [naive, tau_norm]
"""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def launch(folder: Path, at_once: Any = None, *, space: str = SPACE) -> Launch:
    return Launch(
        space=loads(space),
        home=Home(folder),
        storage=Home(folder).storage_url,
        resources=Resources(executor="inline", backbones_per_gpu=at_once),
        console=Console(stderr=True),
        stops=StopRequests(),
    )


def rows(folder: Path) -> list[object]:
    """What a study holds, without times and without the order in which trials were finished."""
    with Store.open(Home(folder).storage_url, "abreast") as store:
        trials = [(r.number, r.state, r.value, r.config, r.metrics, r.norms) for r in store.trials()]
        readings = sorted((r.role, str(r.config), str(r.metrics)) for r in store.readings())
        backbones = sorted((r.fingerprint, str(r.metrics), str(r.norms)) for r in store.backbones())
        return [trials, readings, backbones]


def groups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of jobs in each request that is handed out from now on."""
    sizes: list[int] = []
    handed_out = Dispatcher.hand_out

    def counted(self: Dispatcher, key: str) -> TrainRequest | None:
        request = handed_out(self, key)
        if request is not None:
            sizes.append(len(request.jobs))
        return request

    monkeypatch.setattr(Dispatcher, "hand_out", counted)
    return sizes


def test_a_study_is_the_same_with_one_or_three_backbones_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random samplers, whose proposals do not depend on what has been finished."""
    run_study(launch(tmp_path / "one"))
    sizes = groups(monkeypatch)
    run_study(launch(tmp_path / "three", 3))
    assert sizes[:2] == [3, 1]  # naive and two backbones; the third
    assert max(sizes[2:]) == 3  # readings
    assert rows(tmp_path / "one") == rows(tmp_path / "three")


def test_the_number_is_kept_with_the_study_and_a_resumed_one_goes_on_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = launch(tmp_path, 2)
    with monkeypatch.context() as stopping:
        stopping.setattr("tuner.execution.job_group.REPORT_EVERY", 0.0)
        stopping.setattr(
            "tuner.terminal.time_left.Running.progressed", lambda *_: setattr(asked.stops, "requested", True)
        )
        with pytest.raises(StoppedError):
            run_study(asked)
    assert len(list(tmp_path.glob("cache/*/checkpoint.safetensors"))) == 2
    sizes = groups(monkeypatch)
    run_study(launch(tmp_path))
    assert sizes[0] == 2
    with Store.open(Home(tmp_path).storage_url, "abreast") as store:
        assert store.study().backbones_per_gpu == 2
        assert {row.state for row in store.trials()} == {"COMPLETE"}
    run_study(launch(tmp_path, 1, space=SPACE.replace("backbones: 3", "backbones: 4")))
    assert "began with 2 backbone(s) at a time" in capsys.readouterr().err
    assert sizes[-1] == 1


def test_auto_is_measured_once_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[TrainRequest] = []

    def rates(request: TrainRequest) -> dict[int, float]:
        measured.append(request)
        return {1: 100.0, 2: 180.0, 4: 181.0}

    monkeypatch.setattr(executor, "rates", rates)
    run_study(launch(tmp_path, "auto"))
    run_study(launch(tmp_path, "auto", space=SPACE.replace("backbones: 3", "backbones: 4")))
    assert len(measured) == 1
    assert "1: 100 images/s, 2: 180 images/s, 4: 181 images/s; 2 from now on" in capsys.readouterr().err
    with Store.open(Home(tmp_path).storage_url, "abreast") as store:
        assert store.study().backbones_per_gpu == 2


def test_one_that_diverges_fails_alone(tmp_path: Path) -> None:
    wild = SPACE.replace("precision: fp32,", "precision: fp32, lr: {low: 1.0e-2, high: 1.0e+28, log: true},")
    space = wild.replace("max_retries: 2", "max_failed: 9").replace("backbones: 3", "backbones: 6")
    run_study(launch(tmp_path, 7, space=space))
    with Store.open(Home(tmp_path).storage_url, "abreast") as store:
        failures = {job.failure for job in store.jobs()}
        states = {row.state for row in store.trials()}
    assert failures == {None, FailureKind.DIVERGED}
    assert states == {"COMPLETE", "FAIL"}


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[Dispatcher]:
    with dispatcher_of(loads(SPACE), tmp_path, at_once=3) as made:
        yield made


def handed_out(searcher: PlannerSearcher, key: str) -> int:
    request = searcher.suggest(key)
    return len(TrainRequest.from_tune(request).jobs) if isinstance(request, dict) else 0


def test_after_a_workers_death_each_of_its_jobs_is_retried_alone(dispatcher: Dispatcher) -> None:
    """Else one that kills its worker would use up the retries of the others."""
    searcher = PlannerSearcher(dispatcher)
    assert handed_out(searcher, "a") == 3
    done = job_result(dispatcher.held["a"][1].configs)
    searcher.on_trial_result("a", Report(contents={1: done}).to_tune())
    assert [row.state for row in dispatcher.planner.store.trials()].count("COMPLETE") == 2
    DeathWatch(dispatcher).on_trial_error(0, [], SimpleNamespace(trial_id="a", error_file=None))
    assert [handed_out(searcher, key) for key in "bcd"] == [1, 1, 1]  # naive, backbone 1, and then the third backbone
    attempts = sorted(job.attempts for job in dispatcher.planner.store.jobs())
    assert attempts == [1, 1, 2, 2]


def test_an_error_between_two_tasks_of_a_group_leaves_nothing_held(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the search would wait for a task that no worker has."""
    next_task = dispatcher.planner.next_task

    def away(*, retries: bool = True) -> Any:
        if not retries:
            raise StorageUnavailableError("the database is away")
        return next_task()

    monkeypatch.setattr(dispatcher.planner, "next_task", away)
    assert PlannerSearcher(dispatcher).suggest("a") == Searcher.FINISHED
    assert isinstance(dispatcher.planner.lifecycle.error, StorageUnavailableError)
    assert {row.state for row in dispatcher.planner.store.trials()} == {"RUNNING"}


def test_what_is_told_of_a_job_that_has_ended_changes_nothing(dispatcher: Dispatcher) -> None:
    searcher = PlannerSearcher(dispatcher)
    assert handed_out(searcher, "a") == 3
    failure = Failure(FailureKind.ERROR, "a defect")
    searcher.on_trial_result("a", Report(contents={0: failure}).to_tune())
    late = Progress(stage=1, epoch=1, epochs=2, metrics={})
    searcher.on_trial_result("a", Report(contents={0: late, 1: late, 7: late}).to_tune())
    searcher.on_trial_complete("a", Report(contents={0: failure}).to_tune())
    states = [row.state for row in dispatcher.planner.store.trials()]
    assert states == ["FAIL", *["RUNNING"] * 4]
    assert not any(dispatcher.held.values())


def test_two_ways_of_sharing_a_gpu_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_study(launch(tmp_path, 2))
    monkeypatch.setattr("tuner.launch.gpu_count", lambda: 1)
    again = launch(tmp_path, space=SPACE.replace("backbones: 3", "backbones: 4"))
    shared = dataclasses.replace(again, resources=Resources(gpus_per_trial=0.5, backbones_per_gpu=2))
    with pytest.raises(UsageError, match="give only one of them"):
        run_study(shared)
    with pytest.raises(UsageError, match="--backbones-per-gpu 1"):
        run_study(dataclasses.replace(again, resources=Resources(gpus_per_trial=0.5)))
