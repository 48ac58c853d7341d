"""One driver per study: across processes, on files and on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studies.errors import StudyLockedError
from studies.lock import study_lock
from studies.urls import sqlite_file

HOLD = """if True:
    import sys
    from studies.lock import study_lock
    with study_lock(sys.argv[1], sys.argv[2]):
        print("held", flush=True)
        sys.stdin.read()
"""


@contextmanager
def held_elsewhere(url: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """Another process has the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, url, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        try:
            yield other
        finally:
            other.kill()


@pytest.mark.parametrize("url", ["file", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_second_driver_is_told_who_has_the_study(url: str) -> None:
    with (
        held_elsewhere(url, "tail") as other,
        pytest.raises(StudyLockedError, match=rf"'tail'.*pid={other.pid}\b.*host="),
        study_lock(url, "tail"),
    ):
        pass


@pytest.mark.parametrize("url", ["file", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_killed_driver_lets_go(url: str) -> None:
    with held_elsewhere(url, "tail") as other:
        other.kill()
        other.wait()
        for _ in range(200):
            try:
                with study_lock(url, "tail"):
                    return
            except StudyLockedError:  # PostgreSQL needs a moment to see the connection end
                threading.Event().wait(0.05)
    pytest.fail("the lock of a killed process was never free")


def test_the_same_process_cannot_hold_a_study_twice(url: str) -> None:
    with (
        study_lock(url, "tail"),
        pytest.raises(StudyLockedError, match=rf"{os.getpid()}|this process"),
        study_lock(url, "tail"),
    ):
        pass


def test_the_lock_is_free_after_an_error(url: str) -> None:
    with pytest.raises(RuntimeError, match="search failed"), study_lock(url, "tail"):
        raise RuntimeError("search failed")
    with study_lock(url, "tail") as lock:
        lock.confirm()


def test_studies_of_one_database_are_locked_apart(url: str) -> None:
    with study_lock(url, "tail"), study_lock(url, "other"):
        pass


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "käfer \N{SNOWMAN}", "x" * 500])
def test_no_study_name_leaves_the_folder_of_the_database(file_url: str, name: str) -> None:
    file = sqlite_file(file_url)
    assert file is not None
    with study_lock(file_url, name):
        (lock,) = file.parent.glob("*.lock")
        assert lock.name.startswith(f"{file.name}.")
        assert f"pid={os.getpid()}" in lock.read_text()
    assert lock.read_text() == ""


def test_a_link_to_the_database_leads_to_the_same_lock(file_url: str, tmp_path: Path) -> None:
    link = tmp_path / "elsewhere" / "link.db"
    link.parent.mkdir()
    link.symlink_to(tmp_path / "studies.db")
    with study_lock(file_url, "tail"), pytest.raises(StudyLockedError), study_lock(f"sqlite:///{link}", "tail"):
        pass


@pytest.mark.postgres
def test_after_a_restart_of_the_server_the_lock_is_taken_again(postgres: Any, made_postgres: str) -> None:
    with study_lock(made_postgres, "tail") as lock:
        postgres.stop()
        postgres.start()
        lock.confirm()
        with pytest.raises(StudyLockedError), study_lock(made_postgres, "tail"):
            pass


@pytest.mark.postgres
def test_a_lock_lost_to_another_driver_is_noticed(postgres: Any, made_postgres: str) -> None:
    with study_lock(made_postgres, "tail") as lock:
        postgres.stop()
        postgres.start()
        with study_lock(made_postgres, "tail"), pytest.raises(StudyLockedError):
            lock.confirm()
