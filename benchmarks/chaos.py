"""`make chaos`: a small real study is killed again and again, and must end as if nobody had touched it.

SIGKILL strikes the driver, a worker, Ray's raylet or its GCS: at random moments, and at the moments of writing (a
checkpoint, a backbone, features, a commit, a transaction of results). In other studies a process stands still for a
minute, the database or its home is taken away and put back later, or the space grows after a kill; some search by two
objectives, or by schedules of two lengths. Whatever ends a launch, the same launch is given again. What may not happen
is counted; figures are printed and written to runs/chaos.json. Exit code 1: a promise was broken; 2: something that was
asked for cannot be tried on this machine.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.battered import Battered
from benchmarks.bounds import retries_exhausted, second_launch, two_at_once
from benchmarks.counts import Count, FreezeCount, GrowCount, KillCount, TakeCount, broken_counts, summary
from benchmarks.endings import Ending, undisturbed
from benchmarks.frozen import FEW_FREEZES, FREEZES, Frozen
from benchmarks.grown import FEW_STRIKES, STRIKES, Grown
from benchmarks.killed import Killed
from benchmarks.launches import KILLS_PER_STUDY, RUNGS, SPACE, TWO_OBJECTIVES, Postgres, Sqlite, Storage, server
from benchmarks.outages import postgres_stopped, sqlite_locked
from benchmarks.record import hardware, versions
from benchmarks.strikes import ALL, FEW, Deck
from benchmarks.taken import FEW_TAKINGS, Taken, takings
from tests.support.postgres_server import PostgresServer, postgres_programs

OUT = Path("runs") / "chaos.json"
STORAGES = ("sqlite", "postgresql")
OTHER_SPACES = {"two_objectives": TWO_OBJECTIVES, "rungs": RUNGS}  # in which studies are killed, too
KINDS = ("frozen", "taken", "grown", *OTHER_SPACES)  # of strikes, beside kills on the usual space
QUICK = {
    "kills": len(FEW), "frozen": 1, "frozen_seconds": 5.0, "taken": 1, "two_objectives": 0, "rungs": 0, "grown": 0,
    "storage": ["sqlite"], "parallel": [1], "one_worker": [], "more": False,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the campaign; returns the exit code."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.quick:
        vars(asked).update(QUICK)
    if "postgresql" in asked.storage and postgres_programs() is None:
        parser.error("no PostgreSQL on this machine (initdb, postgres, pg_isready); without it: --storage sqlite")
    report: dict[str, Any] = {"seed": asked.seed, "date": datetime.now(UTC).isoformat(timespec="seconds")}
    began = time.monotonic()
    with ExitStack() as stack:
        postgres = stack.enter_context(server()) if "postgresql" in asked.storage else None
        report |= _campaigns(asked, postgres)
    report |= {"seconds": round(time.monotonic() - began), "hardware": hardware(), "versions": versions()}
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(json.dumps(report, indent=2) + "\n")
    broken = broken_promises(report)
    for name in (*STORAGES, *KINDS):
        if report.get(name, {}).get("strikes"):
            print(told(name, report[name]))
    for promise in broken:
        print(f"A PROMISE WAS BROKEN: {promise}")
    print(f"{'every promise was kept; ' if not broken else ''}seed {asked.seed}; {asked.out}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="over all storages and parallelisms [default: 60]")
    parser.add_argument("--frozen", type=int, default=6, help="processes made to stand still, 0: none [default: 6]")
    parser.add_argument("--frozen-seconds", type=float, default=60.0, help="how long each [default: 60]")
    parser.add_argument("--taken", type=int, default=6, help="databases taken away (SQLite), 0: none [default: 6]")
    parser.add_argument(
        "--two-objectives", type=int, default=4, help="kills of a study of two objectives (SQLite) [default: 4]"
    )
    parser.add_argument(
        "--rungs", type=int, default=4, help="kills of a study with schedules of two lengths (SQLite) [default: 4]"
    )
    parser.add_argument("--grown", type=int, default=4, help="kills of studies that grow, 0: none [default: 4]")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000, help="[default: from the clock]")
    parser.add_argument("--storage", nargs="+", choices=STORAGES, default=list(STORAGES), help="[default: both]")
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 2], help="jobs at a time [default: 1 2]")
    parser.add_argument(
        "--one-worker", type=int, nargs="*", default=[3], help="jobs at a time in one worker [default: 3]"
    )
    parser.add_argument("--no-outages", dest="more", action="store_false", help="neither those nor second launches")
    parser.add_argument("--quick", action="store_true", help="few strikes on SQLite, minutes in all")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go [default: {OUT}]")
    return parser


def _campaigns(asked: argparse.Namespace, postgres: PostgresServer | None) -> dict[str, Any]:
    """Every storage with every parallelism, then what only takes patience."""
    chance, reference = random.Random(asked.seed), undisturbed()
    storages = {name: _storage(name, postgres) for name in asked.storage}
    ways = [*((parallel, False) for parallel in asked.parallel), *((number, True) for number in asked.one_worker)]
    each = -(-asked.kills // (len(asked.storage) * len(ways)))
    found: dict[str, Any] = {}
    for name, storage in storages.items():
        deck = Deck(FEW if asked.quick else ALL, chance)
        counts = [KillCount(parallel=n, one_worker=one, storage=name) for n, one in ways if asked.kills]
        for count in counts:
            campaign(Killed, storage, count, each, deck=deck, chance=chance, reference=reference)
        found[name] = summary(counts, seed=asked.seed)
        if asked.more:
            found[name] |= {"second_launch": second_launch(storage), "two_at_once": two_at_once(storage)}
    if asked.frozen:
        found["frozen"] = _frozen(asked, storages, chance=chance, reference=reference)
    if asked.taken and "sqlite" in storages:
        deck, taken = Deck(FEW_TAKINGS if asked.quick else takings(chance), chance), TakeCount(parallel=1)
        campaign(Taken, storages["sqlite"], taken, asked.taken, deck=deck, chance=chance, reference=reference)
        found["taken"] = summary([taken], seed=asked.seed)
    for name, space in OTHER_SPACES.items():
        strikes = getattr(asked, name)
        if strikes and "sqlite" in storages:
            found[name] = _on_another_space(asked, strikes, storages["sqlite"], space=space, chance=chance)
    if asked.grown:
        found["grown"] = _grown(asked, storages, chance=chance, reference=reference)
    if asked.more:
        found["outages"] = {"sqlite": sqlite_locked(30.0, reference)} if "sqlite" in asked.storage else {}
        if postgres is not None:
            found["outages"]["postgresql"] = postgres_stopped(postgres, 20.0, reference)
        found["max_retries"] = retries_exhausted()
        print(json.dumps({name: found[name] for name in ("outages", "max_retries")}))
    return found


def _on_another_space(
    asked: argparse.Namespace, strikes: int, storage: Storage, *, space: str, chance: random.Random
) -> dict[str, Any]:
    """Kills of studies of this space, one job at a time."""
    deck, count = Deck(FEW if asked.quick else ALL, chance), KillCount(parallel=1)
    reference = undisturbed(space)
    campaign(Killed, storage, count, strikes, deck=deck, chance=chance, reference=reference, space=space)
    return summary([count], seed=asked.seed)


def _storage(name: str, postgres: PostgresServer | None) -> Storage:
    return Sqlite() if postgres is None or name == "sqlite" else Postgres(postgres)


def _frozen(
    asked: argparse.Namespace, storages: dict[str, Storage], *, chance: random.Random, reference: Ending
) -> dict[str, Any]:
    """All storages at once, for a study that stands still needs no processor; one job at a time."""
    strikes = FEW_FREEZES if asked.quick else tuple(chance.sample(FREEZES, len(FREEZES)))
    counts = {name: FreezeCount(parallel=1, storage=name, seconds=asked.frozen_seconds) for name in storages}
    each, seeds = -(-asked.frozen // len(storages)), {name: chance.random() for name in storages}

    def on(place: int, name: str) -> None:
        own = random.Random(seeds[name])
        deck = Deck(strikes[place :: len(storages)], own)
        campaign(Frozen, storages[name], counts[name], each, deck=deck, chance=own, reference=reference)

    with ThreadPoolExecutor() as pool:
        list(pool.map(on, range(len(storages)), storages))
    return summary(list(counts.values()), seed=asked.seed)


def _grown(
    asked: argparse.Namespace, storages: dict[str, Storage], *, chance: random.Random, reference: Ending
) -> dict[str, Any]:
    """One storage after another, one job at a time."""
    deck = Deck(FEW_STRIKES if asked.quick else STRIKES, chance)
    counts = [GrowCount(parallel=1, storage=name) for name in storages]
    for count in counts:
        strikes = -(-asked.grown // len(storages))
        campaign(Grown, storages[count.storage], count, strikes, deck=deck, chance=chance, reference=reference)
    return summary(counts, seed=asked.seed)


def campaign(
    kind: type[Battered], storage: Storage, count: Count, strikes: int, *,
    deck: Deck, chance: random.Random, reference: Ending, space: str = SPACE,
) -> None:  # fmt: skip
    """Study after study on one storage at one parallelism, until enough strikes were made. A folder in which a promise
    was broken is kept."""
    while count.strikes < strikes:
        folder, before = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp")), len(broken_counts(asdict(count)))
        place = replace(storage.new(folder), space=space)
        study = kind(storage, place, count, chance=chance, reference=reference)
        study.run(deck, min(KILLS_PER_STUDY, strikes - count.strikes))
        count.studies += 1
        if len(broken_counts(asdict(count))) > before:
            print(f"a promise was broken; its folder is kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    print(f"{kind.__name__.lower()}, {count.storage}: {json.dumps(asdict(count))}", flush=True)


def broken_promises(report: dict[str, Any]) -> list[str]:
    """What was not kept, in words; a campaign without a strike has kept nothing."""
    broken = []
    for name in (name for name in (*STORAGES, *KINDS) if name in report):
        for part in report[name]["parts"]:
            broken += [f"{_told(name, part)}: {words}" for words in broken_counts(part)]
        seconds = (report[name].get(found) for found in ("second_launch", "two_at_once"))
        broken += [f"{name}: a second launch was not refused: {one}" for one in seconds if one and not one["refused"]]
    for name, found in (*report.get("outages", {}).items(), ("max_retries", report.get("max_retries"))):
        if found is not None and not found["kept"]:
            broken.append(f"{name}: {found}")
    return broken


def _told(name: str, part: dict[str, Any]) -> str:
    where = f"{name} on {part['storage']}" if name in KINDS else name
    return f"{where}, {part['parallel']} at a time{' in one worker' if part['one_worker'] else ''}"


def told(name: str, found: dict[str, Any]) -> str:
    """One kind of strike, or one storage's kills, in a line for people."""
    figures = {key: found[key] for key in ("strikes", "lost", "duplicated", "left_running", "failed", "tried_again")}
    words = ", ".join(f"{key} {value}" for key, value in figures.items())
    exact, same = (found[key] for key in ("budget_exact", "same_as_unkilled"))
    return f"{name}: {words}, budget exact {exact}, as without strikes {same}; launches after: {found['after']}"


if __name__ == "__main__":
    sys.exit(main())
