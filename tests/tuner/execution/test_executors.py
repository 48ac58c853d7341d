"""The executor in this process keeps the promises of Ray's, and a study does not know by which it was run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from search_spaces import loads
from studies.records import FailureKind
from studies.store import Store
from tuner.errors import StoppedError, UnreachableError, UsageError
from tuner.execution.slots import Resources, cut_slots
from tuner.launch import Launch, run_study
from tuner.paths import Home
from tuner.stopping import StopRequests

SPACE = """
version: 1
name: inline
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 2, precision: fp32, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 2, heads_per_backbone: 4, rounds: 2, fresh_seeds: 2, max_retries: 0}
baselines: [naive, tau_norm]
"""


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def launch(folder: Path, *, executor: Any = "inline", parallel: int | None = None) -> Launch:
    return Launch(
        space=loads(SPACE),
        home=Home(folder),
        storage=Home(folder).storage_url,
        resources=Resources(executor=executor, parallel=parallel),
        console=Console(stderr=True),
        stops=StopRequests(),
    )


def rows(folder: Path) -> list[object]:
    """What a study holds, without times."""
    with Store.open(Home(folder).storage_url, "inline") as store:
        trials = [(r.number, r.state, r.value, r.config, r.metrics, r.norms) for r in store.trials()]
        readings = [(r.role, r.config, r.metrics) for r in store.readings()]
        return [trials, readings, [(r.fingerprint, r.metrics, r.norms) for r in store.backbones()]]


def test_a_study_is_the_same_by_either(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    finished = run_study(launch(tmp_path / "inline"))
    assert finished.report.exists()
    assert finished.best.exists()
    by_ray = [sys.executable, "-m", "tuner", "launch", "--space", "space.yaml", "--home", "ray", "-j", "1"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
    subprocess.run(by_ray, cwd=tmp_path, env=kept, check=True, capture_output=True)
    assert rows(tmp_path / "inline") == rows(tmp_path / "ray")


def test_a_stop_leaves_a_checkpoint_and_the_next_launch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tuner.execution.job_group.REPORT_EVERY", 0.0)
    monkeypatch.setenv("TUNER_CHECKPOINT_SECONDS", "0")
    asked = launch(tmp_path)
    monkeypatch.setattr(
        "tuner.terminal.time_left.Running.progressed", lambda *_: setattr(asked.stops, "requested", True)
    )
    with pytest.raises(StoppedError, match="continue with: tuner resume inline"):
        run_study(asked)
    assert list(tmp_path.glob("cache/*/checkpoint.safetensors"))
    with Store.open(Home(tmp_path).storage_url, "inline") as store:
        assert store.study().state == "stopped"
        assert {row.state for row in store.trials()} == {"RUNNING"}
    monkeypatch.undo()
    run_study(launch(tmp_path))
    with Store.open(Home(tmp_path).storage_url, "inline") as store:
        assert store.study().state == "done"
        assert {row.state for row in store.trials()} == {"COMPLETE"}


def test_a_failure_of_one_job_is_a_reason_and_a_spoilt_gpu_ends_the_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(words.pop())

    words = ["CUDA error: an illegal memory access was encountered", "a defect"]
    monkeypatch.setattr("trainers.job.train_heads", fails)
    with pytest.raises(UnreachableError, match=r"illegal memory access.*tuner resume inline"):
        run_study(launch(tmp_path))
    with Store.open(Home(tmp_path).storage_url, "inline") as store:
        assert [job.failure for job in store.jobs()][:2] == [FailureKind.ERROR, None]
        assert store.study().state == "stopped"


def test_it_is_one_job_at_a_time() -> None:
    with pytest.raises(UsageError, match="--executor inline runs one job at a time"):
        cut_slots(Resources(executor="inline", parallel=2), cpus=4, gpus=0)
    assert cut_slots(Resources(executor="inline"), cpus=4, gpus=0).workers == 1


def test_without_ray_none_of_it_is_imported() -> None:

    script = "import sys, tuner.launch; print('ray' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
