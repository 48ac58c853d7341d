"""What a search of one method and seed found, kept as a file; and the table of all of them."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from trainers.config import Scalar

METHODS = {
    "two-level": "two-level",
    "rungs": "two-level with rungs",
    "optuna": "OptunaSearch of Tune",
    "asha": "ASHA of Tune",
}
REFERENCE = "optuna"

Trainings = tuple[tuple[int, float | None], ...]  # epochs, and the best value on validation that can be chosen


@dataclass(frozen=True, kw_only=True)
class Found:
    """The result of one method with one seed."""

    method: str
    seed: int
    trainings: Trainings  # in their order
    test: float  # of the configuration chosen on validation
    chosen: Mapping[str, Scalar]  # its searched parameters
    seconds: float | None  # None: several calls worked on it

    @property
    def spent(self) -> int:
        """Epochs of stage 1."""
        return sum(epochs for epochs, _ in self.trainings)

    @property
    def validation(self) -> float:
        """The value of the choice."""
        return self.curve[-1][1]

    @property
    def curve(self) -> tuple[tuple[int, float], ...]:
        """Epochs spent, and the best value so far; 0 before there is one."""
        spent = itertools.accumulate(epochs for epochs, _ in self.trainings)
        return tuple(zip(spent, itertools.accumulate((value or 0.0 for _, value in self.trainings), max), strict=True))

    def reaches(self, value: float) -> int | None:
        """Epochs spent when the best value was first at least this; None if it never was."""
        return next((epochs for epochs, best in self.curve if best >= value), None)


def keep(found: Found, folder: Path) -> None:
    """Writes the result, whole or not at all."""
    write(_path(folder, found.method, found.seed), dataclasses.asdict(found))


def kept(folder: Path, method: str, seed: int) -> Found | None:
    """The kept result; None if there is none. Raises ValueError for a file that is none."""
    path = _path(folder, method, seed)
    if not path.exists():
        return None
    row = json.loads(path.read_text(encoding="utf-8"))
    return Found(**{**row, "trainings": tuple((epochs, value) for epochs, value in row["trainings"])})


def keep_under_way(folder: Path, method: str, seed: int, *, epochs: int) -> None:
    """Writes how far a search of Tune's is; an earlier call may have been further."""
    if epochs > under_way(folder, method, seed):
        write(folder / "under_way" / f"{method}-{seed}.json", epochs)


def under_way(folder: Path, method: str, seed: int) -> int:
    """Epochs of the trainings that a search of Tune's has ended."""
    path = folder / "under_way" / f"{method}-{seed}.json"
    return int(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else 0


def write(path: Path, content: Any) -> None:
    """Writes JSON under a temporary name, then renames it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


def all_kept(folder: Path, seeds: Sequence[int]) -> list[Found]:
    """Seed by seed, in the order of the methods."""
    wanted = [(method, seed) for seed in seeds for method in METHODS]
    return [found for method, seed in wanted if (found := kept(folder, method, seed)) is not None]


def table(results: Sequence[Found]) -> list[str]:
    """A Markdown table with a row a method: mean ± deviation over seeds, per cent; then the test figures by seed."""
    seeds = sorted({found.seed for found in results})
    goals = {found.seed: found.validation for found in results if found.method == REFERENCE}
    lines = [
        "| method | seeds | validation of the choice | test of the choice | epochs spent | trainings (finished) "
        "| epochs until the last value of OptunaSearch | " + " | ".join(f"test, seed {seed}" for seed in seeds) + " |",
        "|---" * (7 + len(seeds)) + "|",
    ]
    for method, name in METHODS.items():
        rows = [found for found in results if found.method == method]
        if rows:
            lines.append(f"| {name} | " + " | ".join(_cells(rows, goals, seeds)) + " |")
    return lines


def _cells(rows: Sequence[Found], goals: Mapping[int, float], seeds: Sequence[int]) -> list[str]:
    tests = {found.seed: f"{100 * found.test:.1f}" for found in rows}
    return [
        str(len(rows)),
        spread([100 * found.validation for found in rows]),
        spread([100 * found.test for found in rows]),
        spread([float(found.spent) for found in rows]),
        f"{_mean(len(f.trainings) for f in rows)} ({_mean(sum(v is not None for _, v in f.trainings) for f in rows)})",
        _reached(rows, goals),
        *(tests.get(seed, "") for seed in seeds),
    ]


def _reached(rows: Sequence[Found], goals: Mapping[int, float]) -> str:
    """By seed; > before what was spent without reaching it."""
    known = [(found, found.reaches(goals[found.seed])) for found in rows if found.seed in goals]
    return ", ".join(f"> {found.spent}" if reached is None else str(reached) for found, reached in known)


def spread(values: Sequence[float]) -> str:
    """Mean ± deviation; the value alone where there is one."""
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _mean(values: Any) -> str:
    return f"{fmean(values):.1f}".removesuffix(".0")


def _path(folder: Path, method: str, seed: int) -> Path:
    return folder / "found" / f"{method}-{seed}.json"
