"""A process that the kill campaign freezes stands still for its time, goes on, and what came of it is counted."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import chaos
from benchmarks.counts import FreezeCount
from benchmarks.endings import Ending
from benchmarks.frozen import FREEZES, Frozen, outlasted
from benchmarks.launches import Sqlite
from benchmarks.strikes import DRIVER, GCS, RAYLET, WORKER, Deck, Strike, Target
from benchmarks.witness import Sight
from tests.support.processes import Process, read

NOWHERE = Ending(Sight(), {})


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


@pytest.fixture
def study(tmp_path: Path) -> Frozen:
    storage = Sqlite()
    count = FreezeCount(parallel=1, seconds=0.3)
    return Frozen(storage, storage.new(tmp_path), count, chance=random.Random(1), reference=NOWHERE)


def ended(code: int | None, log: Path, said: str = "Ray's raylet died") -> Any:
    """A launch that has ended with this code, or runs still."""
    log.write_text(said)
    return SimpleNamespace(running=code is None, driver=SimpleNamespace(returncode=code), log=log, began=0.0)


def process_of(popen: subprocess.Popen[bytes]) -> Process:
    found = read(popen.pid)
    assert found is not None
    return found


def test_a_frozen_victim_goes_on_after_its_time(busy: subprocess.Popen[bytes], study: Frozen, tmp_path: Path) -> None:
    victim = process_of(busy)
    assert study._deal(Strike("at work", WORKER), Target(victim), ended(0, tmp_path / "log"))
    assert victim.alive
    assert not victim.stopped
    assert (study.count.strikes, study.count.struck) == (1, {"at work": {"worker": 1}})
    assert study.count.gave_up == {}


def test_a_victim_that_has_ended_is_no_strike(busy: subprocess.Popen[bytes], study: Frozen, tmp_path: Path) -> None:
    victim = process_of(busy)
    busy.kill()
    busy.wait()
    assert not study._deal(Strike("any", DRIVER), Target(victim), ended(0, tmp_path / "log"))
    assert study.count == FreezeCount(parallel=1, seconds=0.3)


def test_one_that_is_ended_while_it_stands_still_was_given_up(busy: subprocess.Popen[bytes]) -> None:
    victim = process_of(busy)
    victim.freeze()
    assert victim.stopped
    busy.kill()
    assert not outlasted(victim, seconds=600.0)
    assert busy.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("victim", "code", "said", "expected"),
    [
        (RAYLET, 4, "Ray's raylet died", True),
        (GCS, 4, "Ray's GCS died", True),
        (RAYLET, 1, "something else", False),
        (RAYLET, 4, "Traceback (most recent call last)", False),
        (WORKER, 4, "no reason", False),
        (DRIVER, 4, "no reason", False),
    ],
)
def test_only_what_ray_gives_up_may_end_a_launch(
    victim: str, code: int, said: str, expected: bool, study: Frozen, tmp_path: Path
) -> None:
    study._cause = victim
    assert not study.done(ended(code, tmp_path / "log", said))
    assert study.count.after == {victim: {f"exit {code}": 1}}
    assert bool(study.count.unexpected_ends) is not expected


def test_each_freeze_before_another_one_has_its_own_outcome(
    busy: subprocess.Popen[bytes], study: Frozen, tmp_path: Path
) -> None:
    victim, launch = process_of(busy), ended(0, tmp_path / "log")
    for strike in (Strike("at work", WORKER), Strike("results", DRIVER)):
        assert study._deal(strike, Target(victim), launch)
    assert study.done(launch)
    assert study.count.after == {"worker": {"went on": 1}, "driver": {"went on": 1}}


def test_storages_share_the_freezes(monkeypatch: pytest.MonkeyPatch) -> None:
    decks = dict[str, tuple[Deck, int]]()

    def campaign(kind: type, storage: Any, count: FreezeCount, strikes: int, *, deck: Deck, **others: Any) -> None:
        decks[count.storage] = deck, strikes
        count.strikes = strikes

    monkeypatch.setattr(chaos, "campaign", campaign)
    asked = chaos._parser().parse_args([])
    found = chaos._frozen(
        asked, {"sqlite": Sqlite(), "postgresql": Sqlite()}, chance=random.Random(2), reference=NOWHERE
    )
    drawn = [deck.draw() for deck, strikes in decks.values() for _ in range(strikes)]
    assert found["strikes"] == len(drawn) == 6
    assert len(set(drawn)) == 6, "none twice before all have come"
    assert set(drawn) <= set(FREEZES)
    assert [part["storage"] for part in found["parts"]] == ["sqlite", "postgresql"]
