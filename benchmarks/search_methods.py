"""Four ways to search on real training with equal epochs of stage 1: ours, with and without rungs, and Ray Tune's.

Usage: python -m benchmarks.search_methods DATA [HOME]. DATA holds CIFAR-10 as train.parquet and test.parquet. A search
of one method and seed is a process of its own; what is finished is kept in HOME, down to the single training, and the
next call goes on. `--list` says what is there, `--table` renders it: neither trains. The sizes are those of
search_methods.yaml; `--set` changes them, each choice in a HOME of its own. README.md says what each method is given.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.record import hardware, versions
from benchmarks.search_methods_found import METHODS, Found, all_kept, keep, kept, table, under_way
from search_spaces import Space, load, loads
from studies.errors import StudyNotFoundError
from studies.store import Store
from studies.study_data import RUNG

SPACE, RESULT = Path(__file__).with_suffix(".yaml"), Path(__file__).with_suffix(".json")
OURS = ("two-level", "rungs")
SPACE_KEPT = "space.yaml"  # in HOME: what its searches are of
TEST = "test.balanced_accuracy"


def main(arguments: list[str]) -> int:
    """Searches what is missing, seed by seed, and writes the table; 1 if a search failed."""
    asked = _arguments(arguments)
    home = asked.home.absolute()
    space = _space(home, asked.data.absolute(), asked.set)
    if asked.piece:
        method, seed = asked.piece[0], int(asked.piece[1])
        keep((_ours if method in OURS else _tunes)(space, method, seed, home), home)
        return 0
    wanted = [(method, seed) for seed in asked.seeds for method in METHODS if method in asked.only]
    failed = [] if asked.list or asked.table else _search(wanted, asked, space, home)
    for line in _listed(wanted, space, home) if asked.list else _written(space, home, asked.seeds):
        print(line)
    for method, seed in failed:
        print(f"failed: {method}, seed {seed}; its messages are above, and the same command goes on", file=sys.stderr)
    return int(bool(failed))


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks.search_methods", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("home", type=Path, nargs="?", default=Path("runs/search_methods"))
    parser.add_argument("--only", action="append", choices=METHODS, help="a method; may be repeated (default: all)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another size, as in a space")
    parser.add_argument("--list", action="store_true", help="what is done, and how long the rest takes")
    parser.add_argument("--table", action="store_true", help="the table and the file of what is done")
    parser.add_argument("--piece", nargs=2, metavar=("METHOD", "SEED"), help=argparse.SUPPRESS)  # for its processes
    asked = parser.parse_args(arguments)
    asked.only = asked.only or list(METHODS)
    return asked


def _space(home: Path, data: Path, overrides: Sequence[str]) -> Space:
    """The space of all searches. Raises SystemExit if HOME holds searches of another one."""
    space = load(SPACE, overrides=[f"task.data={data}", *overrides])
    path = home / SPACE_KEPT
    if path.exists() and path.read_text(encoding="utf-8") != space.to_yaml():
        raise SystemExit(f"{home} holds searches with other settings ({path}); give the same --set, or another HOME")
    return space


def _seeded(seed: int) -> list[str]:
    """Settings that make images, split, first weights and proposals those of a seed."""
    parts = ("task.split_seed", "stage1.seed", "stage2.seed", "sampler.seed")
    return [f"{part}={seed}" for part in parts]


def _search(
    wanted: Sequence[tuple[str, int]], asked: argparse.Namespace, space: Space, home: Path
) -> list[tuple[str, int]]:
    """Runs what is left of all searches; returns those that failed."""
    home.mkdir(parents=True, exist_ok=True)
    (home / SPACE_KEPT).write_text(space.to_yaml(), encoding="utf-8")
    return [one for one in wanted if not _searched(one, asked, home)]


def _searched(one: tuple[str, int], asked: argparse.Namespace, home: Path) -> bool:
    """Runs what is left of a search in a process; False if it failed."""
    if kept(home, *one) is not None:
        return True
    command = [sys.executable, "-m", "benchmarks.search_methods", str(asked.data), str(home), "--piece", *map(str, one)]
    command += [word for setting in asked.set for word in ("--set", setting)]
    print(f"{time.strftime('%H:%M:%S')} {one[0]}, seed {one[1]}", flush=True)
    return _ran(command)


def _ran(command: Sequence[str]) -> bool:
    """Runs a process; False if it failed."""
    return subprocess.run(command, check=False).returncode == 0


def _tunes(space: Space, method: str, seed: int, home: Path) -> Found:
    """One search by Tune on a private Ray, then the reading of test for its choice."""
    import torch

    from benchmarks.search_methods_course import finished, job, value_of
    from tuner.execution.ray_session import ray_session
    from tuner.search.configurations import with_defaults

    space, gpus = loads(space.to_yaml(), overrides=_seeded(seed)), int(torch.cuda.is_available())
    fresh, began = under_way(home, method, seed) == 0, time.monotonic()
    with ray_session(cpus=1, gpus=gpus) as scratch:
        from benchmarks.search_methods_tune import search  # Ray reads the session's settings when it is imported

        rows = search(space, method=method, seed=seed, home=home, scratch=scratch, gpus=gpus)
    complete = [row for row in rows if row[2] is not None]
    if not complete:
        raise RuntimeError(
            f"{method}, seed {seed}: all of {len(rows)} trainings diverged or were stopped; give more epochs"
        )
    asked, _, _ = max(complete, key=lambda row: row[2] or 0.0)
    read = finished(job([with_defaults({**space.fixed, **asked})], home=home, read_test=True))
    return Found(
        method=method, seed=seed, trainings=tuple((epochs, value) for _, epochs, value in rows),
        test=value_of(read, TEST), chosen=asked, seconds=time.monotonic() - began if fresh else None,
    )  # fmt: skip


def _ours(space: Space, method: str, seed: int, home: Path) -> Found:
    """One search by `tuner launch`, which keeps everything itself and reads test for its choice."""
    name, fresh, began = f"{method}-{seed}", epochs_of(method, seed, home) == 0, time.monotonic()
    settings = _seeded(seed)
    if method != "rungs":
        size = f"backbones: {space.epochs // space.ladder[-1]}, heads_per_backbone: {space.budget.heads_per_backbone}"
        settings += ["fidelity=null", f"budget={{{size}, rounds: {space.budget.rounds}}}"]
    command = [sys.executable, "-m", "tuner", "launch", "--space", str(home / SPACE_KEPT), "--name", name]
    command += ["--home", str(home), "--executor", "inline", *(word for one in settings for word in ("--set", one))]
    subprocess.run(command, check=True)
    with Store.open(_url(home), name) as store:
        reading = next(one for one in store.readings() if one.role == "best")
        return Found(
            method=method, seed=seed, trainings=trainings(store), test=float(reading.metrics[TEST] or 0.0),
            chosen={key: reading.config[key] for key in space.searched},
            seconds=time.monotonic() - began if fresh else None,
        )  # fmt: skip


def trainings(store: Store) -> tuple[tuple[int, float | None], ...]:
    """Epochs of each backbone, and its best head; a shorter schedule has none that can be chosen."""
    found: dict[int, tuple[int, float | None]] = {}
    for row in store.trials():
        epochs, best = found.get(row.backbone_index, (int(row.config["stage1.epochs"] or 0), None))
        if row.role != RUNG and row.value is not None:
            best = max(row.value, best or 0.0)
        found[row.backbone_index] = epochs, best
    return tuple(found[index] for index in sorted(found))


def epochs_of(method: str, seed: int, home: Path) -> int:
    """Epochs of the trainings that a search has asked for so far."""
    if (found := kept(home, method, seed)) is not None:
        return found.spent
    if method not in OURS:
        return under_way(home, method, seed)
    try:
        with Store.open(_url(home), f"{method}-{seed}") as store:
            return sum(epochs for epochs, _ in trainings(store))
    except StudyNotFoundError:
        return 0


def _listed(wanted: Sequence[tuple[str, int]], space: Space, home: Path) -> Iterator[str]:
    """A line a search, then how long the rest takes by those that one call did."""
    left = 0
    for method, seed in wanted:
        found, spent = kept(home, method, seed), epochs_of(method, seed, home)
        left += 0 if found else max(0, space.epochs - spent)
        yield f"{method}, seed {seed}: " + ("done" if found else f"{spent} of {space.epochs} epochs")
    timed = [found for found in all_kept(home, sorted({seed for _, seed in wanted})) if found.seconds]
    if left and timed:
        rate = sum(found.seconds or 0.0 for found in timed) / sum(found.spent for found in timed)
        yield f"left: about {left * rate / 60:.0f} minutes, at {rate:.1f} s an epoch with all that belongs to it"
    elif left:
        yield f"left: {left} epochs; how long they take shows when the first search is done"


def _written(space: Space, home: Path, seeds: Sequence[int]) -> list[str]:
    """The table of what is there; the same goes into the file, with all curves."""
    results = all_kept(home, seeds)
    if not results:
        return ["no search is done yet"]
    about = {"sizes": _sizes(space), "hardware": hardware(), "versions": versions()}
    rows = ",\n  ".join(json.dumps(_row(found)) for found in results)  # a line each: indented, a curve fills a page
    RESULT.write_text(f'{json.dumps(about, indent=1)[:-2]},\n "found": [\n  {rows}\n ]\n}}\n', encoding="utf-8")
    return table(results)


def _sizes(space: Space) -> dict[str, Any]:
    sizes = {key: value for key, value in space.fixed.items() if key != "task.data"}
    return {**sizes, "fidelity": space.ladder, "budget.epochs": space.epochs, "heads": space.heads_per_backbone}


def _row(found: Found) -> dict[str, Any]:
    return {
        "method": found.method, "seed": found.seed, "validation": round(found.validation, 4),
        "test": round(found.test, 4), "epochs": found.spent,
        "trainings": [(epochs, None if value is None else round(value, 4)) for epochs, value in found.trainings],
        "curve": [(epochs, round(value, 4)) for epochs, value in found.curve],
        "chosen": dict(found.chosen),
        "seconds": found.seconds and round(found.seconds),
    }  # fmt: skip


def _url(home: Path) -> str:
    return f"sqlite:///{home / 'studies.db'}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
