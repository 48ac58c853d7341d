from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import gpu_speed

ROOT = Path(__file__).parents[2]
RECORDS = (
    "gpu_stage1_epoch", "gpu_trials_at_once_1", "gpu_trials_at_once_2", "gpu_extraction", "gpu_stage2_rate",
    "gpu_stage2_rate_evaluated",
)  # fmt: skip


def test_the_toy_measures_everything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu_speed", "--toy"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    folder = tmp_path / "runs" / "bench"
    found = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    assert sorted(found) == sorted(RECORDS)
    assert all(entry["figure"] > 0 and entry["met"] is None and entry["n"] == 3 for entry in found.values())
    assert {"ratio", "share_of_measured_peak", "images_per_second", "straightforward"} <= found[
        "gpu_stage1_epoch"
    ].keys()
    assert found["gpu_trials_at_once_1"]["ratio"] == 1
    rates = (found[name]["figure"] for name in ("gpu_stage2_rate_evaluated", "gpu_stage2_rate"))
    assert next(rates) <= 1.5 * next(rates)  # the same heads, and more to do


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

    counted = gpu_speed._flops_per_image(Convolution(), gpu_speed.TOY)  # type: ignore[arg-type]
    assert counted == 3 * 2 * 8 * 3 * 3 * 3 * 32 * 32
