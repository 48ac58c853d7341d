"""Whom the kill campaign strikes, and when: moments that are waited for, victims that are found; and SIGKILL."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from benchmarks.launches import Launch, Sqlite, Storage, ended
from tests.support.processes import Process, belongs, read

DRIVER, WORKER, RAYLET, GCS = "driver", "worker", "raylet", "gcs_server"
FILES = ("checkpoint", "backbone", "features")  # of the cache, while one is being written
TRANSACTION = 0.02  # seconds: about what a transaction of results takes on two cores


@dataclass(frozen=True)
class Strike:
    """One strike to come: at `moment`, of `victim`."""

    moment: str
    victim: str

    def __str__(self) -> str:
        return f"{self.moment}: {self.victim}"


ALL = (
    *(Strike("any", victim) for victim in (DRIVER, RAYLET, GCS)),  # also while Ray starts
    *(Strike("at work", victim) for victim in (WORKER, RAYLET, GCS)),  # while a worker is
    *(Strike(file, victim) for file in FILES for victim in (WORKER, DRIVER)),
    Strike("commit", DRIVER),  # of anything, the view of the progress included
    Strike("results", DRIVER),  # in a transaction that writes results
)
FEW = (Strike("checkpoint", WORKER), Strike("results", DRIVER), Strike("at work", WORKER), Strike("backbone", DRIVER))


@dataclass(frozen=True)
class Target:
    """A victim whose moment has come; `trace` is the file that is there as long as the moment lasts."""

    process: Process
    trace: Path | None = None


@dataclass(frozen=True)
class Hit:
    """A strike that was made, and whose process it was."""

    strike: Strike
    pid: int


class Deck:
    """Every strike once in random order, then again."""

    def __init__(self, strikes: tuple[Strike, ...], chance: random.Random) -> None:
        self._strikes, self._chance, self._left = strikes, chance, list[Strike]()
        self._missed = 0

    def draw(self) -> Strike:
        """The next one."""
        if not self._left:
            self._left = self._chance.sample(self._strikes, len(self._strikes))
        return self._left.pop()

    def struck(self) -> None:
        """The one that was drawn was made."""
        self._missed = 0

    def put_back(self, strike: Strike, *, patience: int = 5) -> None:
        """Its moment did not come before the study ended: it is the next one again.

        Raises RuntimeError when it never comes: a campaign must not quietly strike at something else.
        """
        self._left.append(strike)
        self._missed += 1
        if self._missed > patience:
            raise RuntimeError(f"the moment of '{strike}' did not come in {self._missed} launches: is it found at all?")


def strike(
    wanted: Strike, launch: Launch, storage: Storage, *, chance: random.Random, over: Callable[[], bool]
) -> Hit | None:
    """Waits for the moment and kills; None when it did not come before `over`."""
    target = caught(wanted, launch, storage, chance=chance, over=over)
    return Hit(wanted, target.process.pid) if target is not None and killed(wanted, target, launch) else None


def killed(wanted: Strike, target: Target, launch: Launch) -> bool:
    """Kills; False when a driver had ended by itself a moment before. Raises RuntimeError when a process goes on."""
    target.process.kill()
    if wanted.victim == DRIVER:
        return launch.driver.wait() == -SIGKILL
    if not ended(target.process):
        raise RuntimeError(f"{target.process} survived SIGKILL")
    return True


def caught(
    wanted: Strike, launch: Launch, storage: Storage, *, chance: random.Random, over: Callable[[], bool]
) -> Target | None:
    """The victim in its moment; None when that did not come before `over`.

    One amid writing is made to stand still, for its moment is a matter of milliseconds.
    """
    _pause(chance.uniform(0, 12 if wanted.moment == "any" else 4), over)
    with _looking(wanted, launch, storage, chance) as look:
        while not over():
            target = look()
            if target is None:
                time.sleep(0.02 if wanted.moment in ("any", "at work") else 0.001)  # all of /proc is read, or a file
                continue
            if target.trace is None:
                return target
            if wanted.moment == "results":
                time.sleep(chance.uniform(0, TRANSACTION))  # anywhere in it
            target.process.freeze()
            if target.trace.exists():
                return target
            target.process.thaw()  # it was quicker
    return None


@contextlib.contextmanager
def _looking(
    wanted: Strike, launch: Launch, storage: Storage, chance: random.Random
) -> Iterator[Callable[[], Target | None]]:
    """How to see whether the moment has come."""
    driver, mark = launch.process, launch.place.mark
    match wanted.moment, wanted.victim:
        case "any", "driver":
            yield lambda: _target(driver)
        case "any", server:
            yield lambda: _target(launch.ray(server))
        case "at work", "driver":
            yield lambda: _target(driver) if launch.workers() else None
        case "at work", "worker":
            yield lambda: _target(chance.choice(launch.workers() or [None]))
        case "at work", server:
            yield lambda: _target(launch.ray(server)) if launch.workers() else None
        case "commit", _:
            with storage.commits(launch.place) as come:
                yield lambda: _target(driver) if come() else None
        case "results", _:
            yield lambda: _target(driver, mark) if mark.exists() else None
        case file, victim:
            yield lambda: _of_file(launch, file, driver if victim == DRIVER else None)


def _of_file(launch: Launch, file: str, driver: Process | None) -> Target | None:
    """The worker that writes such a file now, by the name that the temporary file bears; or the driver meanwhile."""
    for temporary in (launch.place.home / "cache").glob(f"*/.{file}*"):
        writer = temporary.name.rpartition(".")[2]
        if writer.isdigit() and belongs(int(writer), launch.driver.pid):  # none that an earlier death left
            return _target(driver or read(int(writer)), temporary)
    return None


def _target(process: Process | None, trace: Path | None = None) -> Target | None:
    return None if process is None else Target(process, trace)


def _pause(seconds: float, over: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and not over():
        time.sleep(0.05)


def killed_worker(launch: Launch) -> bool:
    """Kills the worker that trains, as soon as there is one; False when the launch ended before."""
    hit = strike(Strike("at work", WORKER), launch, Sqlite(), chance=random.Random(0), over=lambda: not launch.running)
    return hit is not None
