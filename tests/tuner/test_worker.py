"""What a worker sends back: results, progress, and reasons; an exception only where its process is spoilt."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trainers.config import Stage1Config, TaskConfig, TrialConfig
from tuner import worker
from tuner.same_code import code_sha256
from tuner.worker import JobTrainable


@pytest.fixture(autouse=True)
def every_step_reports(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    threads = torch.get_num_threads()
    monkeypatch.setattr(worker, "REPORT_EVERY", 0.0)
    yield
    torch.set_num_threads(threads)


def settings(folder: Path, *, task: TaskConfig | None = None, **stage1: Any) -> dict[str, Any]:
    config = TrialConfig(task=task or TaskConfig(), stage1=Stage1Config(epochs=2, precision="fp32", **stage1))
    return {
        "configs": json.dumps([config.to_flat()]),
        "read_test": False,
        "threads": 1,
        "cache": str(folder),
        "cache_bytes": None,
        "gpu": False,
        "code": code_sha256(),
    }


def steps(job: JobTrainable) -> list[dict[str, Any]]:
    found = [job.step()]
    while not found[-1].get("done"):
        found.append(job.step())
    return found


def test_a_job_reports_progress_and_ends_with_its_whole_result(tmp_path: Path) -> None:
    found = steps(JobTrainable(settings(tmp_path)))
    assert json.loads(found[0]["progress"])["epoch"] == 1
    outcome = json.loads(found[-1]["outcome"])
    assert len(outcome["heads"]) == 1
    assert outcome["backbone"]["train_counts"][0] == 100


def test_a_loss_that_is_not_finite_is_a_reason_not_worth_a_retry(tmp_path: Path) -> None:
    last = steps(JobTrainable(settings(tmp_path, lr=1e12)))[-1]
    assert "stage 1: the loss is" in last["failure"]
    assert last["transient"] is False


def test_data_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    task = TaskConfig(dataset="parquet", data=str(tmp_path / "nowhere"), imbalance_factor=None)
    last = steps(JobTrainable(settings(tmp_path, task=task)))[-1]
    assert "nowhere" in last["failure"]


def test_a_defect_names_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainers.banks.extract_bank", lambda *_, **__: 1 / 0)
    last = steps(JobTrainable(settings(tmp_path)))[-1]
    assert last["failure"].startswith("ZeroDivisionError: division by zero (test_worker.py:")


def test_a_full_disk_may_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("trainers.cache.Cache.publish", full)
    last = steps(JobTrainable(settings(tmp_path)))[-1]
    assert "No space left on device" in last["failure"]
    assert "make space in the folder of --home" in last["failure"]
    assert last["transient"] is True
    assert last["ends_launch"] is True


def test_a_worker_with_other_code_than_the_driver_trains_nothing(tmp_path: Path) -> None:
    job = JobTrainable({**settings(tmp_path), "code": "0" * 64})
    (last,) = steps(job)
    assert "other code than its driver" in last["failure"]
    assert last["ends_launch"] is True
    assert not any(tmp_path.iterdir())
    assert job.reset_config(settings(tmp_path))
    assert "outcome" in steps(job)[-1]


def test_warnings_of_the_trainer_reach_the_driver_once(tmp_path: Path) -> None:
    first = JobTrainable(settings(tmp_path))
    assert not any("warnings" in report for report in steps(first))
    (features,) = tmp_path.glob("*/features-*.safetensors")
    features.write_bytes(features.read_bytes()[:-9])
    assert first.reset_config(settings(tmp_path))
    (said,) = [json.loads(report["warnings"]) for report in steps(first) if "warnings" in report]
    assert len(said) == 1
    assert "is damaged" in said[0]


def test_memory_that_was_short_may_be_there_the_next_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[weakref.ref[Any]] = []
    freed: list[bool] = []

    def short(bank: object, *_: object, **__: object) -> None:
        held.append(weakref.ref(bank))
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    def look(error: Exception, free: Any = worker._free_memory) -> None:
        free(error)
        freed.append(held[0]() is None)

    job = JobTrainable(settings(tmp_path))
    with monkeypatch.context() as full:
        full.setattr("trainers.job.train_heads", short)
        full.setattr(worker, "_free_memory", look)
        last = steps(job)[-1]
    assert freed == [True]  # features and all else of the failed job
    assert last["failure"].startswith("OutOfMemoryError: CUDA out of memory")
    assert last["transient"] is True
    assert job.reset_config(settings(tmp_path))
    assert "outcome" in steps(job)[-1]


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
    last = steps(JobTrainable(settings(tmp_path)))[-1]
    assert last["failure"].startswith(words)
    assert last["transient"] is True
    assert held[0]() is None


def test_a_spoilt_device_takes_its_process_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoilt(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("trainers.job.train_heads", spoilt)
    with pytest.raises(RuntimeError, match="illegal memory access"):  # Tune ends the process; the job is tried again
        steps(JobTrainable(settings(tmp_path)))


def test_a_stopped_job_leaves_a_checkpoint_and_the_next_one_goes_on(tmp_path: Path) -> None:
    job = JobTrainable(settings(tmp_path))
    job.step()
    job.cleanup()
    assert list(tmp_path.glob("*/checkpoint.safetensors"))
    assert job.reset_config(settings(tmp_path))
    assert json.loads(steps(job)[0]["progress"])["epoch"] == 2
    assert not list(tmp_path.glob("*/checkpoint.safetensors"))
