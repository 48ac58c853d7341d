"""The command for a borrowed GPU: order, minutes, kills, and that nothing is lost or done twice."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks import gpu_campaign, gpu_campaign_images, gpu_campaign_pieces
from benchmarks.gpu_campaign_images import NoImagesError, link_images, linked
from benchmarks.gpu_campaign_paper import SHORT, planned, planned_toy
from benchmarks.gpu_campaign_pieces import Piece, Situation, code_digest
from benchmarks.paper_lines import Lines, read_lines
from benchmarks.paper_summary import PLAIN

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "benchmarks.gpu_campaign", "--toy"]
Run = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with pieces that are small programs."""

    def call(pieces: Sequence[Piece], *arguments: str) -> int:
        monkeypatch.setattr(gpu_campaign, "PIECES", tuple(pieces))
        return gpu_campaign.main(
            ["--toy", "--out", str(tmp_path / "out"), "--keep", str(tmp_path / "keep"), *arguments]
        )

    return call


def _piece(name: str, code: str = "", **settings: Any) -> Piece:
    """Adds its name to a file, then does what `code` says."""
    program = f"open('ran', 'a').write('{name} '); {code}"
    return Piece(name=name, minutes=1.0, command=lambda _: [sys.executable, "-c", program], **settings)


def _ran(folder: Path) -> list[str]:
    path = folder / "keep" / "ran"
    return path.read_text().split() if path.exists() else []


def test_pieces_are_done_once_in_order_and_out_is_filled_anew(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = [_piece("tests", "print('3 passed')"), _piece("step"), _piece("heads")]
    assert run(pieces) == 0
    assert _ran(tmp_path) == ["tests", "step", "heads"]
    assert "| tests | " in capsys.readouterr().out
    files = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert files.keys() == {"lines.jsonl", "tables.md", "logs.txt"}
    assert b"| yes | 3 passed | as it is |" in files["tables.md"]
    for path in (tmp_path / "out").iterdir():
        path.unlink()
    assert run(pieces) == 0
    assert _ran(tmp_path) == ["tests", "step", "heads"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_on_a_fresh_machine_the_lines_of_an_earlier_out_are_enough(run: Run, tmp_path: Path) -> None:
    assert run([_piece("step")]) == 0
    lines = (tmp_path / "out" / "lines.jsonl").read_bytes()
    (tmp_path / "keep").rename(tmp_path / "lost")
    (tmp_path / "keep").mkdir()
    (tmp_path / "keep" / "lines.jsonl").write_bytes(lines)
    assert run([_piece("step")]) == 0
    assert not _ran(tmp_path)


def test_a_piece_that_fails_is_named_and_the_rest_goes_on(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = [_piece("step", "print('no such kernel'); raise SystemExit(3)"), _piece("heads")]
    assert run(pieces) == 0
    assert run(pieces, "--list") == 0
    assert "step: failed: exit code 3: no such kernel\nheads: done" in capsys.readouterr().out
    assert run(pieces) == 0
    assert _ran(tmp_path) == ["step", "heads"]


def test_an_exit_code_that_says_what_was_found_is_an_end(run: Run, tmp_path: Path) -> None:
    assert run([_piece("tests", "print('1 failed, 10 passed'); raise SystemExit(1)", ends=(0, 1))]) == 0
    (line,) = read_lines(tmp_path / "keep")
    assert (line["said"], line["exit_code"]) == ("1 failed, 10 passed", 1)
    assert "failed" not in line


def test_a_piece_that_hangs_does_not_take_the_minutes_of_the_others(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_campaign, "FLOOR", 0.02)
    monkeypatch.setattr(gpu_campaign, "LONGER", 0.0)
    assert run([_piece("step", "import time; time.sleep(300)")]) == 0
    monkeypatch.undo()
    assert "did not end within 0.0 minutes" in read_lines(tmp_path / "keep")[0]["failed"]


def test_a_piece_cut_by_the_end_of_the_call_is_due_again_and_gets_longer(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(gpu_campaign, "CLOSING", 0.0)
    slow = _piece("step", "import os, time; time.sleep(300 if open('ran').read().count('step') == 1 else 0)")
    assert run([slow, _piece("heads")], "--minutes", "0.2") == 75
    assert _ran(tmp_path) == ["step"]  # nothing was left for heads
    assert read_lines(tmp_path / "keep")[0]["cut"] is True
    assert "the same command goes on" in capsys.readouterr().out
    run([slow], "--list")
    assert "step: due, about 1.0 min" in capsys.readouterr().out
    assert run([slow, _piece("heads")]) == 0
    assert _ran(tmp_path) == ["step", "step", "heads"]


def test_the_figures_of_a_piece_are_in_its_line_but_for_one_that_a_kill_cut_short(run: Run, tmp_path: Path) -> None:
    bench = tmp_path / "keep" / "runs" / "bench"
    bench.mkdir(parents=True)
    (bench / "gpu_old.json").write_text("{}")
    os.utime(bench / "gpu_old.json", (0, 0))
    figure = {"name": "gpu_step_lean", "figure": 0.4, "unit": "s an epoch", "target": 0.4, "met": True, "n": 3}
    code = f"open('runs/bench/gpu_step_lean.json', 'w').write({json.dumps(json.dumps(figure))})"
    assert run([_piece("step", code + "; open('runs/bench/gpu_step_plain.json', 'w').write('{')")]) == 0
    assert read_lines(tmp_path / "keep")[0]["records"] == [figure]
    assert "| gpu_step_lean | 0.4 | s an epoch | 0.4 | met |" in (tmp_path / "out" / "tables.md").read_text()


def test_a_piece_longer_than_a_call_is_said_never_to_fit(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([_piece("step"), _piece("heads")], "--minutes", "0.1") == 2
    assert "step takes about 0.1 minutes, so --minutes must be more than 0.2, but got 0.1" in capsys.readouterr().err


def test_other_code_makes_a_figure_due_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([_piece("step")]) == 0
    monkeypatch.setattr(gpu_campaign_pieces, "code_digest", lambda packages: "other")
    assert run([_piece("step")]) == 0
    assert _ran(tmp_path) == ["step", "step"]


def test_what_a_piece_must_find_gone_is_removed(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "keep" / "home"
    home.mkdir(parents=True)
    assert run([_piece("service", "import os; assert not os.path.exists('home')", afresh=("home",))]) == 0


def test_two_campaigns_do_not_share_a_folder(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "keep").mkdir()
    with (tmp_path / "keep" / "lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert run([_piece("step")]) == 75
    assert "another campaign is at work" in capsys.readouterr().err
    assert not _ran(tmp_path)


@pytest.mark.parametrize("code", [7, 2])
def test_a_paper_that_ends_wrongly_is_said_and_is_due_again(
    code: int, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paper = _piece("paper", f"print('CUDA error'); raise SystemExit({code})", can_be_cut=True)
    assert run([paper, _piece("service")]) == 2
    assert f"paper: exit code {code}: CUDA error" in capsys.readouterr().err
    assert _ran(tmp_path) == ["paper", "service"]
    assert run([_piece("paper", "raise SystemExit(75)", can_be_cut=True)]) == 75


def test_without_packages_or_images_a_piece_says_why_it_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(gpu_campaign_pieces, "_is_here", lambda package: package != "ray")
    assert gpu_campaign.main(["--list", "--out", str(tmp_path / "out"), "--keep", str(tmp_path / "keep")]) == 0
    said = capsys.readouterr().out
    assert "service: not run: no ray here" in said
    assert "paper: not run: no images here; name their folder as DATA" in said
    assert "compiled: due, about 1.8 min" in said
    assert gpu_campaign.main(["--out", str(tmp_path / "out"), "--keep", str(tmp_path / "keep")]) == 2
    assert "no GPU here" in capsys.readouterr().err


def _situation(*records: dict[str, Any]) -> Situation:
    return Situation(keep=Path(), toy=False, minutes=9.0, deadline=0.0, records=records)


def _step(way: str, of_recorded: float, used: str | None = None) -> dict[str, Any]:
    return {"name": f"gpu_step_{way}", "way": way, "used": used or way, "of_recorded": of_recorded}


def _rate(count: int, rate: float) -> dict[str, Any]:
    return {"name": f"gpu_backbones_at_once_{count}", "at_once": count, "figure": rate}


def test_the_way_and_the_number_at_once_are_those_measured() -> None:
    assert _situation().way == "recorded"
    recorded, lean = _step("recorded", 1.0, "recorded as a CUDA graph"), _step("lean", 0.8)
    assert _situation(recorded, lean).way == "lean"
    fallen_back = _step("compiled", 0.7, used="lean")
    assert _situation(recorded, lean, fallen_back).way == "lean"
    assert _situation().at_once == 4
    assert _situation(_rate(1, 16.0), _rate(2, 22.0), _rate(4, 27.0), _rate(8, 28.0)).at_once == 4
    assert _situation(_rate(1, 16.0), _rate(8, 45.0)).at_once == 8


def test_the_commands_name_what_was_measured(tmp_path: Path) -> None:
    (tmp_path / "data" / "seed0").mkdir(parents=True)
    (tmp_path / "data" / "seed0" / "test.parquet").touch()
    records = (_step("lean", 0.8), _rate(8, 45.0))
    situation = dataclasses.replace(_situation(*records), keep=tmp_path)
    commands = {piece.name: " ".join(piece.command(situation)) for piece in gpu_campaign_pieces.PIECES}
    assert "--backbones-per-gpu 8 --step lean" in commands["service"]
    assert f"--data {tmp_path}/data/seed0 " in commands["service"]
    assert "--at-once 8 --way lean" in commands["paper"]
    assert commands["together"].endswith("benchmarks.gpu_speed together --way lean")
    assert "test_on_gpu.py" in commands["tests"]


def _parquet(path: Path, rows: int) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.table({"label": [0] * rows}), path)


def test_images_of_both_selections_come_from_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, keep = tmp_path / "data", tmp_path / "keep"
    with pytest.raises(NoImagesError, match=r"must have test\.parquet"):
        link_images(data, keep)
    _parquet(data / "test.parquet", 1)
    _parquet(data / "train.parquet", 3)
    link_images(data, keep)
    assert linked(keep) == ("first_n",)  # too few rows to draw from
    _parquet(data / "train_if10.parquet", 2)
    link_images(data, keep)
    assert linked(keep) == ("first_n", "seed0")
    assert {path.name for path in (keep / "data" / "seed0").iterdir()} == {"train_if10.parquet", "test.parquet"}
    assert {path.name for path in (keep / "data" / "first_n").iterdir()} == {"train.parquet", "test.parquet"}
    (data / "train_if10.parquet").unlink()
    monkeypatch.setattr(gpu_campaign_images, "WHOLE", 3)
    link_images(data, keep)
    assert {path.name for path in (keep / "data" / "seed0").iterdir()} == {"train.parquet", "test.parquet"}


def test_the_backbones_tell_images_seed_and_precision_apart() -> None:
    plan = planned(("first_n", "seed0"), Path("data"))
    assert len(plan) == len(set(plan))
    first = [(b.protocol, b.task.selection, b.stage1.seed, b.stage1.precision) for b in plan[:4]]
    assert first == [("paper_leak", s, seed, "auto") for seed in (0, 1) for s in ("first_n", "seed0")]
    short = [b for b in plan if b.stage1.epochs == SHORT]
    assert {"bf16", "fp32"} <= {b.stage1.precision for b in short}
    assert {b.stage1.seed for b in short} == {0, 1}
    full = Counter(
        (b.protocol, b.stage1.weight_decay) for b in plan if b.task.selection == "first_n" and b not in short
    )
    assert full == {("paper_leak", 5e-3): 4, ("honest", 5e-3): 3, ("paper_leak", 0.0): 3, ("honest", 0.0): 3}
    assert plan[-1].stage1.precision == "fp32"
    seed0 = planned(("seed0",), Path("data"))
    assert {b.task.selection for b in seed0} == {"seed0"}
    assert len(seed0) == len(set(seed0))
    assert {b.task.data for b in plan} == {"data/first_n", "data/seed0"}
    assert PLAIN["precision"] == "auto"
    assert len({backbone.key(torch.device("cpu")) for backbone in planned_toy()}) == 6


def test_the_digest_of_code_sees_its_packages_alone() -> None:
    assert code_digest(("trainers",)) == code_digest(("trainers",))
    assert code_digest(("trainers",)) != code_digest(("trainers", "studies"))


def _start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    where = ["--out", str(folder / "out"), "--keep", str(folder / "keep")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    with (folder / "said").open("a") as said:
        return subprocess.Popen(
            [*COMMAND, *where, *arguments], cwd=ROOT, env=environment, stdout=said, stderr=said, start_new_session=True
        )


def _trained(folder: Path) -> int:
    """Backbones whose training has begun."""
    return len([*(folder / "keep" / "cache").glob("*/lease")])


@pytest.mark.slow
def test_killed_amid_several_backbones_it_goes_on_without_a_piece_lost_or_done_twice(tmp_path: Path) -> None:
    first = _start(tmp_path, "--only", "step", "paper")
    while _trained(tmp_path) < 3 and first.poll() is None:
        time.sleep(0.01)
    os.killpg(first.pid, signal.SIGKILL)  # the command and the process that trains
    assert first.wait() == -signal.SIGKILL
    before = read_lines(tmp_path / "keep")
    assert [line["piece"] for line in before[:1]] == ["gpu_step"]
    assert len(read_lines(tmp_path / "out")) == 1  # a copy was there before the next piece began
    assert _start(tmp_path).wait() == 0, (tmp_path / "said").read_text()
    lines = read_lines(tmp_path / "keep")
    assert lines[: len(before)] == before
    done = Counter((line["key"], line["piece"]) for line in lines)
    assert set(done.values()) == {1}
    assert not [line for line in lines if "failed" in line or "cut" in line]
    counted = Counter(piece for _, piece in done)
    assert counted == {
        "gpu_tests": 1, "gpu_step": 1, "gpu_together": 1, "gpu_heads": 1, "gpu_service": 1,
        "stage1": 6, "heads": 6, "rows": 6, "pack": 1,
    }  # fmt: skip
    assert sorted(line["at_once"] for line in lines if line["piece"] == "stage1")[-1] > 1
    assert len(Lines(tmp_path / "out").all()) == len(lines)
    said = (tmp_path / "out" / "tables.md").read_text()
    assert all(name in said for name in ("gpu_step_lean", "gpu_backbones_at_once_2", "gpu_stage2_rate", "| honest |"))
    assert _start(tmp_path).wait() == 0
    assert read_lines(tmp_path / "keep") == lines
