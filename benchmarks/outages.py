"""A study database that is away for a while in the middle of a study, which completes all the same."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.endings import Ending, differences
from benchmarks.launches import NAME, Launch, Place, Postgres, Sqlite
from benchmarks.witness import Witness
from tests.support.postgres_server import PostgresServer


def sqlite_locked(seconds: float, reference: Ending) -> dict[str, Any]:
    """SQLite is locked by another program, once."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place, times = Sqlite().new(Path(folder)), 0
        launch = Launch(place)
        with Witness(place.url, NAME) as witness:
            if witness.wait(lambda sight: len(sight.trials) > 2, running=lambda: launch.running):
                _lock(place.home / "studies.db", seconds)
                times += launch.running  # it cannot have ended without writing
            return _found(place, launch, witness, reference, times=times, asked=1, seconds=seconds)


def postgres_stopped(server: PostgresServer, seconds: float, reference: Ending) -> dict[str, Any]:
    """PostgreSQL is stopped three times."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place, times, after = Postgres(server).new(Path(folder)), 0, (2, 6, 10)  # trials
        launch = Launch(place)
        with Witness(place.url, NAME) as witness:
            for number in after:
                if witness.wait(lambda sight, n=number: len(sight.trials) > n, running=lambda: launch.running):  # type: ignore[misc]
                    server.stop()
                    time.sleep(seconds)
                    times += launch.running
                    server.start()
            return _found(place, launch, witness, reference, times=times, asked=len(after), seconds=seconds)


def _lock(file: Path, seconds: float) -> None:
    with contextlib.closing(sqlite3.connect(file, isolation_level=None, timeout=60)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(seconds)
        other.execute("ROLLBACK")


def _found(
    place: Place, launch: Launch, witness: Witness, reference: Ending, *, times: int, asked: int, seconds: float
) -> dict[str, Any]:
    """`kept` only when every outage came while the study ran."""
    launch.finish()
    unlike = differences(Ending(witness.look(), place.weights()), reference)
    return {
        "times": times, "seconds": seconds, "completed": not unlike, "differences": unlike,
        "lost": len(witness.lost), "kept": times == asked and not unlike and not witness.lost,
    }  # fmt: skip
