from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benchmarks import __main__ as bench
from benchmarks import record
from benchmarks.noise import Noise
from benchmarks.timing import Pairs, in_turn

ROOT = Path(__file__).parents[2]


def _entry(name: str, met: bool | None) -> dict[str, Any]:
    return {"name": name, "figure": 1.5, "unit": "x", "target": 2, "met": met}


def test_every_benchmark_says_what_it_needs() -> None:
    assert sorted(bench.NEEDS) == sorted(path.stem for path in (ROOT / "benchmarks").glob("bench_*.py"))


def test_with_the_trainers_libraries_alone_theirs_are_run() -> None:
    """Everything else that is needed somewhere is hidden; a benchmark that imports it all the same fails here."""
    kept = {*bench.TRAINERS, "scipy", "threadpoolctl"}  # scikit-learn brings the last two
    hidden = sorted({library.partition(".")[0] for library in bench.SERVICE} - kept)
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({hidden!r}))\n"
        "import importlib\n"
        "from benchmarks.__main__ import NEEDS, TRAINERS\n"
        "names = [name for name, needs in NEEDS.items() if needs == TRAINERS]\n"
        "print(*[importlib.import_module(f'benchmarks.{name}').__name__ for name in names])"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split() == ["benchmarks.bench_images", "benchmarks.bench_stage1", "benchmarks.bench_stage2"]


def test_what_is_not_installed_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran: list[str] = []

    def run(command: list[str], *, check: bool) -> SimpleNamespace:
        ran.append(command[-1])
        return SimpleNamespace(returncode=command[-1].endswith("lost"))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.subprocess, "run", run)
    needs = {"bench_here": ("torch",), "bench_away": ("torch", "no_such_library", "no_such.part"), "bench_lost": ()}
    monkeypatch.setattr(bench, "NEEDS", needs)
    assert bench.main(["bench_here", "bench_away"]) == 0
    assert ran == ["benchmarks.bench_here"]
    said = capsys.readouterr().out
    assert "bench_away: left out, needs no_such_library, no_such.part" in said
    assert bench.main([]) == 1
    assert "did not end well: bench_lost" in capsys.readouterr().out
    assert bench.main(["bench_her"]) == 2
    assert "did you mean bench_here?" in capsys.readouterr().out


def test_the_end_names_the_targets_missed() -> None:
    records = [_entry("good", True), _entry("bad", False), _entry("elsewhere", None)]
    assert bench.closing(records, ["bench_x"], seconds=90) == [
        "3 figures in 1.5 minutes; 1 of 2 targets missed",
        "missed: bad, 1.5 x (target 2)",
        "did not end well: bench_x",
    ]


def test_only_what_this_run_has_recorded_is_counted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(record, "FOLDER", tmp_path)
    for name in ("old", "new"):
        path = record.record(name, figure=1, unit="x", baseline="b", target=2, met=False, n=1)
        os.utime(path, (1000, 1000) if name == "old" else (3000, 3000))
    assert [entry["name"] for entry in bench.recorded(tmp_path, since=2000)] == ["new"]


def test_pairs_are_taken_in_turn() -> None:
    calls: list[str] = []
    pairs = in_turn(lambda: calls.append("slow"), lambda: calls.append("fast"), rounds=3)
    assert calls == ["slow", "fast"] * 4
    assert pairs.n == len(pairs.slow) == 3
    assert Pairs((4.0, 2.0, 9.0), (2.0, 2.0, 3.0)).ratio == 2
    assert Pairs((4.0, 2.0, 9.0), (2.0, 2.0, 3.0)).best == 1


def test_noise_is_a_task_of_the_trainers_own() -> None:
    noise = Noise.draw((5, 3, 1), val=2, test=1, size=16)
    assert (noise.task.counts, noise.task.num_classes, noise.task.image_size) == ((5, 3, 1), 3, 16)
    (images, labels), *rest = noise.train.batches(None, batch_size=9, device=torch.device("cpu"), generator=None)
    assert not rest
    assert (tuple(images.shape), labels.tolist()) == ((9, 3, 16, 16), [0] * 5 + [1] * 3 + [2])
    assert torch.equal(noise.train.images, Noise.draw((5, 3, 1), val=2, test=1, size=16).train.images)
