"""`make chaos`: a small real study is killed again and again, and must end as if nobody had touched it.

SIGKILL strikes the driver or a worker at random moments, and at the moments of writing: a checkpoint, a backbone,
features, a commit to the study database. After each death of a driver the same launch is given again. What may not
happen is counted: results lost or doubled, trials left RUNNING, a budget missed, another result than without kills,
processes or scratch folders left behind. Figures are printed and written to runs/chaos.json.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.launches import Launch, Postgres, Sqlite, Storage, Trials, server, trials
from benchmarks.postgres_server import PostgresServer
from benchmarks.processes import Process, survivors
from benchmarks.record import hardware, versions

MOMENTS = ("driver", "checkpoint", "worker", "backbone", "commit", "features")
KILLS_PER_STUDY = 10  # then it is let through to its end
GRACE = 90.0  # seconds in which a dead driver's processes must end; Ray's own two agents take 60
OUT = Path("runs") / "chaos.json"


@dataclass
class Count:
    """What is counted of the studies on one storage at one parallelism."""

    parallel: int
    kills: int = 0
    studies: int = 0
    lost: int = 0  # a completed trial that is gone or has another value after a kill
    duplicated: int = 0  # trials, jobs or readings that are there twice
    left_running: int = 0
    budget_exact: bool = True
    same_as_unkilled: bool | None = None  # None where it is not promised: more than one job at a time
    orphans: int = 0  # processes that outlived their driver
    scratch_left: int = 0  # folders in the temporary folder after the last launch
    unfinished_files: int = 0  # in the cache after the last launch
    by_moment: dict[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        broken = self.lost + self.duplicated + self.left_running + self.orphans
        broken += self.scratch_left + self.unfinished_files
        return not broken and self.budget_exact and self.same_as_unkilled is not False


class Campaign:
    """Studies on one storage at one parallelism, until enough kills have struck."""

    def __init__(self, storage: Storage, count: Count, *, chance: random.Random, reference: Trials) -> None:
        self.storage, self.count, self.chance, self.reference = storage, count, chance, reference
        self._moments: list[str] = []
        self._orphans: list[Process] = []

    def run(self, kills: int) -> None:
        """Study after study."""
        while self.count.kills < kills:
            with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
                self._study(Path(folder), min(KILLS_PER_STUDY, kills - self.count.kills))
            self.count.studies += 1

    def _study(self, folder: Path, kills: int) -> None:
        home = folder / "runs"
        url, ended, struck = self.storage.new(home), dict[int, tuple[Any, ...]](), 0
        launch = Launch(folder, home, url, parallel=self.count.parallel)
        while struck < kills and launch.running:
            moment = self._next_moment()
            victim = self._strike(moment, launch, url, home)
            if victim is None:
                self._moments.append(moment)  # it had ended before; the moment is still due
                continue
            struck += 1
            self.count.kills += 1
            kind = f"{moment}: {victim}"
            self.count.by_moment[kind] = self.count.by_moment.get(kind, 0) + 1
            if victim == "driver":
                ended = self._account(url, ended)
                launch = Launch(folder, home, url, parallel=self.count.parallel)
        launch.finish()
        self._close(url, home, folder, self._account(url, ended))

    def _next_moment(self) -> str:
        if not self._moments:
            self._moments = self.chance.sample(MOMENTS, len(MOMENTS))
        return self._moments.pop()

    def _strike(self, moment: str, launch: Launch, url: str, home: Path) -> str | None:
        """Waits for the moment and kills; returns whom, or None when the launch ended before."""
        time.sleep(self.chance.uniform(0, 12 if moment == "driver" else 4))
        with contextlib.ExitStack() as watching:
            come: Callable[[], bool]
            match moment:
                case "driver":
                    come = lambda: True  # noqa: E731
                case "worker":
                    come = lambda: bool(launch.workers())  # noqa: E731
                case "commit":
                    come = watching.enter_context(self.storage.commits(url, home))
                case name:
                    come = lambda: any((home / "cache").glob(f"*/.{name}*"))  # noqa: E731
            while launch.running and not come():
                time.sleep(0.001)
        if not launch.running:
            return None
        if moment == "worker" or (moment not in ("driver", "commit") and self.chance.random() < 0.5):
            workers = launch.workers()
            if workers:
                self.chance.choice(workers).kill()
                return "worker"
        self._orphans += launch.kill()
        return "driver"

    def _account(self, url: str, before: Trials) -> Trials:
        """Counts what was lost since the last look; returns what has ended by now."""
        now = {number: row for number, row in trials(url).items() if row[0] != "RUNNING"}
        self.count.lost += sum(now.get(number) != row for number, row in before.items())
        return now

    def _close(self, url: str, home: Path, folder: Path, ended: Trials) -> None:
        from studies.store import Store

        rows = trials(url)
        self.count.left_running += sum(row[0] == "RUNNING" for row in rows.values())
        self.count.budget_exact &= len(rows) == len(self.reference) and len(ended) == len(rows)
        if self.count.parallel == 1:
            self.count.same_as_unkilled = self.count.same_as_unkilled is not False and ended == self.reference
        with Store.open(url, "chaos") as store:
            asked = Counter((job.kind, job.backbone_index, job.round) for job in store.jobs())
            read = Counter(reading.role for reading in store.readings())
            numbers = Counter(row.number for row in store.trials())
        self.count.duplicated += sum(n - 1 for counter in (asked, read, numbers) for n in counter.values())
        left, self._orphans = survivors(self._orphans, seconds=GRACE), []
        for process in left:
            process.kill()
        self.count.orphans += len(left)
        self.count.scratch_left += len(list((folder / "t").glob("tuner-*")))
        self.count.unfinished_files += len(list((home / "cache").glob("*/.*")))


def undisturbed() -> Trials:
    """The trials of a study that nobody touches."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        home = Path(folder) / "runs"
        url = Sqlite().new(home)
        Launch(Path(folder), home, url, parallel=1).finish()
        return trials(url)


def outages(server: PostgresServer | None, reference: Trials, *, seconds: float = 20.0) -> dict[str, Any]:
    """PostgreSQL is stopped three times, SQLite is locked once for longer; both studies complete all the same."""
    found: dict[str, Any] = {"sqlite": _sqlite_locked(1.5 * seconds, reference)}
    if server is not None:
        found["postgresql"] = _postgres_stopped(server, seconds, reference)
    return found


def _sqlite_locked(seconds: float, reference: Trials) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        home = Path(folder) / "runs"
        url = Sqlite().new(home)
        launch = Launch(Path(folder), home, url, parallel=1)
        _wait(lambda: len(trials(url)) > 2 or not launch.running)
        with contextlib.closing(sqlite3.connect(home / "studies.db", isolation_level=None, timeout=60)) as other:
            other.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            other.execute("ROLLBACK")
        launch.finish()
        return {"times": 1, "seconds": seconds, "completed": trials(url) == reference}


def _postgres_stopped(server: PostgresServer, seconds: float, reference: Trials) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        home, url, times = Path(folder) / "runs", server.new_database(), 0
        launch = Launch(Path(folder), home, url, parallel=1)
        for wanted in (2, 6, 10):  # trials
            _wait(lambda wanted=wanted: len(trials(url)) > wanted or not launch.running)  # type: ignore[misc]
            if launch.running:
                server.stop()
                time.sleep(seconds)
                server.start()
                times += 1
        launch.finish()
        return {"times": times, "seconds": seconds, "completed": trials(url) == reference}


def _wait(until: Callable[[], bool]) -> None:
    while not until():
        time.sleep(0.5)


def main() -> int:
    """Runs the campaign; returns 1 when a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="over all storages and parallelisms [default: 60]")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000, help="[default: from the clock]")
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 2], help="jobs at a time [default: 1 2]")
    parser.add_argument("--no-outages", dest="outages", action="store_false", help="only kills")
    asked = parser.parse_args()
    began, chance = time.monotonic(), random.Random(asked.seed)
    reference = undisturbed()
    report: dict[str, Any] = {"seed": asked.seed, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    with server() as postgres:
        storages: dict[str, Storage] = {"sqlite": Sqlite()}
        if postgres is not None:
            storages["postgresql"] = Postgres(postgres)
        each = -(-asked.kills // (len(storages) * len(asked.parallel)))
        counts: dict[str, list[Count]] = {}
        for name, storage in storages.items():
            counts[name] = [Count(parallel=parallel) for parallel in asked.parallel]
            for count in counts[name]:
                Campaign(storage, count, chance=chance, reference=reference).run(each)
                print(f"{name}: {json.dumps(asdict(count))}", flush=True)
            report[name] = summary(counts[name], seed=asked.seed)
        if asked.outages:
            report["outages"] = outages(postgres, reference)
            print(f"outages: {json.dumps(report['outages'])}")
    report |= {"seconds": round(time.monotonic() - began), "hardware": hardware(), "versions": versions()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps(report, indent=2) + "\n")
    kept = all(count.good for found in counts.values() for count in found)
    kept &= all(outage["completed"] for outage in report.get("outages", {}).values())
    print(f"{'every promise was kept' if kept else 'A PROMISE WAS BROKEN'}; seed {asked.seed}; {OUT}")
    return 0 if kept else 1


def summary(counts: list[Count], *, seed: int) -> dict[str, Any]:
    """One storage's figures: all parallelisms together, and each."""
    compared = [count.same_as_unkilled for count in counts if count.same_as_unkilled is not None]
    added = ("kills", "studies", "lost", "duplicated", "left_running", "orphans", "scratch_left", "unfinished_files")
    return {
        **{name: sum(getattr(count, name) for count in counts) for name in added},
        "budget_exact": all(count.budget_exact for count in counts),
        "same_as_unkilled": all(compared) if compared else None,
        "seed": seed,
        "parts": [asdict(count) for count in counts],
    }


if __name__ == "__main__":
    sys.exit(main())
