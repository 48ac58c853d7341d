from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_speed, gpu_together
from benchmarks.gpu_peak import flops_per_image
from benchmarks.noise import Noise
from trainers.config import Stage1Config
from trainers.results import EpochResult
from trainers.stage1 import loop
from trainers.stage1.step import LeanStep
from trainers.turns import Turn

ROOT = Path(__file__).parents[2]
RECORDS = (
    "gpu_step_recorded", "gpu_step_plain", "gpu_step_lean", "gpu_backbones_at_once_1", "gpu_backbones_at_once_2",
    "gpu_extraction", "gpu_stage2_rate", "gpu_stage2_rate_evaluated",
)  # fmt: skip
NOISE = Noise.draw((40, 20, 10, 5), val=5, test=1, size=16)


def test_the_toy_measures_everything_that_needs_no_compiler(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_speed", "--toy", "--way", "lean", "step", "together", "heads"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "runs" / "bench"
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert sorted(found) == sorted(RECORDS)
    assert all(entry["figure"] > 0 and entry["met"] is None and entry["n"] == 3 for entry in found.values())
    assert {"ratio", "share_of_measured_peak", "images_per_second", "straightforward"} <= found["gpu_step_lean"].keys()
    assert found["gpu_step_recorded"]["of_recorded"] == 1
    assert found["gpu_step_lean"]["target"] == pytest.approx(0.6 * found["gpu_step_recorded"]["figure"])
    assert {name: found[f"gpu_step_{name}"]["used"] for name in ("plain", "lean")} == {"plain": "plain", "lean": "lean"}
    assert found["gpu_backbones_at_once_1"]["ratio"] == 1
    assert found["gpu_backbones_at_once_1"]["of_recorded"] != 1  # it is lean, and was measured beside the recorded one
    rates = (found[name]["figure"] for name in ("gpu_stage2_rate_evaluated", "gpu_stage2_rate"))
    assert next(rates) <= 1.5 * next(rates)  # the same heads, and more to do


def test_a_way_that_cannot_be_made_is_recorded_under_the_way_that_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: LeanStep, images: torch.Tensor, labels: torch.Tensor) -> None:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(LeanStep, "__call__", broken)
    config = Stage1Config(epochs=2, batch_size=32, precision="fp32")
    epoch = gpu_speed.WayOfEpoch(dataclasses.replace(gpu_speed.TOY, model="cnn-small"), NOISE.task, config, "lean")
    epoch()
    assert epoch.used == "recorded as a CUDA graph"  # on the processor its stand-in, which verifies


def test_the_rate_of_several_counts_the_images_of_whole_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    whole = loop.turns

    def counted(run: loop.Run) -> Iterator[EpochResult | Turn]:
        for event in whole(run):
            seen.append(run.config.seed)
            yield event

    monkeypatch.setattr(loop, "turns", counted)
    rounds, marks = 2, list[int]()
    monkeypatch.setattr(gpu_together, "seconds", lambda work: (marks.append(len(seen)), work(), 2.0)[-1])
    found = gpu_together.rate_together(
        NOISE.task, 3, way="recorded", model="cnn-small", precision="fp32", device=torch.device("cpu"), rounds=rounds
    )
    assert found.images_per_second == 3 * 75 / 2
    turns_an_epoch = 2 + 1  # 75 images in batches of 64, and the end of the epoch
    assert marks[1] - marks[0] == 3 * turns_an_epoch
    assert {seed: seen[marks[0] : marks[1]].count(seed) for seed in range(3)} == dict.fromkeys(range(3), turns_an_epoch)


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        gpu_speed.main(["steps", "--toy"])
    assert "PART must be one of step, compiled, together, heads" in capsys.readouterr().err


def test_without_a_gpu_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_speed.main([]) == 1
    assert "nothing was measured" in capsys.readouterr().err


def test_a_convolution_counts_three_times_for_a_step() -> None:
    class Convolution(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Conv2d(3, 8, 3, padding=1, bias=False)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.layer(images)

    counted = flops_per_image(Convolution(), torch.device("cpu"))  # type: ignore[arg-type]
    assert counted == 3 * 2 * 8 * 3 * 3 * 3 * 32 * 32
