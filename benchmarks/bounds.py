"""Where trying ends: a job whose worker dies again and again, and a second launch of a study.

That one comes when the study has a driver, or a moment after the first launch on a busy machine.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.launches import NAME, Launch, Sqlite, Storage
from benchmarks.strikes import killed_worker
from benchmarks.witness import Witness
from studies.records import FailureKind

WITHIN = 5.0  # seconds in which a second launch must have been refused, on a machine that is not busy
APART = 0.02  # seconds between two launches at once
BUSY = 4  # processes beside them
DATA_LOADED = "were set aside first"  # said of the digits once they are there
MAX_RETRIES = 2
ENDLESS = f"""
version: 1
name: {NAME}
task: {{dataset: digits-lt, imbalance_factor: 50, model: cnn-small}}
stage1: {{epochs: 100000, weight_decay: {{low: 1e-3, high: 5e-2, log: true}}}}
stage2: {{epochs: 2, weight_decay: {{low: 1e-3, high: 1e-1, log: true}}}}
budget: {{backbones: 1, heads_per_backbone: 2, rounds: 1, max_failed: 0, max_retries: {MAX_RETRIES}}}
baselines: []
"""


def retries_exhausted() -> dict[str, Any]:
    """Kills every worker of the study's only job; it must FAIL after `max_retries` more tries."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place, kills = Sqlite().new(Path(folder)), 0
        launch = Launch(place, space=ENDLESS)
        with Witness(place.url, NAME) as witness:
            while launch.running and kills <= MAX_RETRIES + 1:  # one more than may be needed
                kills += killed_worker(launch)
            if launch.running:
                launch.end()
            sight = witness.look()
    code, attempts = launch.driver.returncode, [job.attempts for job in sight.jobs]
    kept = code == 1 and kills == MAX_RETRIES + 1 and attempts == [kills] and sight.count("FAIL") == len(sight.trials)
    kept &= sight.kinds == {FailureKind.WORKER_DIED}
    return {
        "max_retries": MAX_RETRIES, "kills": kills, "attempts": attempts, "code": code,
        "reasons": list(sight.reasons), "kept": kept,
    }  # fmt: skip


def second_launch(storage: Storage) -> dict[str, Any]:
    """The same launch a second time while the first one trains: refused, in words, and how soon."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place = storage.new(Path(folder))
        first = Launch(place, space=ENDLESS)
        try:
            with Witness(place.url, NAME) as witness:
                witness.wait(lambda sight: sight.count("RUNNING") > 0, running=lambda: first.running)
                began = time.monotonic()
                second = Launch(place, space=ENDLESS)
                code = _code(second, seconds=120)
                took, said = time.monotonic() - began, second.log.read_text()
                going_on = first.running
        finally:
            first.end()
    refused = code == 1 and going_on and f"already being run by pid={first.driver.pid}" in said
    return {"seconds": round(took, 2), "within_5_s": took <= WITHIN, "refused": refused, "code": code, "said": said}


def two_at_once(storage: Storage) -> dict[str, Any]:
    """Two launches APART seconds apart, on a busy machine: one gets the study, the other is refused, and how soon."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place = storage.new(Path(folder))
        with Witness(place.url, NAME) as witness, contextlib.ExitStack() as stack:
            with busy(BUSY):
                launches = [stack.enter_context(_ended_after(Launch(place, space=ENDLESS)))]
                time.sleep(APART)
                launches.append(stack.enter_context(_ended_after(Launch(place.second(), space=ENDLESS))))
                loser = _first_to_end(launches, seconds=300)
                took = time.monotonic() - loser.began
            (winner,) = (launch for launch in launches if launch is not loser)
            witness.wait(lambda sight: sight.count("RUNNING") > 0, running=lambda: winner.running)
            code, said, at_work = loser.driver.poll(), loser.log.read_text(), witness.last.count("RUNNING") > 0
            refused = code == 1 and "already being run by" in said and winner.running and at_work
    return {
        "apart": APART, "busy": BUSY, "seconds": round(took, 2), "refused": refused,
        "before_data": DATA_LOADED not in said, "first_won": winner is launches[0], "code": code, "said": said,
    }  # fmt: skip


@contextlib.contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that want a core each."""
    made = [subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in made:
            process.kill()
            process.wait()


@contextlib.contextmanager
def _ended_after(launch: Launch) -> Iterator[Launch]:
    try:
        yield launch
    finally:
        launch.end()


def _first_to_end(launches: list[Launch], *, seconds: float) -> Launch:
    """The one that ended first, or the last one where none has after so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for launch in launches:
            if not launch.running:
                return launch
        time.sleep(0.01)
    return launches[-1]


def _code(launch: Launch, *, seconds: float) -> int:
    try:
        return launch.driver.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        launch.kill()
        return launch.driver.returncode
