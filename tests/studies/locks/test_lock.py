"""One driver per study: across processes, on files and on PostgreSQL."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from studies.errors import MovedDatabaseError, StorageUnavailableError, StudyLockedError
from studies.locks.study_lock import drivers, holder, study_lock
from studies.sql.urls import sqlite_file

HOLD = """if True:
    import sys
    from studies.locks.study_lock import study_lock
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


def test_asking_names_the_holder_and_takes_nothing(url: str) -> None:
    assert holder(url, "tail") is None
    assert drivers(url) == []
    with study_lock(url, "tail") as lock:
        found = holder(url, "tail")
        assert found == "this process" or f"pid={os.getpid()}" in str(found)
        with pytest.raises(StudyLockedError, match="already being run"), study_lock(url, "tail"):
            pass
        assert holder(url, "other") is None
        assert drivers(url) == []  # it is our own
        lock.confirm()
    assert holder(url, "tail") is None


@pytest.mark.parametrize("url", ["file", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_drivers_of_other_processes_are_listed(url: str) -> None:
    with held_elsewhere(url, "tail") as one, held_elsewhere(url, "other") as two, study_lock(url, "mine"):
        found = drivers(url)
        assert len(found) == 2
        for process in (one, two):
            assert any(f"pid={process.pid}" in who for who in found)
        assert f"pid={one.pid}" in str(holder(url, "tail"))


def test_asking_makes_no_file_and_no_folder(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/runs/studies.db"
    assert holder(url, "tail") is None
    assert drivers(url) == []
    assert list(tmp_path.iterdir()) == []


def test_no_driver_is_refused_because_somebody_asks(file_url: str) -> None:
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            holder(file_url, "tail")

    asking = [threading.Thread(target=ask) for _ in range(2)]
    for thread in asking:
        thread.start()
    try:
        for _ in range(100):
            with study_lock(file_url, "tail"):
                pass
    finally:
        done.set()
        for thread in asking:
            thread.join()


def test_a_driver_whose_lock_file_was_removed_stops_and_makes_no_other(file_url: str) -> None:
    file = sqlite_file(file_url)
    assert file is not None
    with study_lock(file_url, "tail") as lock:
        (path,) = file.parent.glob("*.lock")
        path.unlink()
        for deed in (lock.confirm, lock.check):
            with pytest.raises(MovedDatabaseError, match=r"lock of study 'tail'.*removed or moved.*tuner resume tail"):
                deed()
        assert not path.exists()
        path.write_text("")  # somebody was here, and has gone
        with pytest.raises(MovedDatabaseError):
            lock.check()
    with study_lock(file_url, "tail"):
        pass


def test_a_lock_that_was_moved_with_its_database_is_held_until_its_driver_ends(file_url: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    file = sqlite_file(file_url)
    assert file is not None
    old, new = (f"sqlite:///{tmp_path / home / 'studies.db'}" for home in ("home", "renamed"))
    file.rename(tmp_path / "home" / "studies.db")
    with study_lock(old, "tail") as lock:
        (tmp_path / "home").rename(tmp_path / "renamed")
        with pytest.raises(MovedDatabaseError):
            lock.confirm()
        assert not (tmp_path / "home").exists()
        with pytest.raises(StudyLockedError, match=f"pid={os.getpid()}"), study_lock(new, "tail"):
            pass
    with study_lock(new, "tail"):
        pass


def test_a_driver_whose_lock_file_was_taken_by_another_is_told(file_url: str) -> None:
    file = sqlite_file(file_url)
    assert file is not None
    with study_lock(file_url, "tail") as lock:
        (path,) = file.parent.glob("*.lock")
        path.unlink()
        with held_elsewhere(file_url, "tail") as other, pytest.raises(StudyLockedError, match=f"pid={other.pid}"):
            lock.confirm()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_is_a_sentence_with_a_way_out(
    file_url: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    with study_lock(file_url, "tail"):
        pass  # so that there is a file to ask
    monkeypatch.setattr(fcntl, "flock", flock)
    for deed in (lambda: study_lock(file_url, "tail").__enter__(), lambda: holder(file_url, "tail")):
        with pytest.raises(StorageUnavailableError, match=r"no file locks.*local disk.*PostgreSQL"):
            deed()


def test_every_call_obeys_the_rule_of_nfs(file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There `flock` is a lock of bytes: a shared one asks for a file open for reading, another for one for writing."""
    asked = []
    flock = fcntl.flock

    def strict(file: Any, kind: int) -> None:
        access = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE
        asked.append(kind & ~fcntl.LOCK_NB)
        if access == (os.O_WRONLY if kind & fcntl.LOCK_SH else os.O_RDONLY):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, kind)

    monkeypatch.setattr(fcntl, "flock", strict)
    with study_lock(file_url, "tail"), pytest.raises(StudyLockedError), study_lock(file_url, "tail"):
        pass
    with study_lock(file_url, "tail"):  # the file is there
        assert len(drivers(file_url)) == 0
    assert set(asked) == {fcntl.LOCK_EX, fcntl.LOCK_SH}
