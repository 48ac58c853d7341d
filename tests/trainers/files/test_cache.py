"""The backbone cache: whole or absent whoever is killed, one trainer a backbone, the least used leaves first."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.files import cache as cache_module
from trainers.files.cache import Cache

OLD, NEW = {"w": torch.zeros(50)}, {"w": torch.ones(50)}


def in_child(deed: Callable[[], None]) -> int:
    """Runs `deed` in a forked process; returns how that ended, as `os.waitstatus_to_exitcode` says."""
    pid = os.fork()
    if pid == 0:
        try:
            deed()
            os._exit(0)
        except BaseException:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def value(cache: Cache, name: str = "backbone") -> tuple[float, str] | None:
    """What a reader finds: the tensor's value and the manifest's word; None for nothing."""
    found = cache.load("f", name)
    return None if found is None else (float(found[0]["w"].mean()), found[1]["is"])


def test_a_file_that_cannot_be_read_for_the_moment_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "backbone", OLD, {"is": "old"})

    def too_many(path: Path) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files", str(path))

    with monkeypatch.context() as broken:
        broken.setattr(Path, "read_bytes", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            cache.load("f", "backbone")
    assert value(cache) == (0.0, "old")


@pytest.mark.parametrize("call", ["fsync", "replace", "unlink"])
@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("before", [True, False], ids=["replacing", "first"])
def test_a_writer_killed_at_any_moment_leaves_the_old_pair_or_the_new(
    call: str, nth: int, before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    if before:
        cache.publish("f", "backbone", OLD, {"is": "old"})
    owner = os if call == "fsync" else Path
    original, calls = getattr(owner, call), []

    def deadly(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments, **named)

    def publish() -> None:
        monkeypatch.setattr(owner, call, deadly)
        cache.publish("f", "backbone", NEW, {"is": "new"})

    ended = in_child(publish)
    found = value(cache)
    assert found == (1.0, "new") if ended == 0 else found in ((0.0, "old") if before else None, (1.0, "new"))
    cache.publish("f", "backbone", NEW, {"is": "new"})
    assert value(cache) == (1.0, "new")
    cache.remove("f", "backbone")
    cache.sweep()
    assert list((tmp_path / "f").iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "no json", "other json", "outside", "no hash"])
def test_a_damaged_pair_is_removed_with_a_warning(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "backbone", OLD, {"is": "old"})
    tensors, record = tmp_path / "f" / "backbone.safetensors", tmp_path / "f" / "backbone.json"
    (tmp_path / "secret").write_bytes(tensors.read_bytes())
    read = json.loads(record.read_text())
    match damage:
        case "truncated":
            tensors.write_bytes(tensors.read_bytes()[:-7])
        case "flipped":
            tensors.write_bytes(tensors.read_bytes()[:-1] + b"\x01")
        case "empty":
            tensors.write_bytes(b"")
        case "no json":
            record.write_bytes(b"\x00\xff")
        case "other json":
            record.write_text("[1, 2]")
        case "outside":
            record.write_text(json.dumps({**read, "file": "../secret", "sha256": "0" * 64}))
            tensors.rename(tmp_path / "f" / "secret")
        case "no hash":
            record.write_text(json.dumps({"manifest": {}}))
    assert cache.load("f", "backbone") is None
    assert "damaged" in caplog.text
    assert not record.exists()
    assert (tmp_path / "secret").exists()
    cache.publish("f", "backbone", NEW, {"is": "new"})
    assert value(cache) == (1.0, "new")


def test_a_pair_of_an_earlier_release_is_read_and_replaced(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "backbone", OLD, {"is": "old"})
    record = tmp_path / "f" / "backbone.json"
    record.write_text(json.dumps({k: v for k, v in json.loads(record.read_text()).items() if k != "file"}))
    assert value(cache) == (0.0, "old")
    cache.publish("f", "backbone", NEW, {"is": "new"})
    assert value(cache) == (1.0, "new")


def test_one_process_at_a_time_trains_a_backbone_and_death_lets_go(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    told, tell = os.pipe()

    def hold() -> None:
        with cache.lease("f") as mine:
            os.write(tell, b"held" if mine else b"none")
            signal.pause()

    pid = os.fork()
    if pid == 0:
        hold()
    try:
        assert os.read(told, 4) == b"held"
        with cache.lease("f") as mine, cache.lease("g") as other:
            assert (mine, other) == (False, True)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    with cache.lease("f") as mine:
        assert mine
    os.close(told), os.close(tell)


def test_a_full_disk_leaves_no_temporary_file_and_the_old_pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "checkpoint", OLD, {"is": "old"})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache_module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        cache.publish("f", "checkpoint", NEW, {"is": "new"})
    assert value(cache, "checkpoint") == (0.0, "old")
    assert not list((tmp_path / "f").glob(".*"))


def test_a_sweep_takes_what_the_dead_left_and_nothing_else(tmp_path: Path) -> None:
    folder, host = tmp_path / "f", socket.gethostname()
    folder.mkdir()
    dead = in_child_pid()
    names = {
        f".backbone.safetensors.{host}.{dead}": False,
        f".backbone.json.{host}.{dead}": False,
        f".backbone.safetensors.{host}.{os.getpid()}": True,  # at work
        f".backbone.safetensors.{host}-elsewhere.{dead}": True,  # another machine's on a shared disk
        "backbone.safetensors": True,
        "lease": True,
    }
    for name in names:
        (folder / name).touch()
    assert Cache(tmp_path).sweep() == 2
    assert {name: (folder / name).exists() for name in names} == names


def in_child_pid() -> int:
    """The number of a process that has ended."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return pid


def test_features_of_the_least_used_leave_first_then_their_backbones(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for age, fingerprint in enumerate(["new", "middle", "old"]):
        cache.publish(fingerprint, "backbone", OLD, {})
        cache.publish(fingerprint, "features-search", OLD, {})
        os.utime(tmp_path / fingerprint / "backbone.json", (1000 - age, 1000 - age))
    one = sum(path.stat().st_size for path in (tmp_path / "old").iterdir())
    left = []
    for limit in (3 * one, 3 * one - 1, 2 * one + 60, one, 0):
        cache.trim(limit, keep="new")
        left.append(sorted(f"{path.parent.name}/{path.stem}" for path in tmp_path.glob("*/*.json")))
    both = ["new/backbone", "new/features-search"]
    assert left == [
        sorted([*both, "middle/backbone", "middle/features-search", "old/backbone", "old/features-search"]),
        sorted([*both, "middle/backbone", "middle/features-search", "old/backbone"]),
        sorted([*both, "middle/backbone", "old/backbone"]),
        both,
        both,
    ]


@pytest.mark.parametrize("held", ["lease", "use"])
def test_what_is_trained_or_used_is_neither_evicted_nor_cleared(held: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "checkpoint", OLD, {"is": "old"})
    cache.publish("f", "features-seed0", OLD, {"is": "old"})
    with getattr(cache, held)("f"):
        cache.trim(0)
        assert cache.clear("f") is None
        assert value(cache, "checkpoint") == value(cache, "features-seed0") == (0.0, "old")
    cache.trim(0)
    assert value(cache, "checkpoint") is None
    assert not list(tmp_path.iterdir())


def test_a_lease_that_was_waited_for_is_on_the_file_that_others_will_lock(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.publish("f", "backbone", OLD, {})
    opened = Path.open

    def cleared_meanwhile(self: Path, *args: Any, **named: Any) -> Any:
        handle = opened(self, *args, **named)
        if self.name == "lease" and not cleared:
            cleared.append(True)
            shutil.rmtree(tmp_path / "f")  # by another process, between this one's opening and locking
        return handle

    cleared: list[bool] = []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Path, "open", cleared_meanwhile)
        with cache.lease("f") as mine, cache.lease("f") as second:
            assert (mine, second) == (True, False)


def test_many_may_use_a_backbone_at_once(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    with cache.use("f"), cache.use("f"), cache.lease("f") as mine:
        assert mine


def test_a_limited_cache_evicts_the_others_when_something_is_published(tmp_path: Path) -> None:
    cache = Cache(tmp_path, max_bytes=1)
    cache.publish("a", "backbone", OLD, {})
    cache.publish("b", "backbone", OLD, {})
    assert cache.load("a", "backbone") is None
    assert cache.load("b", "backbone") is not None
