"""The pieces of the GPU campaign in the order of their worth; each is a process, so that none ends the others."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_campaign_images import linked
from benchmarks.paper_lines import Line
from trainers.stage1.step_ways import DEFAULT_WAY

ROOT = Path(__file__).parents[1]
AT_ONCE = 4  # before it is measured: 1.66 times one, on an H200 on 27 November 2026
ENOUGH = 0.9  # of the best rate: fewer backbones at once finish sooner
SERVICE = ("ray", "optuna", "sqlalchemy")
GPU_TESTS = "tests/benchmarks/test_on_gpu.py"  # of the toy


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What the commands depend on: where the state lies, and what earlier pieces have measured."""

    keep: Path
    toy: bool
    minutes: float  # of a call
    deadline: float  # of this one, by time.monotonic(), which all processes of a machine share
    records: Sequence[Mapping[str, Any]]  # figures of this card and code

    @property
    def way(self) -> str:
        """The way with the shortest step, compared with the recorded one of the same run; unmeasured ones stay off."""
        ratios = {
            record["way"]: record["of_recorded"] for record in self.records
            if record["name"].startswith("gpu_step_") and record["used"].startswith(record["way"])
        }  # fmt: skip
        return min(ratios, key=lambda way: ratios[way], default=DEFAULT_WAY)

    @property
    def at_once(self) -> int:
        """The fewest backbones at once that reach nearly the best rate."""
        rates: dict[int, float] = {
            r["at_once"]: r["figure"] for r in self.records if r["name"].startswith("gpu_backbones_at_once_")
        }
        if self.toy or not rates:
            return AT_ONCE
        return min(count for count, rate in rates.items() if rate >= ENOUGH * max(rates.values()))


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One piece: its command, what it may lack, and its minutes until a line says better."""

    name: str
    minutes: float
    command: Callable[[Situation], list[str]]
    lacks: Callable[[Situation], str | None] | None = None
    packages: tuple[str, ...] = ("trainers", "benchmarks")  # on whose code its figures depend
    ends: tuple[int, ...] = (0,)  # exit codes of a piece that has come to its end
    can_be_cut: bool = False  # stops by itself, and goes on in the next call
    afresh: tuple[str, ...] = ()  # folders that are removed before

    def lacking(self, situation: Situation) -> str | None:
        """Why it is not run here; None if nothing is missing."""
        return self.lacks(situation) if self.lacks else None

    @property
    def digest(self) -> str:
        """Of the code that its figures are of: other code makes it due again."""
        return code_digest(self.packages)


def _python(*arguments: str) -> list[str]:
    return [sys.executable, "-m", *arguments]


def _tests(situation: Situation) -> list[str]:
    """The files that have tests for a GPU; others would not be collected where the service's packages are missing."""
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    which = [ROOT / GPU_TESTS] if situation.toy else files
    settings = ROOT / "pyproject.toml" if _is_here("pytest_timeout") else Path("/dev/null")  # it sets a timeout
    options = ["-m", "gpu", "-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "--import-mode=importlib"]
    options += ["--continue-on-collection-errors", "-c", str(settings), "--rootdir", str(ROOT)]
    return _python("pytest", *map(str, which), *options)


def _speed(part: str) -> Callable[[Situation], list[str]]:
    def command(situation: Situation) -> list[str]:
        return _python("benchmarks.gpu_speed", part, "--way", situation.way, *(["--toy"] if situation.toy else []))

    return command


def _paper(situation: Situation) -> list[str]:
    return _python(
        "benchmarks.gpu_campaign_paper", "--keep", str(situation.keep), "--minutes", f"{situation.minutes:.2f}",
        "--deadline", f"{situation.deadline:.1f}", "--at-once", str(situation.at_once), "--way", situation.way,
        *(["--toy"] if situation.toy else []),
    )  # fmt: skip


def _service(situation: Situation) -> list[str]:
    """A whole study from a cold start: short schedules, several backbones on the GPU."""
    if situation.toy:
        settings = ["stage1.epochs=3", "budget.backbones=1", "budget.heads_per_backbone=4", "budget.rounds=1"]
        options = ["--space", "wd_maxnorm.yaml", "--executor", "inline"]
    else:
        selection = linked(situation.keep)[-1]
        settings = ["task.model=resnet34", f"task.selection={selection}", "stage1.epochs=8", "budget.backbones=8"]
        options = ["--space", "cifar100_lt.yaml", "--data", str(situation.keep / "data" / selection)]
        options += ["--backbones-per-gpu", str(situation.at_once), "--step", situation.way]
    settings += ["budget.fresh_seeds=0"]
    home = ["--home", str(situation.keep / "home")]
    return _python("tuner", "launch", *options, *home, *(word for one in settings for word in ("--set", one)))


def _lacks(*packages: str) -> str | None:
    missing = [package for package in packages if not _is_here(package)]
    return f"no {missing[0]} here" if missing else None


def _lacks_images(situation: Situation) -> str | None:
    return None if situation.toy or linked(situation.keep) else "no images here; name their folder as DATA"


def _lacks_service(situation: Situation) -> str | None:
    return _lacks(*SERVICE) or _lacks_images(situation)


def _is_toy(situation: Situation) -> str | None:
    return "the toy compiles nothing" if situation.toy else None


PIECES = (  # minutes by the records of 27 November 2026 where they have them, else guesses
    Piece(name="tests", minutes=0.8, command=_tests, lacks=lambda _: _lacks("pytest"), ends=(0, 1, 5)),
    Piece(name="step", minutes=0.9, command=_speed("step")),
    Piece(name="compiled", minutes=1.8, command=_speed("compiled"), lacks=_is_toy),
    Piece(name="together", minutes=2.2, command=_speed("together")),
    Piece(name="heads", minutes=0.8, command=_speed("heads")),
    Piece(name="paper", minutes=1.5, command=_paper, lacks=_lacks_images, can_be_cut=True),
    Piece(
        name="service", minutes=2.5, command=_service, lacks=_lacks_service,
        packages=("trainers", "search_spaces", "studies", "tuner"), afresh=("home",),
    ),
)  # fmt: skip


def records(lines: Iterable[Line], key: str) -> list[Mapping[str, Any]]:
    """The figures of a card, those of the present code alone."""
    digests = {piece.name: piece.digest for piece in PIECES}
    return [
        record for line in lines if line["key"] == key and digests.get(line["piece"][4:]) == line["digest"]
        for record in line.get("records", ())
    ]  # fmt: skip


def code_digest(packages: Sequence[str]) -> str:
    """SHA-256, shortened, of the code of packages, wherever the checkout lies; of benchmarks, what measures speed."""
    found = hashlib.sha256()
    for path in sorted(_sources(packages)):
        found.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:8]


def _sources(packages: Sequence[str]) -> Iterator[Path]:
    for package in packages:
        names = ("gpu_speed.py", "gpu_together.py", "timing.py") if package == "benchmarks" else ("*.py",)
        for name in names:
            yield from (ROOT / package).rglob(name)


def _is_here(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
