"""A database or home that the kill campaign takes away comes back whole, and what a driver does meanwhile is seen."""

from __future__ import annotations

import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import taken
from benchmarks.absence import ANEW, EMPTY, HOME, MOVED, OLDER, RENAMED, WAYS, copy_of, take_away
from benchmarks.counts import TakeCount, broken_counts
from benchmarks.endings import Ending
from benchmarks.launches import Place, Sqlite
from benchmarks.strikes import DRIVER, Deck, Strike, Target
from benchmarks.taken import MOMENTS, Taken, takings
from benchmarks.witness import Sight
from tests.support.processes import read

LOCK = "studies.db.chaos.lock"
ONE_RESULT = Ending(Sight(trials={0: ("COMPLETE",)}), {})


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A home with a database in use, its log and lock, and a file of the cache."""
    made = Sqlite().new(tmp_path)
    (made.home / "cache" / "entry").mkdir(parents=True)
    made.scratch.mkdir()
    for name in ("studies.db", "studies.db-wal", "studies.db-shm", LOCK, "cache/entry/checkpoint.json"):
        (made.home / name).write_text(name)
    return made


@pytest.fixture
def older(tmp_path: Path) -> Path:
    path = tmp_path / "older.db"
    path.write_text("of yesterday")
    return path


def tree(home: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in home.rglob("*") if path.is_file())
    return {str(path.relative_to(home)): (path.stat().st_ino, path.read_bytes()) for path in files}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_taken_away_comes_back_whole(way: str, place: Place, older: Path) -> None:
    before = tree(place.home)
    absence = take_away(way, place, older=older)
    there = {path.name for path in place.home.glob("studies.db*")}
    assert there == {MOVED: {LOCK}, RENAMED: {LOCK}, HOME: set(), ANEW: set()}.get(way, {LOCK, "studies.db"})
    assert absence.made() == []
    if way in (OLDER, EMPTY):
        assert (place.home / "studies.db").read_text() == ("of yesterday" if way == OLDER else "")
    place.home.mkdir(exist_ok=True)
    for name in ("studies.db", "studies.db-wal", "cache"):  # as one who does not look makes them
        if not (place.home / name).exists():
            (place.home / name).write_text("made anew")
    absence.put_back()
    assert tree(place.home) == before


@pytest.mark.parametrize(
    ("way", "name", "counts"),
    [
        (MOVED, "studies.db", True),
        (MOVED, "studies.db-wal", True),
        (OLDER, "studies.db", True),
        (EMPTY, "studies.db", True),
        (HOME, LOCK, True),
        (HOME, "studies.db", True),
        (HOME, "cache", False),
        (RENAMED, LOCK, False),  # its driver lets go of it
    ],
)
def test_what_comes_to_the_old_place_is_seen(way: str, name: str, counts: bool, place: Place, older: Path) -> None:
    absence = take_away(way, place, older=older)
    place.home.mkdir(exist_ok=True)
    (place.home / name).write_text("written")
    assert absence.made() == ([name] if counts else [])


def test_a_lock_that_is_another_one_is_seen(place: Place, older: Path) -> None:
    absence = take_away(MOVED, place, older=older)
    (place.home / "new").touch()
    (place.home / "new").rename(place.home / LOCK)
    assert absence.made() == [LOCK]
    (place.home / LOCK).unlink()
    assert absence.made() == [LOCK]


def test_a_log_that_an_onlooker_leaves_empty_is_nothing(place: Place, older: Path) -> None:
    absence = take_away(OLDER, place, older=older)
    (place.home / "studies.db-wal").touch()
    (place.home / "studies.db-shm").write_bytes(b"shared memory")
    assert absence.made() == []


def test_an_older_copy_has_what_was_committed(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "a.db", isolation_level=None)) as driver:
        driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("CREATE TABLE t (x)")
        for copies in (1, 2):
            driver.execute("INSERT INTO t VALUES (1)")
            copy_of(tmp_path / "a.db", tmp_path / "copy.db")
            with closing(sqlite3.connect(tmp_path / "copy.db")) as copy:
                assert copy.execute("SELECT count(*) FROM t").fetchone() == (copies,)


def test_every_way_comes_once_at_some_moment() -> None:
    drawn = [takings(random.Random(seed)) for seed in range(20)]
    assert all({strike.victim for strike in strikes} == set(WAYS) for strikes in drawn)
    assert {strike.moment for strikes in drawn for strike in strikes} == set(MOMENTS)
    assert max(Counter(strike.moment for strike in strikes).most_common(1)[0][1] for strikes in drawn) == 2
    assert len(set(drawn)) > 10


# -- drivers that look, and drivers that do not -----------------------------------------------------------------------

AT_WORK = "import os, sys, time\nfrom pathlib import Path\ndatabase = Path(sys.argv[1])\nheld = database.stat()\n"
DRIVERS = {  # what they do, and the exit code that they come to
    "looks": (4, """
while database.exists() and os.path.samestat(held, database.stat()):
    time.sleep(0.01)
print(f"error: the study database {database} was moved")
"""),
    "says nothing": (4, "time.sleep(0.1)"),
    "goes on": (0, "time.sleep(0.1); print('studies.db')"),
    "makes another": (4, """
time.sleep(0.1)
database.parent.mkdir(exist_ok=True)
database.write_text("a new study")
print("error: studies.db was moved")
"""),
    "fails": (1, "time.sleep(0.1); print('studies.db was moved')"),
    "breaks": (4, "time.sleep(0.1); print('studies.db: Traceback (most recent call last)')"),
}  # fmt: skip


@pytest.fixture
def study(place: Place, older: Path) -> Taken:
    return Taken(Sqlite(), place, TakeCount(parallel=1), chance=random.Random(1), reference=ONE_RESULT)


@pytest.fixture
def drive(place: Place) -> Iterator[Any]:
    """Makes a launch of a driver of this kind."""
    made: list[subprocess.Popen[bytes]] = []

    def start(kind: str) -> Any:
        log = place.folder / f"log-{len(made)}"
        log.write_text("done=1/17\n")
        with log.open("ab") as out:
            code, deed = DRIVERS[kind]
            script = f"{AT_WORK}print('ready', flush=True)\n{deed}\nsys.exit({code})"
            command = [sys.executable, "-I", "-S", "-c", script, str(place.home / "studies.db")]
            made.append(subprocess.Popen(command, stdout=out, stderr=out))
        while "ready" not in log.read_text():
            time.sleep(0.01)
        return launched(made[-1], log)

    yield start
    for process in made:
        process.kill()
        process.wait()


def launched(driver: subprocess.Popen[bytes], log: Path) -> Any:
    return SimpleNamespace(driver=driver, log=log, began=0.0, kill=driver.kill, running=True)


def second(code: int | None, said: str, place: Place) -> Any:
    """A second launch that came to this."""
    log = place.folder / "log-second"
    log.write_text(said)
    driver = SimpleNamespace(poll=lambda: code, wait=lambda timeout: code)
    return SimpleNamespace(driver=driver, log=log, end=lambda: None, place=place.second())


def taking(study: Taken, way: str, launch: Any) -> bool:
    process = read(launch.driver.pid)
    assert process is not None
    return study._deal(Strike("at work", way), Target(process), launch)


@pytest.mark.parametrize(
    ("kind", "way", "expected"),
    [
        *(("looks", way, "") for way in (MOVED, RENAMED, OLDER, EMPTY, HOME)),
        ("says nothing", MOVED, "a launch ended with 4"),
        ("goes on", HOME, "a launch ended with 0"),
        ("makes another", MOVED, "at the old place there was studies.db"),
        ("makes another", EMPTY, "at the old place there was studies.db"),
        ("makes another", HOME, "at the old place there was studies.db"),
        ("fails", OLDER, "a launch ended with 1"),
        ("breaks", RENAMED, "a launch ended with 4"),
    ],
)
def test_only_a_driver_that_looks_keeps_the_promise(
    kind: str, way: str, expected: str, study: Taken, drive: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = second(1, "error: study 'chaos' is already being run by pid=1", place)
    monkeypatch.setattr(taken, "Launch", lambda place: refused)
    before, launch = tree(place.home), drive(kind)
    assert taking(study, way, launch)
    assert tree(place.home) == before
    launch.running = False
    assert study.done(launch) is (DRIVERS[kind][0] == 0)
    assert study.count.second == {"refused": 1}
    assert study.count.after == {way: {f"exit {DRIVERS[kind][0]}": 1}}
    broken = [words for words in broken_counts(vars(study.count)) if not words.startswith("nothing struck")]
    assert len(broken) == bool(expected)
    assert "".join(broken).startswith(expected)


@pytest.mark.parametrize(
    ("code", "said", "kept"),
    [
        (1, "error: already being run", True),
        (4, "error: there is no study database", True),
        (None, "done=1/17", False),  # it trains
        (0, "report", False),
        (1, "Traceback (most recent call last)", False),
        (1, "", False),
    ],
)
def test_a_second_launch_is_refused_in_words(
    code: int | None, said: str, kept: bool, study: Taken, place: Place, older: Path
) -> None:
    study._account(MOVED, take_away(MOVED, place, older=older), second(code, said, place))
    assert bool(study.count.both_at_work) is not kept
    assert (study.count.second == {"refused": 1}) is kept


def test_a_study_with_all_its_results_or_no_database_is_not_struck(study: Taken, drive: Any, place: Place) -> None:
    launch = drive("looks")
    study._witness.last = ONE_RESULT.sight
    assert not taking(study, MOVED, launch)
    study._witness.last = Sight()
    (place.home / "studies.db").rename(place.home / "kept")
    assert not taking(study, MOVED, launch)
    assert launch.driver.wait(timeout=60) == 4, "it goes on"
    assert study.count == TakeCount(parallel=1)


def test_a_database_that_is_not_there_yet_is_waited_for(
    study: Taken, drive: Any, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    launch, database, there = drive("looks"), place.home / "studies.db", list[bool]()
    database.rename(place.home / "kept")
    later = Timer(0.3, lambda: (place.home / "kept").rename(database))
    monkeypatch.setattr(taken.Battered, "_strike", lambda self, *args: there.append(database.exists()) or True)
    copied = list[tuple[Path, Path]]()
    monkeypatch.setattr(taken, "copy_of", lambda *paths: copied.append(paths))
    later.start()
    for way in (RENAMED, OLDER):
        assert study._strike(Deck((), random.Random(1)), Strike("any", way), launch)
    later.join()
    assert there == [True, True]
    assert copied == [(database, place.folder / "older.db")]


def test_the_first_launch_is_aimed_at_whatever_is_taken(study: Taken) -> None:
    assert {study._aim(strike) for strike in takings(random.Random(3))} <= {Strike(m, DRIVER) for m in MOMENTS}
