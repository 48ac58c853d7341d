"""A database, its log or its lock is removed, moved or replaced while a driver is at work, which says so and stops."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from studies.errors import MovedDatabaseError, StorageUnavailableError, StudyLockedError, StudyNotFoundError
from studies.locks.study_lock import StudyLock, study_lock
from studies.sql import database
from studies.store import Store, study_names

Open = Callable[..., Store]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def url(home: Path) -> str:
    return f"sqlite:///{home / 'studies.db'}"


@pytest.fixture
def lock(url: str) -> Iterator[StudyLock]:
    with study_lock(url, "tail") as held:
        yield held


@pytest.fixture
def driven(url: str, lock: StudyLock, new_store: Open) -> Store:
    """A study as its driver has it."""
    return new_store(url, held=lock)


def removed(home: Path) -> None:
    (home / "studies.db").unlink()


def renamed(home: Path) -> None:
    home.rename(home.with_name("elsewhere"))


def replaced(home: Path) -> None:
    (home / "studies.db").rename(home / "kept.db")
    database.Database(f"sqlite:///{home / 'studies.db'}").close()


def removed_and_made_again(home: Path) -> None:
    for path in home.glob("studies.db*"):
        if path.suffix != ".lock":
            path.unlink()
    database.Database(f"sqlite:///{home / 'studies.db'}").close()


def emptied(home: Path) -> None:
    for path in home.iterdir():
        path.unlink()


ACCIDENTS = [
    (removed, r"was removed while it was in use: what it held is lost\. .*copy.*tuner resume STUDY.*tuner launch"),
    (emptied, "was removed while it was in use"),
    (renamed, r"was moved while it was in use; it lies at \S+/elsewhere/studies\.db now.*--home or --storage"),
    (replaced, r"was moved.*another file lies in its place.*it lies at \S+/home/kept\.db now.*studies\.db-wal belongs"),
    (removed_and_made_again, "was removed while it was in use, and another file lies in its place"),
]


@pytest.mark.parametrize(("accident", "words"), ACCIDENTS)
def test_a_driver_whose_database_has_gone_writes_nothing_more_and_says_what_happened(
    accident: Callable[[Path], None], words: str, home: Path, driven: Store, record: Callable[..., Any],
    answer: Callable[..., Any],
) -> None:  # fmt: skip
    job = record(driven)
    accident(home)
    before = sorted(home.parent.rglob("*"))
    deeds = (
        lambda: driven.finish_job(job.id, answer(job)),
        lambda: driven.set_state("done"),
        driven.stop_requested,
        driven.confirm,
    )
    for deed in deeds:
        with pytest.raises(MovedDatabaseError, match=words):
            deed()
    assert sorted(home.parent.rglob("*")) == before  # SQLite was not asked to make it anew


@pytest.mark.parametrize(("accident", "words"), ACCIDENTS)
def test_what_is_lost_in_the_middle_of_a_transaction_is_not_said_to_be_written(
    accident: Callable[[Path], None], words: str, home: Path, driven: Store
) -> None:
    def deed(session: Any) -> None:
        accident(home)

    with pytest.raises(MovedDatabaseError, match=words):
        driven.database.write(deed)


@pytest.mark.parametrize(("accident", "words"), ACCIDENTS)
def test_who_looks_is_told_too(
    accident: Callable[[Path], None], words: str, home: Path, url: str, driven: Store
) -> None:
    with Store.open(url, "tail") as seen:
        assert seen.trials() == []
        accident(home)
        with pytest.raises(MovedDatabaseError, match=words):
            seen.trials()


def test_who_looks_where_no_database_is_any_more_makes_none(home: Path, url: str, driven: Store) -> None:
    driven.close()
    renamed(home)
    assert study_names(url) == []
    with pytest.raises(StudyNotFoundError):
        Store.open(url, "tail")
    assert not home.exists()


def test_a_second_connection_is_not_made_to_another_file(home: Path, driven: Store) -> None:
    replaced(home)
    driven.database.engine.dispose()
    with pytest.raises(MovedDatabaseError):
        driven.database.engine.connect()


def test_a_database_that_was_moved_behind_a_link_to_it_has_other_names_for_lock_and_log(
    home: Path, driven: Store
) -> None:
    (home / "studies.db").rename(home / "real.db")
    (home / "studies.db").symlink_to(home / "real.db")
    with pytest.raises(MovedDatabaseError, match=r"it lies at \S+/real\.db now"):
        driven.confirm()


def test_a_home_that_was_moved_behind_a_link_to_it_is_where_it_was(
    home: Path, url: str, driven: Store, record: Callable[..., Any]
) -> None:
    renamed(home)
    home.symlink_to(home.with_name("elsewhere"))
    record(driven)
    driven.confirm()
    for name in (url, f"sqlite:///{home.with_name('elsewhere') / 'studies.db'}"):
        with pytest.raises(StudyLockedError), study_lock(name, "tail"):
            pass
        with Store.open(name, "tail") as seen:
            assert len(seen.trials()) == 2


def test_a_log_that_was_removed_is_said_and_nothing_more_is_written_to_it(
    home: Path, url: str, driven: Store, record: Callable[..., Any]
) -> None:
    record(driven)
    (home / "studies.db-wal").unlink()
    with pytest.raises(MovedDatabaseError, match=r"studies\.db-wal, was removed or replaced.*tuner resume STUDY"):
        record(driven)
    driven.close()
    with Store.open(url, "tail") as seen:
        assert [row.number for row in seen.trials()] == [0, 1]  # SQLite brought them home


def test_the_log_is_known_anew_after_each_reconnect(home: Path, driven: Store, record: Callable[..., Any]) -> None:
    log = home / "studies.db-wal"
    for numbers in ((0, 1), (2, 3), (4, 5)):
        assert record(driven).numbers == numbers
        assert log.exists()
        driven.database.engine.dispose()  # the last connection goes, and with it SQLite's log
        assert not log.exists()
        log.write_bytes(b"")  # another inode than before, whatever the file system gives out again
        log.rename(home / "other")


def test_a_driver_whose_lock_was_removed_writes_nothing_more(
    home: Path, url: str, driven: Store, record: Callable[..., Any]
) -> None:
    record(driven)
    (home / "studies.db.tail.lock").unlink()
    with pytest.raises(MovedDatabaseError, match="nothing more was written"):
        record(driven)
    with study_lock(url, "tail"), pytest.raises(StudyLockedError, match=f"pid={os.getpid()}"):
        record(driven)
    with Store.open(url, "tail") as seen:
        assert len(seen.trials()) == 2


COUNT = """if True:
    import sys
    from studies.errors import StudyError
    from studies.locks.study_lock import study_lock
    from studies.store import Store
    url, driver = sys.argv[1], int(sys.argv[2])
    space = {"space_yaml": "", "space_sha256": "a" * 64, "objective": "val.balanced_accuracy"}
    with study_lock(url, "tail") as lock, Store.create_or_open(url, name="tail", held=lock, **space) as store:
        store.set_spent(float(driver))
        print("at work", flush=True)
        try:
            while True:
                store.set_spent(float(driver))
        except StudyError as error:
            print(type(error).__name__, flush=True)
"""


def test_of_drivers_whose_lock_is_removed_again_and_again_never_two_write_in_turn(
    home: Path, url: str, driven: Store
) -> None:
    driven.close()
    with contextlib.closing(sqlite3.connect(home / "studies.db")) as kept:  # who wrote, in the database's own order
        kept.execute("CREATE TABLE turns (driver)")
        noted = "INSERT INTO turns VALUES (new.spent_seconds)"
        kept.execute(f"CREATE TRIGGER noted AFTER UPDATE OF spent_seconds ON tuner_studies BEGIN {noted}; END")
    drivers = [_removing(home, [sys.executable, "-c", COUNT, url, str(number)]) for number in range(5)]
    (home / "studies.db.tail.lock").unlink()
    said = [driver.communicate(timeout=60)[0] for driver in drivers]
    assert all(line in ("MovedDatabaseError\n", "StudyLockedError\n") for line in said), said
    with contextlib.closing(sqlite3.connect(home / "studies.db")) as kept:
        turns = [int(driver) for (driver,) in kept.execute("SELECT driver FROM turns ORDER BY rowid")]
    assert turns == sorted(turns)
    assert set(turns) == set(range(5))


def _removing(home: Path, command: list[str]) -> subprocess.Popen[str]:
    """Takes the lock of the driver before away, and starts another; returns it once it is at work."""
    lock = home / "studies.db.tail.lock"
    lock.unlink()
    driver = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    assert driver.stdout.readline() == "at work\n"
    return driver


def test_a_hard_link_is_refused_whichever_name_it_has(home: Path, url: str, driven: Store) -> None:
    link = home.parent / "link.db"
    os.link(home / "studies.db", link)
    driven.set_state("running")  # it began under its only name
    for deed in (database.Database, study_names, lambda name: Store.open(name, "tail")):
        for name in (url, f"sqlite:///{link}"):
            with pytest.raises(StorageUnavailableError, match=r"2 names \(hard links\).*remove the other"):
                deed(name)
    link.unlink()
    database.Database(url).close()
