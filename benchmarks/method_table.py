"""The table of trainers/RECORDS.md: every method tuned on validation by `tuner launch`, three seeds, read once on test.

Usage: python -m benchmarks.method_table DIR [HOME]. DIR holds CIFAR-10 as train.parquet and test.parquet. The backbones
of a seed are proposed by a sequence that looks at no result, so all methods of the seed share them and the cache trains
each once. Every trained method gets the same number of heads; naive gets its own backbones, without weight decay.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import mean, stdev

from studies.store import Store

SPACE = Path(__file__).with_suffix(".yaml")
SEEDS = (0, 1, 2)
NAIVE_BACKBONES = 3
CRT = (
    "stage2.method=crt",
    "stage2.loss=ce",
    "stage2.lr={low: 1e-2, high: 0.5, log: true}",
    "stage2.weight_decay={low: 1e-5, high: 1e-2, log: true}",
)
STUDIES: dict[str, tuple[str, ...]] = {
    "step": ("stage2.projection=step",),
    "epoch": ("stage2.projection=epoch",),
    "crt": (*CRT, "stage2.maxnorm_radius=null"),
    "naive": (
        "stage1.weight_decay=0",
        f"budget={{backbones: {NAIVE_BACKBONES}, heads_per_backbone: 1}}",
        "stage2.method=none",
        "baselines=[]",
        "stage2.lr=0.01",
        "stage2.weight_decay=0",
        "stage2.maxnorm_radius=null",
    ),
}
ROWS = {  # row of the table -> (study, role of its reading)
    "naive": ("naive", "best"),
    "weight decay": ("step", "weight_decay"),
    "weight decay, L2-norm": ("step", "l2_norm"),
    "weight decay, tau-norm": ("step", "tau_norm"),
    "weight decay, logit adjustment": ("step", "logit_adjustment"),
    "weight decay, nearest class mean": ("step", "ncm"),
    "weight balancing, MaxNorm per step": ("step", "best"),
    "weight balancing, MaxNorm per epoch": ("epoch", "best"),
    "cRT": ("crt", "best"),
}
GROUPS = ("many", "medium", "few", "balanced_accuracy")


def main(data: str, home: str) -> None:
    """Runs what is missing, then prints the table."""
    for seed in SEEDS:
        for study, overrides in STUDIES.items():
            _launch(f"{study}-{seed}", seed, overrides, data, home)
    print(
        "| method | " + " | ".join(name.replace("balanced_accuracy", "all") for name in GROUPS) + " | validation, all |"
    )
    print("|---|" + "---|" * (len(GROUPS) + 1))
    for row, (study, role) in ROWS.items():
        readings = [_reading(f"{study}-{seed}", role, home) for seed in SEEDS]
        cells = [_cell([metrics.get(f"test.{group}") for metrics in readings]) for group in GROUPS]
        cells.append(_cell([metrics.get("val.balanced_accuracy") for metrics in readings]))
        print(f"| {row} | " + " | ".join(cells) + " |")


def _launch(name: str, seed: int, overrides: tuple[str, ...], data: str, home: str) -> None:
    seeds = [f"{part}.seed={seed}" for part in ("stage1", "stage2", "sampler")] + [f"task.split_seed={seed}"]
    settings = [word for text in (*overrides, *seeds) for word in ("--set", text)]
    command = [sys.executable, "-m", "tuner", "launch", "--space", str(SPACE), "--name", name, "--data", data]
    subprocess.run([*command, "--home", home, *settings], check=True)


def _reading(name: str, role: str, home: str) -> dict[str, float | None]:
    with Store.open(f"sqlite:///{Path(home) / 'studies.db'}", name) as store:
        return dict(next(reading.metrics for reading in store.readings() if reading.role == role))


def _cell(values: list[float | None]) -> str:
    known = [100 * value for value in values if value is not None]
    return f"{mean(known):.1f} ± {stdev(known):.1f}" if len(known) > 1 else "none"


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "runs/method_table")
