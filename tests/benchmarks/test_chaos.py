"""The kill campaign can see what it promises to see: loss, doubles, differences, and a victim in its moment."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from benchmarks import chaos
from benchmarks.counts import ADDED, TOLD, FreezeCount, GrowCount, KillCount, broken_counts, summary
from benchmarks.endings import Ending, differences, duplicates
from benchmarks.grown import SMALLER, WIDER, _until
from benchmarks.launches import NAME, SPACE, Place, Sqlite
from benchmarks.marked_driver import marked
from benchmarks.strikes import ALL, Deck, Strike, strike
from benchmarks.witness import Sight, Witness
from search_spaces import compare, loads
from studies.store import Store
from tests.support.pretend import job_result
from tests.support.processes import Process, read
from tuner.search.planner import Planner


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Sqlite().new(tmp_path)


@pytest.fixture
def planner(place: Place) -> Iterator[Planner]:
    """The campaign's own study, to be run without training."""
    space = loads(SPACE)
    with Store.create_or_open(
        place.url, name=NAME, space_yaml=space.to_yaml(), space_sha256=space.sha256, objective=space.objective
    ) as store:
        yield Planner(space, store)


def go_on(planner: Planner, jobs: int = 1000) -> None:
    """Runs so many jobs or readings, or all there are."""
    while jobs > 0 and (task := planner.next_task()) is not None:
        planner.complete(task, job_result(task.configs, read_test=task.kind == "reading"))
        jobs -= 1


def meddle(place: Place, statement: str) -> None:
    with sqlite3.connect(place.home / "studies.db") as connection:
        assert connection.execute(statement).rowcount == 1
    connection.close()


# -- what is lost -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "deed",
    [
        "DELETE FROM trials WHERE number = 2",
        "UPDATE trials SET state = 'RUNNING' WHERE number = 2",
        "UPDATE trial_values SET value = 0.123 WHERE trial_id = 3",
        "UPDATE trial_params SET param_value = 0.0123 WHERE trial_id = 3 AND param_name = 'stage1.lr'",
        """UPDATE tuner_trials SET metrics = '{"val.few": 0.5}' WHERE trial_id = 3""",
    ],
)
def test_a_result_that_was_seen_and_is_another_or_gone_is_lost(deed: str, place: Place, planner: Planner) -> None:
    go_on(planner, 3)
    witness = Witness(place.url, NAME)
    assert {2} < set(witness.look().results)
    meddle(place, deed)
    for _ in range(2):
        witness.look()
        assert witness.lost == {2}, "once"


def test_what_completes_between_two_kills_is_seen_and_its_loss_counted(place: Place, planner: Planner) -> None:
    go_on(planner, 1)
    with Witness(place.url, NAME) as witness:
        go_on(planner, 1)
        assert witness.wait(lambda sight: sight.count("COMPLETE") > 1, running=lambda: True, seconds=60)
        meddle(place, "DELETE FROM trials WHERE number = 1")
        witness.look()
    assert 1 in witness.lost


def test_a_reading_that_vanishes_is_lost(place: Place, planner: Planner) -> None:
    go_on(planner)
    witness = Witness(place.url, NAME)
    roles = {key[0] for key in dict(witness.look().readings) if isinstance(key, tuple)}
    assert roles == {"best", "naive", "weight_decay", "tau_norm"}
    meddle(place, "DELETE FROM tuner_readings WHERE role = 'naive'")
    witness.look()
    assert [key[0] for key in witness.lost if isinstance(key, tuple)] == ["naive"]


def test_a_study_that_only_goes_on_loses_nothing(place: Place, planner: Planner) -> None:
    witness = Witness(place.url, NAME)
    assert witness.look() == Sight()
    for _ in range(6):
        go_on(planner, 1)
        witness.look()
    go_on(planner)
    assert len(witness.look().results) == planner.tally.complete + 4
    assert witness.lost == set()


def test_an_onlooker_waits_for_no_writer_and_makes_nothing(place: Place, planner: Planner) -> None:
    go_on(planner, 2)
    with sqlite3.connect(place.home / "studies.db", isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert Witness(place.url, NAME).look().count("COMPLETE") > 0
        writer.execute("ROLLBACK")
    writer.close()
    nowhere = Sqlite().new(place.folder / "nowhere")
    with pytest.raises(DBAPIError):
        Witness(nowhere.url, NAME).look()
    assert not nowhere.folder.exists()


# -- what is doubled, missing or another ---------------------------------------------------------------------------


def test_jobs_readings_and_trials_that_are_there_twice_are_counted(place: Place, planner: Planner) -> None:
    go_on(planner)
    sight = Witness(place.url, NAME).look()
    assert duplicates(sight) == 0
    asked_again = dataclasses.replace(sight.jobs[1], id=99, numbers=(50, 51))
    assert duplicates(dataclasses.replace(sight, jobs=(*sight.jobs, asked_again))) == 1
    claimed_twice = dataclasses.replace(sight.jobs[1], id=99, backbone_index=70)
    assert duplicates(dataclasses.replace(sight, jobs=(*sight.jobs, claimed_twice))) == len(claimed_twice.numbers)
    assert duplicates(dataclasses.replace(sight, readings=(*sight.readings, sight.readings[0]))) == 1


def test_trials_readings_and_weights_are_compared(place: Place, planner: Planner) -> None:
    go_on(planner)
    sight = Witness(place.url, NAME).look()
    whole = Ending(sight, {"a": "1", "b": "2"})
    assert differences(whole, whole) == []
    trials = {**sight.trials, 3: ("FAIL", *sight.trials[3][1:])}
    assert differences(Ending(dataclasses.replace(sight, trials=trials), whole.weights), whole) == ["trial 3"]
    without = dataclasses.replace(sight, readings=sight.readings[1:])
    assert differences(Ending(without, whole.weights), whole) == ["reading best"]
    assert differences(Ending(sight, {"a": "1", "b": "3", "c": "4"}), whole) == ["weights b"]
    assert differences(Ending(sight, {"c": "4"}), whole) == ["no backbone of the other is in the cache"]


KEPT = dataclasses.asdict(KillCount(parallel=1, strikes=3, studies=1, at_stake=9, fresh=2, same_as_unkilled=True))


def test_every_broken_promise_is_named() -> None:
    assert broken_counts(KEPT) == []
    broken = dict.fromkeys(ADDED[TOLD:], 1)
    broken |= {"budget_exact": False, "fresh": 0}  # with nothing to lose, nothing was shown
    broken |= {"unexpected_ends": ["1 after None"], "differences": ["trial 3"]}
    for name, value in broken.items():
        assert len(broken_counts({**KEPT, name: value})) == 1, name
    counted = {field.name for kind in (KillCount, FreezeCount) for field in dataclasses.fields(kind)}
    described = {"parallel", "one_worker", "storage", *ADDED[:TOLD], "at_stake", "same_as_unkilled", "reasons"}
    described |= {"weights_compared", "struck", "after", "half_written", "results_cut", "seconds", "gave_up"}
    assert counted == set(broken) | described, "a new count is a promise or a description"


def test_a_study_that_did_not_grow_is_a_broken_promise() -> None:
    grown = {**dataclasses.asdict(GrowCount(parallel=1)), **KEPT, "from_wider": 3}
    assert broken_counts(grown) == []
    assert broken_counts({**grown, "ungrown": 1}) == ["1 studies did not grow"]
    assert broken_counts({**grown, "from_wider": 0}) == ["no trial was drawn from a wider space"]


def test_the_wider_space_of_the_campaign_is_one(place: Place, planner: Planner) -> None:
    assert compare(loads(SMALLER), loads(SMALLER, overrides=WIDER)).allowed
    go_on(planner)
    whole = Ending(Witness(place.url, NAME).look(), {"a": "1"})
    earlier = {number: row for number, row in whole.sight.trials.items() if number < 9}
    other = {**earlier, 9: ("FAIL", *whole.sight.trials[9][1:])}
    grown = Ending(dataclasses.replace(whole.sight, trials=other, readings=()), {"a": "1", "b": "2"})
    assert differences(_until(grown, 9), _until(whole, 9)) == []
    assert differences(_until(grown, 10), _until(whole, 10)) == ["trial 9"]


def test_a_promise_of_any_part_is_the_reports() -> None:
    good = {"parts": [KEPT], "second_launch": {"refused": True}}
    report: dict[str, Any] = {"sqlite": good, "outages": {"sqlite": {"kept": True}}, "max_retries": {"kept": True}}
    assert chaos.broken_promises(report) == []
    for other in (
        {"postgresql": {"parts": [KEPT, {**KEPT, "lost": 1}]}},
        {"frozen": {"parts": [KEPT, {**KEPT, "lost": 1}]}},
        {"sqlite": {**good, "second_launch": {"refused": False}}},
        {"sqlite": {**good, "two_at_once": {"refused": False}}},
        {"outages": {"postgresql": {"kept": False}}},
        {"max_retries": {"kept": False}},
    ):
        assert len(chaos.broken_promises({**report, **other})) == 1, other


def test_a_storage_is_its_parts_together() -> None:
    one = KillCount(parallel=1, strikes=2, lost=1, same_as_unkilled=False, struck={"any": {"driver": 2}})
    struck = {"any": {"driver": 1, "raylet": 1}, "commit": {"driver": 1}}
    two = KillCount(parallel=2, strikes=3, budget_exact=False, struck=struck)
    found = summary([one, two], seed=7)
    assert (found["strikes"], found["lost"], found["seed"]) == (5, 1, 7)
    assert (found["budget_exact"], found["same_as_unkilled"]) == (False, False)
    assert found["struck"] == {"any": {"driver": 3, "raylet": 1}, "commit": {"driver": 1}}
    assert summary([two], seed=7)["same_as_unkilled"] is None, "it is not promised there"


def test_a_storage_that_cannot_be_tried_is_no_success(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(chaos, "postgres_programs", lambda: None)
    monkeypatch.setattr(
        chaos, "_campaigns", lambda asked, postgres: {name: KEPT | {"parts": [KEPT]} for name in asked.storage}
    )
    with pytest.raises(SystemExit) as ended:
        chaos.main(["--out", str(tmp_path / "chaos.json")])
    assert ended.value.code == 2
    assert "--storage sqlite" in capsys.readouterr().err
    assert not (tmp_path / "chaos.json").exists()
    assert chaos.main(["--storage", "sqlite", "--out", str(tmp_path / "chaos.json")]) == 0
    assert "postgresql" not in json.loads((tmp_path / "chaos.json").read_text())


# -- moments and victims -------------------------------------------------------------------------------------------

WRITER = """
import os, socket, sys, time
from pathlib import Path
folder = Path(sys.argv[1]) / "runs" / "cache" / "entry"
while True:
    temporary = folder / f".checkpoint.json.{socket.gethostname()}.{os.getpid()}"
    temporary.write_text("half")
    time.sleep(0.01)
    temporary.replace(folder / "checkpoint.json")
    time.sleep(0.01)
"""


@pytest.fixture
def writer(place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A process that writes checkpoints as the cache does, without end."""
    (place.home / "cache" / "entry").mkdir(parents=True)
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(place.folder)])
    yield process
    process.kill()
    process.wait()


class AtOnce(random.Random):
    """No pause before a moment is waited for."""

    def uniform(self, a: float, b: float) -> float:
        return a


def launched(place: Place) -> Any:
    """As if this process were the driver."""
    return SimpleNamespace(place=place, driver=SimpleNamespace(pid=os.getpid()), process=read(os.getpid()))


def test_a_writer_dies_amid_its_writing(place: Place, writer: subprocess.Popen[bytes]) -> None:
    stale = place.home / "cache" / "entry" / f".checkpoint.json.{socket.gethostname()}.{2**22 + 1}"
    stale.touch()  # of one that was killed before: not the moment
    hit = strike(Strike("checkpoint", "worker"), launched(place), Sqlite(), chance=AtOnce(), over=lambda: False)
    assert hit is not None
    assert hit.pid == writer.pid
    assert writer.wait(timeout=60) == -signal.SIGKILL
    left = {path.name.rpartition(".")[2] for path in stale.parent.glob(".*")}
    assert left == {str(writer.pid), str(2**22 + 1)}


def test_what_an_earlier_death_left_is_no_moment(place: Place) -> None:
    (place.home / "cache" / "entry").mkdir(parents=True)
    (place.home / "cache" / "entry" / f".features-x.json.host.{2**22 + 1}").touch()
    looks = iter(range(50))
    over: Callable[[], bool] = lambda: next(looks, None) is None  # noqa: E731
    assert strike(Strike("features", "worker"), launched(place), Sqlite(), chance=AtOnce(), over=over) is None


def test_a_frozen_process_stands_still_until_it_is_thawed(place: Place, writer: subprocess.Popen[bytes]) -> None:
    folder = place.home / "cache" / "entry"

    def written() -> int:
        return (folder / "checkpoint.json").stat().st_mtime_ns

    while not (folder / "checkpoint.json").exists():
        time.sleep(0.01)
    process = read(writer.pid)
    assert isinstance(process, Process)
    process.freeze()
    before = written()
    time.sleep(0.2)
    assert written() == before
    process.thaw()
    while written() == before:
        time.sleep(0.01)


def test_the_mark_is_there_while_results_are_written(tmp_path: Path) -> None:
    mark, found = tmp_path / "mark", list[bool]()

    def deed(value: int) -> int:
        found.append(mark.exists())
        return 10 // value

    assert marked(deed, mark)(5) == 2
    with pytest.raises(ZeroDivisionError):
        marked(deed, mark)(0)
    assert found == [True, True]
    assert not mark.exists()


def test_every_strike_is_drawn_and_one_whose_moment_never_comes_ends_the_campaign() -> None:
    deck = Deck(ALL, random.Random(5))
    assert {deck.draw() for _ in ALL} == set(ALL)
    drawn = deck.draw()
    for _ in range(5):
        deck.put_back(drawn)
        assert deck.draw() == drawn
    with pytest.raises(RuntimeError, match=str(drawn)):
        deck.put_back(drawn)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # three to four minutes on two quiet cores
def test_a_few_strikes_at_real_studies_break_no_promise(tmp_path: Path) -> None:
    out = tmp_path / "chaos.json"
    assert chaos.main(["--quick", "--seed", "1", "--out", str(out)]) == 0
    report = json.loads(out.read_text())
    asked = {"sqlite": "kills", **{name: name for name in chaos.KINDS if chaos.QUICK[name]}}
    for name, option in asked.items():
        found = report[name]
        assert found["strikes"] == chaos.QUICK[option], name
        assert {count: found[count] for count in ADDED[TOLD:]} == dict.fromkeys(ADDED[TOLD:], 0), name
        assert found["budget_exact"], name
        assert found["same_as_unkilled"], name
    (part,) = report["sqlite"]["parts"]
    assert sum(part["struck"]["checkpoint"].values()) == 1
    assert part["half_written"] > 0, "a worker died while it wrote"
    assert sum(part["results_cut"].values()) > 0, "a driver died in a transaction of results"
    assert part["weights_compared"] > 0
