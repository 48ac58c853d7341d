"""Nothing is trained twice: 64 heads over 8 backbones with 2 workers, launched under two names on one cache."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.record import record

JOBS = 16

SPACE = """
version: 1
name: first
task: {dataset: digits-lt, model: cnn-small}
stage1: {epochs: 3, lr: {low: 1e-2, high: 1e-1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
stage2: {epochs: 3, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
budget: {backbones: 8, heads_per_backbone: 8, rounds: 2}
sampler: {stage1: qmc}
baselines: []
"""


def main() -> None:
    """Prints one line a launch."""
    with tempfile.TemporaryDirectory() as folder:
        for name, wanted in (("first", 8), ("second", 0)):
            trained = _launch(Path(folder), name)
            record(
                name=f"trainings_{name}_launch", figure=trained, unit="trainings",
                baseline=f"{JOBS} jobs over 8 backbones", target=wanted, met=trained == wanted, n=64,
            )  # fmt: skip


def _launch(folder: Path, name: str) -> int:
    """How many of its jobs trained, by what the driver says of each trial as it ends."""
    space = folder / "space.yaml"
    space.write_text(SPACE)
    command = [sys.executable, "-m", "tuner", "launch", "--space", str(space), "--name", name, "--home", str(folder)]
    ran = subprocess.run([*command, "--parallel", "2"], check=True, capture_output=True, text=True)
    jobs = set(re.findall(r"\bjob=(\d+) cached=(True|False)\b", ran.stderr))
    if len(jobs) != JOBS:
        raise RuntimeError(f"{JOBS} jobs were to end, but the log tells of {len(jobs)}:\n{ran.stderr}")
    return sum(cached == "False" for _, cached in jobs)


if __name__ == "__main__":
    main()
