"""A finished study on a disk that is full, has no inodes left, or is read-only: words, and nothing of it is lost."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from search_spaces import load
from studies.store import Store
from trainers.results import JobResult
from tuner import launch
from tuner.paths import Home
from tuner.search.planner import Planner

Command = Callable[..., tuple[int, str]]
Remount = Callable[[str], None]
pytestmark = pytest.mark.slow
LOOKS = (("status", "shown"), ("trials", "shown"), ("best", "shown"), ("status", "--json"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Remount]:
    """A small file system at `tmp_path`, and how to change its options."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        cannot_run("mounting a small tmpfs needs root")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", tmp_path], check=False).returncode:
        cannot_run("this system does not allow a tmpfs to be mounted")
    yield lambda options: subprocess.run(["mount", "-o", f"remount,{options}", tmp_path], check=True) and None
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def cannot_run(reason: str) -> NoReturn:
    """Skips the test; in CI, where everything is there, a test that cannot run has failed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def home(disk: Remount, tmp_path: Path, pretend: Callable[..., JobResult], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose search and readings are done, without any training; its report is still to be written."""
    home = Home(tmp_path / "runs")
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4"], name="shown")
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name="shown", **known) as store:
        planner = Planner(space, store)
        while (task := planner.next_task()) is not None:
            planner.complete(task, pretend(task))
        seen = SimpleNamespace(notes=(), data_fingerprint=store.study().data_fingerprint)
    monkeypatch.setattr(launch, "dry_build", lambda space: seen)
    return home.root


def used(folder: Path) -> int:
    """Kilobytes that are taken."""
    there = os.statvfs(folder)
    return (there.f_blocks - there.f_bfree) * there.f_frsize // 1024


@pytest.mark.parametrize("free_kb", [60, 200, 1000, 3000])
def test_a_disk_that_is_full_when_the_report_is_written_is_said(
    free_kb: int, home: Path, disk: Remount, command: Command
) -> None:
    disk(f"size={used(home) + free_kb}k")
    code, out = command("resume", "shown", "--home", str(home))
    assert code == 4
    assert "report" not in out
    assert not list(home.glob("shown/report.html"))
    disk("size=64m")
    code, out = command("resume", "shown", "--home", str(home))
    assert code == 0
    assert str(home / "shown" / "report.html") in out
    assert (home / "shown" / "best.yaml").exists()


def test_a_disk_without_inodes_is_said_and_the_study_completes_when_there_are_some(
    home: Path, disk: Remount, command: Command
) -> None:
    there = os.statvfs(home)
    taken = there.f_files - there.f_ffree
    for spare in range(8):
        disk(f"nr_inodes={taken + spare}")
        code, _ = command("resume", "shown", "--home", str(home))
        assert code == 4, spare
        assert not list(home.glob("shown/best.yaml"))
        shutil.rmtree(home / "shown", ignore_errors=True)
    disk("nr_inodes=1000")
    for look in LOOKS:
        assert command(*look, "--home", str(home))[0] == 0
    assert command("resume", "shown", "--home", str(home))[0] == 0


def test_a_read_only_home_is_said(home: Path, disk: Remount, command: Command) -> None:
    disk("ro")
    for look in LOOKS:
        assert command(*look, "--home", str(home))[0] in (0, 4), look
    for deed in (("resume", "shown"), ("report", "shown"), ("migrate",)):
        assert command(*deed, "--home", str(home))[0] in (1, 4), deed
        assert command(*deed, "--home", str(home / "new"))[0] in (1, 3, 4), deed
    disk("rw")
    assert command("resume", "shown", "--home", str(home))[0] == 0
