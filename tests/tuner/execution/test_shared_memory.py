"""Ray starts also where /dev/shm is read-only or full, and where nothing is left it is said."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tuner.errors import UnreachableError
from tuner.execution.shared_memory import OBJECT_STORE, object_store_folder

START = """
from tuner.execution.ray_session import ray_session
with ray_session(cpus=1, gpus=0):
    import ray
    print(ray.get(ray.put(list(range(100_000))))[-1])
"""


def test_shared_memory_is_taken_where_it_is_usable(tmp_path: Path) -> None:
    shared, scratch = tmp_path / "shm", tmp_path / "scratch"
    for folder in (shared, scratch):
        folder.mkdir()
    assert object_store_folder(scratch, shared=shared) == shared
    assert object_store_folder(scratch, shared=tmp_path / "none") == scratch
    assert list(shared.iterdir()) == []


def test_where_neither_has_room_both_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=OBJECT_STORE // 4096 - 1, f_frsize=4096))
    with pytest.raises(UnreachableError, match=r"none cannot be written \(No such.*and .* has only 99 MiB.*TMPDIR"):
        object_store_folder(tmp_path, shared=tmp_path / "none")


@pytest.mark.parametrize("options", ["ro,size=512m", pytest.param("size=8m", marks=pytest.mark.slow)])
def test_ray_starts_beside_a_shared_memory_that_is_of_no_use(options: str) -> None:
    mounts = ["unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} none /dev/shm && exec "$@"', "sh"]
    if subprocess.run([*mounts, "true"], capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a /dev/shm of its own")
    ran = subprocess.run([*mounts, sys.executable, "-c", START], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "99999\n"
