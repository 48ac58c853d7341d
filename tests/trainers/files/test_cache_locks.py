"""The locks of the cache and of a study on file systems that are particular about them, or have none."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studies.errors import StudyLockedError
from studies.locks import study_lock
from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.errors import ConfigError
from trainers.files.cache import Cache
from trainers.job import Job, run_job

TENSORS = {"w": torch.zeros(3)}


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """`flock` as NFSv4 has it, a lock on a range of bytes (man 2 flock); the operations that were asked for."""
    asked: list[int] = []
    local = fcntl.flock

    def flock(file: Any, operation: int) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        mode = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
        if operation & fcntl.LOCK_SH and mode == os.O_WRONLY:
            raise OSError(errno.EBADF, "a shared lock needs a file that is open for reading")
        if operation & fcntl.LOCK_EX and mode == os.O_RDONLY:
            raise OSError(errno.EBADF, "an exclusive lock needs a file that is open for writing")
        asked.append(operation)
        local(file, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    return asked


def test_every_lock_of_the_cache_is_one_that_nfs_gives(tmp_path: Path, nfs: list[int]) -> None:
    cache = Cache(tmp_path, max_bytes=1)
    cache.publish("f", "backbone", TENSORS, {})
    with cache.use("f"), cache.use("f"), cache.lease("f") as mine, cache.lease("f") as second:
        assert (mine, second) == (True, False)
        assert cache.clear("f") is None
    cache.publish("g", "backbone", TENSORS, {})  # which evicts the other
    assert cache.clear("g")
    assert {fcntl.LOCK_SH, fcntl.LOCK_EX | fcntl.LOCK_NB} <= set(nfs)


def test_every_lock_of_a_study_is_one_that_nfs_gives(tmp_path: Path, nfs: list[int]) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    (tmp_path / "studies.db").touch()
    with study_lock.study_lock(url, "s") as held:
        held.confirm()
        assert study_lock.holder(url, "s")
        with pytest.raises(StudyLockedError), study_lock.study_lock(url, "s", patience=0):
            pass
    assert study_lock.holder(url, "s") is None
    assert nfs


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL])
@pytest.mark.parametrize("deed", ["lease", "use", "clear"])
def test_a_file_system_without_locks_is_told_in_words(
    number: int, deed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "backbone", TENSORS, {})
    monkeypatch.setattr(fcntl, "flock", without_locks(number))
    deeds: dict[str, Callable[[], Any]] = {
        "lease": lambda: cache.lease("f").__enter__(),
        "use": lambda: cache.use("f").__enter__(),
        "clear": lambda: cache.clear("f"),
    }
    with pytest.raises(ConfigError, match=r"/f has no file locks \(.+\).*--home"):
        deeds[deed]()
    assert cache.load("f", "backbone") is not None


def test_a_job_on_such_a_file_system_fails_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ConfigError, which a worker hands over as the job's reason, and which is not tried again."""
    monkeypatch.setattr(fcntl, "flock", without_locks(errno.ENOLCK))
    job = Job(task=TaskConfig(), stage1=Stage1Config(epochs=1), heads=(Stage2Config(epochs=1),))
    with pytest.raises(ConfigError, match="no file locks"):
        next(run_job(job, cache=Cache(tmp_path), device=torch.device("cpu")))


def without_locks(number: int) -> Callable[..., None]:
    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return flock
