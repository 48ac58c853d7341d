"""Every way to stop a launch, for real: it ends with its code, and can be resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import descendants

ROOT = Path(__file__).parents[2]

SPACE = """
version: 1
name: endless
task: {dataset: digits-lt, imbalance_factor: 50, model: MODEL}
stage1: {epochs: 100000, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 2, heads_per_backbone: 2, rounds: 1}
baselines: []
"""
QUICK, SLOW = "cnn-small", "resnet34, image_size: 128"  # an epoch takes a tenth of a second, or minutes


class Driver:
    """A launch in a folder of its own; a short name, for Ray's sockets."""

    def __init__(self, folder: Path, model: str) -> None:
        self.folder = folder
        (folder / "t").mkdir()
        (folder / "space.yaml").write_text(SPACE.replace("MODEL", model))
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
        self.environment = {**kept, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "t")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tuner", "launch", "--space", "space.yaml", "--parallel", "1"],
            cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._wait_for_training()

    def _wait_for_training(self) -> None:
        """Until a job's worker has used a second of processor time for it."""
        while self.process.poll() is None:
            if any("ray::" in p.title and ".train" in p.title for p in descendants(self.process.pid)):
                return
            time.sleep(0.05)
        assert self.process.stderr is not None
        raise AssertionError(self.process.stderr.read())

    def ended(self) -> tuple[int, str]:
        _, err = self.process.communicate(timeout=120)
        return self.process.returncode, err

    def tuner(self, *arguments: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=True,
        ).stdout  # fmt: skip

    @property
    def state(self) -> str:
        return str(json.loads(self.tuner("status", "endless", "--json"))["state"])


@pytest.fixture
def started() -> Iterator[Any]:
    folder = Path(tempfile.mkdtemp(prefix="s-", dir="/tmp"))
    drivers: list[Driver] = []

    def start(model: str = QUICK) -> Driver:
        drivers.append(Driver(folder, model))
        return drivers[-1]

    yield start
    for driver in drivers:
        if driver.process.poll() is None:
            driver.process.kill()
            driver.process.communicate()
    shutil.rmtree(folder, ignore_errors=True)


def test_sigterm_is_a_soft_stop(started: Any) -> None:
    driver = started()
    driver.process.send_signal(signal.SIGTERM)  # of Slurm, systemd, docker
    code, err = driver.ended()
    assert code == 75, err
    assert "tuner resume endless" in err
    assert driver.state == "stopped"
    assert list(driver.folder.glob("runs/cache/*/checkpoint.json"))
    assert not list((driver.folder / "t").glob("tuner-*"))


def test_a_second_signal_stops_at_once(started: Any) -> None:
    driver = started(SLOW)
    driver.process.send_signal(signal.SIGTERM)
    time.sleep(1)
    driver.process.send_signal(signal.SIGINT)
    code, err = driver.ended()
    assert code == 130, err
    assert driver.state == "stopped"


def test_stop_now_is_heard_in_a_long_epoch(started: Any) -> None:
    driver = started(SLOW)
    driver.tuner("stop", "endless", "--now")
    code, err = driver.ended()
    assert code == 130, err


def test_a_reader_that_is_gone_disturbs_no_stop(started: Any) -> None:
    driver = started()
    driver.process.stderr.close()  # as tee's end, which Ctrl-C meets as well
    driver.process.send_signal(signal.SIGINT)
    assert driver.process.wait(timeout=120) == 75
    driver.process.stderr = None
    assert driver.state == "stopped"


@pytest.mark.parametrize("victim", ["raylet", "gcs_server"])
def test_a_dead_ray_ends_the_launch_resumable(started: Any, victim: str) -> None:
    driver = started()
    (process,) = [p for p in descendants(driver.process.pid) if Path(p.title.split()[0]).name == victim]
    process.kill()
    code, err = driver.ended()
    assert code == 4, err
    assert f"Ray's {victim} died" in err
    assert "tuner resume endless" in err
    assert driver.state == "stopped"
