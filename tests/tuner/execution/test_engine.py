"""Ray's own servers die, by a kill, while Ray starts; tests of later deaths are in test_stopping.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError

from tests.support.processes import descendants, ray_server
from tuner.execution import liveness

START = """
from tuner.execution.ray_session import ray_session
with ray_session(cpus=1, gpus=0):
    print("it started")
"""


CALL = """
from tuner.execution.ray_session import ray_session
with ray_session(cpus=1, gpus=0):
    import ray
    print("it started", flush=True)
    input()
    ray.get_actor("nobody")
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="e-", dir="/tmp"))  # short, for Ray's sockets
    yield made
    shutil.rmtree(made)


def end_of(script: str, folder: Path, *, later: float | None) -> tuple[int, str, str]:
    """The exit code and what was said by a driver whose GCS is killed this many seconds after it came up, or, with
    None, when the driver has said its first line."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
    driver = subprocess.Popen(
        [sys.executable, "-c", script], env={**environment, "TMPDIR": str(folder)}, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert driver.stdout is not None
    said = ""
    try:
        while (victim := ray_server(descendants(driver.pid), "gcs_server", of=driver.pid)) is None:
            assert driver.poll() is None, driver.communicate()
            time.sleep(0.01)
        if later is None:
            said = driver.stdout.readline()
        else:
            time.sleep(later)
        victim.kill()
        out, err = driver.communicate("\n", timeout=120)
    finally:
        driver.kill()
        driver.wait()
    return driver.returncode, said + out, err


@pytest.mark.parametrize("later", [0.4, 1.2])
def test_a_ray_that_dies_while_it_starts_ends_the_driver_in_words(folder: Path, later: float) -> None:
    code, out, err = end_of(START, folder, later=later)
    assert code == 4, out + err
    assert "Ray's gcs_server died while Ray started" in err
    assert "give the same command again" in err
    assert not out


def test_a_ray_that_dies_in_a_call_of_its_own_ends_the_driver_in_words(folder: Path) -> None:
    """As when a service manager sends SIGTERM to all processes of a launch while Tune cleans up: without a watch Ray
    ends the driver after a minute, with exit code 1 and no word."""
    code, out, err = end_of(CALL, folder, later=None)
    assert code == 4, out + err
    assert "Ray's gcs_server died while Ray was in use" in err
    assert out == "it started\n"


def test_without_ray_nothing_of_it_is_lost() -> None:
    assert liveness.lost_process() is None


def test_a_worker_that_rays_memory_monitor_kills_is_a_dead_one() -> None:
    """Tune itself raises RuntimeError for it, which ended the launch with a traceback."""
    told: list[str] = []
    manager: Any = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: told.append("cleaned"))
    actor = SimpleNamespace(actor_id="a", _on_error=lambda *_: told.append("actor"))
    task: Any = SimpleNamespace(_tracked_actor=actor, _on_error=lambda *_: told.append("task"))
    killed = OutOfMemoryError("1 worker(s) were killed due to the node running low on memory")
    with pytest.raises(RuntimeError, match="unexpected exception"):
        RayActorManager._actor_task_failed(manager, task, killed)
    with liveness.engine_watched():
        RayActorManager._actor_task_failed(manager, task, killed)
    assert told == ["cleaned", "actor", "task"]
