"""What a worker sends back: results, progress, and reasons; an exception only where its process is spoilt."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studies.records import Failure, FailureKind
from trainers.config import Stage1Config, TaskConfig, TrialConfig
from trainers.results import JobResult, Progress
from tuner.execution import job_group
from tuner.execution.messages import Content, JobRequest, Report, TrainRequest, WorkerSettings
from tuner.execution.same_code import code_sha256
from tuner.execution.worker import JobTrainable


@pytest.fixture(autouse=True)
def every_step_reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(job_group, "REPORT_EVERY", 0.0)
    yield
    torch.set_num_threads(threads)


def request(
    folder: Path, *others: dict[str, Any], task: TaskConfig | None = None, code: str | None = None, **stage1: Any
) -> dict[str, Any]:
    """A request of one job, and one more for each of `others`, the stage-1 settings that differ."""
    jobs = []
    for differs in ({}, *others):
        settings: dict[str, Any] = {"epochs": 2, "precision": "fp32", **stage1, **differs}
        config = TrialConfig(task=task or TaskConfig(), stage1=Stage1Config(**settings))
        jobs.append(JobRequest(configs=(config.to_flat(),)))
    worker = WorkerSettings(threads=1, cache=str(folder))
    return TrainRequest(jobs=tuple(jobs), settings=worker, code=code or code_sha256()).to_tune()


def steps(job: JobTrainable) -> list[Report]:
    found = [said(job)]
    while not found[-1].over:
        found.append(said(job))
    return found


def content(report: Report) -> Content:
    """The news of the only job."""
    return report.contents[0]


def said(job: JobTrainable) -> Report:
    """What the worker reports of its next step."""
    report = Report.from_tune(job.step())
    assert report is not None
    return report


def failure_of(report: Report) -> Failure:
    found = content(report)
    assert isinstance(found, Failure)
    return found


def test_a_job_reports_progress_and_ends_with_its_whole_result(tmp_path: Path) -> None:
    found = steps(JobTrainable(request(tmp_path)))
    first = content(found[0])
    assert isinstance(first, Progress)
    assert first.epoch == 1
    outcome = content(found[-1])
    assert isinstance(outcome, JobResult)
    assert len(outcome.heads) == 1
    assert (outcome.backbone.train_counts[0], outcome.backbone.threads) == (100, 1)


def test_a_loss_that_is_not_finite_is_a_reason_not_worth_a_retry(tmp_path: Path) -> None:
    last = steps(JobTrainable(request(tmp_path, lr=1e12)))[-1]
    assert failure_of(last).kind is FailureKind.DIVERGED


def test_data_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    task = TaskConfig(dataset="parquet", data=str(tmp_path / "nowhere"), imbalance_factor=None)
    last = steps(JobTrainable(request(tmp_path, task=task)))[-1]
    assert failure_of(last).kind is FailureKind.REFUSED
    assert "nowhere" in failure_of(last).text


def test_a_defect_names_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.feature_store.extract_bank", lambda *_, **__: 1 / 0)
    last = steps(JobTrainable(request(tmp_path)))[-1]
    assert failure_of(last).kind is FailureKind.ERROR
    assert failure_of(last).text.startswith("ZeroDivisionError: division by zero (test_worker.py:")


def test_a_full_disk_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainers.files.cache.Cache.publish", full)
    last = steps(JobTrainable(request(tmp_path)))[-1]
    assert failure_of(last).kind is FailureKind.DISK_FULL
    assert "make space in the folder of --home" in failure_of(last).text


def test_a_worker_with_other_code_than_the_driver_trains_nothing(tmp_path: Path) -> None:
    job = JobTrainable(request(tmp_path, code="0" * 64))
    (last,) = steps(job)
    assert failure_of(last).kind is FailureKind.OTHER_CODE
    assert not any(tmp_path.iterdir())
    assert job.reset_config(request(tmp_path))
    assert isinstance(content(steps(job)[-1]), JobResult)


def test_warnings_of_the_trainer_reach_the_driver_once(tmp_path: Path) -> None:
    first = JobTrainable(request(tmp_path))
    assert not any(report.warnings for report in steps(first))
    (features,) = tmp_path.glob("*/features-*.safetensors")
    features.write_bytes(features.read_bytes()[:-9])
    assert first.reset_config(request(tmp_path))
    (warning,) = [warning for report in steps(first) for warning in report.warnings]
    assert "is damaged" in warning


def test_memory_that_was_short_may_be_there_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []
    freed: list[bool] = []

    def short(bank: object, *_: object, **__: object) -> None:
        held.append(weakref.ref(bank))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def look(error: Exception, free: Any = job_group.free_memory) -> None:
        free(error)
        freed.append(held[0]() is None)

    job = JobTrainable(request(tmp_path))
    with monkeypatch.context() as full:
        full.setattr("trainers.job.train_heads", short)
        full.setattr(job_group, "free_memory", look)
        last = steps(job)[-1]
    assert freed == [True]  # features and all else of the failed job
    assert failure_of(last).kind is FailureKind.OUT_OF_MEMORY
    assert failure_of(last).text.startswith("OutOfMemoryError: CUDA out of memory")
    assert job.reset_config(request(tmp_path))
    assert isinstance(content(steps(job)[-1]), JobResult)


@pytest.mark.parametrize(
    ("allocate", "words"),
    [
        (lambda: torch.empty(1 << 55), "out of memory: RuntimeError: "),  # what torch itself says on a CPU
        (lambda: np.empty(1 << 55), "out of memory: "),
        (lambda: bytearray(1 << 62), "out of memory: MemoryError: "),
    ],
)
def test_want_of_memory_is_named_and_may_pass_and_all_memory_is_given_back(
    allocate: Callable[[], object], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[weakref.ref[Any]] = []

    def short(bank: object, *_: object, **__: object) -> None:
        held.append(weakref.ref(bank))
        try:
            allocate()
        except (MemoryError, RuntimeError) as error:
            raise type(error)(*error.args) from error  # its cause has frames as well

    monkeypatch.setattr("trainers.job.train_heads", short)
    last = steps(JobTrainable(request(tmp_path)))[-1]
    assert failure_of(last).kind is FailureKind.OUT_OF_MEMORY
    assert failure_of(last).text.startswith(words)
    assert held[0]() is None


def test_a_spoilt_device_takes_its_process_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("trainers.job.train_heads", spoilt)
    with pytest.raises(RuntimeError, match="illegal memory access"):  # Tune ends the process; the job is tried again
        steps(JobTrainable(request(tmp_path)))


def test_a_stopped_job_leaves_a_checkpoint_and_the_next_one_goes_on(tmp_path: Path) -> None:
    job = JobTrainable(request(tmp_path))
    job.step()
    job.cleanup()
    assert list(tmp_path.glob("*/checkpoint.safetensors"))
    assert job.reset_config(request(tmp_path))
    first = content(said(job))
    assert isinstance(first, Progress)
    assert first.epoch == 2
    steps(job)
    assert not list(tmp_path.glob("*/checkpoint.safetensors"))


def test_the_jobs_of_a_request_end_each_for_itself(tmp_path: Path) -> None:
    job = JobTrainable(request(tmp_path, {"seed": 1, "lr": 1e12}, {"seed": 2}))
    outcomes: dict[int, Content] = {}
    reports = steps(job)
    for report in reports:
        outcomes |= report.contents
    assert [type(outcomes[place]) for place in range(3)] == [JobResult, Failure, JobResult]
    assert [report.over for report in reports[:-1]] == [False] * (len(reports) - 1)
    (failed,) = [at for at, report in enumerate(reports) if isinstance(report.contents.get(1), Failure)]
    assert failed < len(reports) - 1  # it is told when it happens
    alone = content(steps(JobTrainable(request(tmp_path / "alone", seed=2)))[-1])
    both = outcomes[2]
    assert isinstance(alone, JobResult)
    assert isinstance(both, JobResult)
    assert [head.metrics for head in both.heads] == [head.metrics for head in alone.heads]  # type: ignore[union-attr]


def test_all_stopped_jobs_of_a_request_leave_checkpoints_and_go_on(tmp_path: Path) -> None:
    job = JobTrainable(request(tmp_path, {"seed": 1}, epochs=3))
    job.step()
    job.cleanup()
    assert len(list(tmp_path.glob("*/checkpoint.safetensors"))) == 2
    assert job.reset_config(request(tmp_path, {"seed": 1}, epochs=3))
    first = said(job).contents
    assert {found.epoch for found in first.values() if isinstance(found, Progress)} == {2}
    steps(job)
    assert not list(tmp_path.glob("*/checkpoint.safetensors"))


def test_images_that_are_decoded_on_the_fly_take_turns_by_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two steps the processes of a loader would wait, beside those of the other job."""
    monkeypatch.setattr("trainers.stage1.loop.MemorySplit", type(None))
    job = JobTrainable(request(tmp_path, {"seed": 1}))
    news = [report.contents for report in steps(job)]
    assert [{at: c.epoch for at, c in one.items() if isinstance(c, Progress)} for one in news[:2]] == [
        {0: 1, 1: 1},
        {0: 2, 1: 2},
    ]
