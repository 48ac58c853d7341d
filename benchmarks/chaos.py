"""`make chaos`: a small real study is killed again and again, and must end as if nobody had touched it.

SIGKILL strikes the driver, a worker, Ray's raylet or its GCS: at random moments, and at the moments of writing (a
checkpoint, a backbone, features, a commit, a transaction of results). Whatever ends a launch, the same launch is given
again. What may not happen is counted; figures are printed and written to runs/chaos.json. Exit code 1: a promise was
broken; 2: something that was asked for cannot be tried on this machine.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.battered import Battered, Count, Ending, undisturbed
from benchmarks.bounds import retries_exhausted, second_launch
from benchmarks.launches import KILLS_PER_STUDY, Postgres, Sqlite, Storage, server
from benchmarks.outages import postgres_stopped, sqlite_locked
from benchmarks.postgres_server import PostgresServer, postgres_programs
from benchmarks.record import hardware, versions
from benchmarks.strikes import ALL, FEW, Deck

OUT = Path("runs") / "chaos.json"
STORAGES = ("sqlite", "postgresql")
QUICK = {"kills": len(FEW), "storage": ["sqlite"], "parallel": [1], "more": False}
ADDED = (
    "kills", "studies", "lost", "duplicated", "left_running", "failed", "changed_by_relaunch", "orphans",
    "scratch_left", "unfinished_files", "hung", "unended",
)  # fmt: skip


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
    for promise in broken:
        print(f"A PROMISE WAS BROKEN: {promise}")
    print(f"{'every promise was kept; ' if not broken else ''}seed {asked.seed}; {asked.out}")
    return 1 if broken else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chaos", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--kills", type=int, default=60, help="over all storages and parallelisms [default: 60]")
    parser.add_argument("--seed", type=int, default=int(time.time()) % 10_000, help="[default: from the clock]")
    parser.add_argument("--storage", nargs="+", choices=STORAGES, default=list(STORAGES), help="[default: both]")
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 2], help="jobs at a time [default: 1 2]")
    parser.add_argument("--no-outages", dest="more", action="store_false", help="only kills")
    parser.add_argument("--quick", action="store_true", help="four kills on SQLite, about two minutes")
    parser.add_argument("--out", type=Path, default=OUT, help=f"where the figures go [default: {OUT}]")
    return parser


def _campaigns(asked: argparse.Namespace, postgres: PostgresServer | None) -> dict[str, Any]:
    """Every storage with every parallelism, then what only takes patience."""
    chance, reference = random.Random(asked.seed), undisturbed()
    each = -(-asked.kills // (len(asked.storage) * len(asked.parallel)))
    found: dict[str, Any] = {}
    for name in asked.storage:
        storage: Storage = Sqlite() if postgres is None or name == "sqlite" else Postgres(postgres)
        deck = Deck(FEW if asked.quick else ALL, chance)
        counts = [Count(parallel=parallel) for parallel in asked.parallel]
        for count in counts:
            campaign(storage, count, each, deck=deck, chance=chance, reference=reference)
            print(f"{name}: {json.dumps(asdict(count))}", flush=True)
        found[name] = summary(counts, seed=asked.seed)
        if asked.more:
            found[name]["second_launch"] = second_launch(storage)
    if asked.more:
        found["outages"] = {"sqlite": sqlite_locked(30.0, reference)} if "sqlite" in asked.storage else {}
        if postgres is not None:
            found["outages"]["postgresql"] = postgres_stopped(postgres, 20.0, reference)
        found["max_retries"] = retries_exhausted()
        print(json.dumps({name: found[name] for name in ("outages", "max_retries")}))
    return found


def campaign(
    storage: Storage, count: Count, kills: int, *, deck: Deck, chance: random.Random, reference: Ending
) -> None:
    """Study after study on one storage at one parallelism, until enough kills have struck. A folder in which a promise
    was broken is kept."""
    while count.kills < kills:
        folder, before = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp")), len(broken_counts(asdict(count)))
        study = Battered(storage, storage.new(folder), count, chance=chance, reference=reference)
        study.run(deck, min(KILLS_PER_STUDY, kills - count.kills))
        count.studies += 1
        if len(broken_counts(asdict(count))) > before:
            print(f"a promise was broken; its folder is kept: {folder}", flush=True)
        else:
            shutil.rmtree(folder)


def summary(counts: Sequence[Count], *, seed: int) -> dict[str, Any]:
    """One storage's figures: all parallelisms together, and each."""
    compared = [count.same_as_unkilled for count in counts if count.same_as_unkilled is not None]
    return {
        **{name: sum(getattr(count, name) for count in counts) for name in ADDED},
        "budget_exact": all(count.budget_exact for count in counts),
        "same_as_unkilled": all(compared) if compared else None,
        "seed": seed,
        "struck": _added([count.struck for count in counts]),
        "parts": [asdict(count) for count in counts],
    }


def _added(counts: Sequence[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """Kills by moment and victim, of all parts together."""
    total: dict[str, Counter[str]] = {}
    for one in counts:
        for moment, victims in one.items():
            total.setdefault(moment, Counter()).update(victims)
    return {moment: dict(victims) for moment, victims in total.items()}


def broken_promises(report: dict[str, Any]) -> list[str]:
    """What was not kept, in words; a campaign without a kill has kept nothing."""
    broken = []
    for name in (name for name in STORAGES if name in report):
        for part in report[name]["parts"]:
            broken += [f"{name}, {part['parallel']} at a time: {words}" for words in broken_counts(part)]
        second = report[name].get("second_launch")
        if second is not None and not second["refused"]:
            broken.append(f"{name}: a second launch was not refused: {second}")
    for name, found in (*report.get("outages", {}).items(), ("max_retries", report.get("max_retries"))):
        if found is not None and not found["kept"]:
            broken.append(f"{name}: {found}")
    return broken


def broken_counts(part: dict[str, Any]) -> list[str]:
    """The same of one `Count`."""
    broken = [f"{name} is {part[name]}" for name in ADDED[2:] if part[name]]
    broken += [f"a launch ended with {words}" for words in part["unexpected_ends"]]
    broken += [] if part["fresh"] else ["no kill struck when there was a result to lose"]
    broken += [] if part["budget_exact"] else ["the budget was missed"]
    broken += [f"not as without kills: {', '.join(part['differences'])}"] if part["differences"] else []
    return broken


if __name__ == "__main__":
    sys.exit(main())
