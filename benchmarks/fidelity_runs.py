"""Do short schedules rank weight decays as long ones do? Real training on CIFAR-10-LT, for bench_search's landscapes.

Usage: python -m benchmarks.fidelity_runs DATA [HOME]. DATA holds CIFAR-10 as train.parquet and test.parquet. Trains
eight weight decays for 4, 12 and 36 epochs, each a whole cosine schedule, by `tuner launch`; what is finished is kept,
and the next call goes on. Writes the values to fidelity_runs.json beside this file and prints what follows from them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import spearmanr

from studies.store import Store

SPACE, RESULT = Path(__file__).with_suffix(".yaml"), Path(__file__).with_suffix(".json")
NAME = "fidelity"

Values = dict[int, dict[float, float]]  # epochs -> weight decay -> best value of its heads, on validation


def main(arguments: list[str]) -> None:
    """Trains what is missing, then prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("home", nargs="?", default="runs/fidelity_runs")
    asked = parser.parse_args(arguments)
    command = [sys.executable, "-m", "tuner", "launch", "--space", str(SPACE), "--data", asked.data]
    subprocess.run([*command, "--home", asked.home], check=True)
    values = read(f"sqlite:///{Path(asked.home) / 'studies.db'}")
    rounded = {n: {decay: round(value, 4) for decay, value in row.items()} for n, row in values.items()}
    RESULT.write_text(json.dumps(rounded, indent=1) + "\n", encoding="utf-8")
    for line in lines(values):
        print(line)


def kept() -> Values:
    """The values in the file."""
    text = json.loads(RESULT.read_text(encoding="utf-8"))
    return {int(n): {float(decay): value for decay, value in row.items()} for n, row in text.items()}


def read(url: str) -> Values:
    """The best value of each backbone."""
    found: Values = {}
    with Store.open(url, NAME) as store:
        for row in store.trials():
            if row.value is not None:
                at = found.setdefault(int(row.config["stage1.epochs"] or 0), {})
                decay = float(row.config["stage1.weight_decay"] or 0.0)
                at[decay] = max(row.value, at.get(decay, 0.0))
    return {epochs: dict(sorted(found[epochs].items())) for epochs in sorted(found)}


def lines(values: Values) -> list[str]:
    """A table, rank correlations between lengths, and where the best decay of each length lies."""
    decays = list(next(iter(values.values())))
    found = ["| epochs | " + " | ".join(f"{decay:g}" for decay in decays) + " |", "|---|" + "---|" * len(decays)]
    found += [
        f"| {n} | " + " | ".join(f"{100 * row[decay]:.1f}" for decay in decays) + " |" for n, row in values.items()
    ]
    for short, long in itertools.combinations(values, 2):
        rank = spearmanr(*([values[n][decay] for decay in decays] for n in (short, long))).statistic
        found.append(f"Spearman of {short} and {long} epochs: {rank:.2f}")
    for epochs, row in values.items():
        best = max(row, key=lambda decay: row[decay])
        found.append(f"{epochs} epochs: best of these weight decays {best:g}, value {100 * row[best]:.1f}")
    one = fitted(values)
    found.append(
        f"one curve for all lengths: moved by {one.drift:.2f} decades of weight decay and {100 * one.gain:.1f} points "
        f"per decade of epochs; {100 * one.missed:.1f} points (root mean square) are left"
    )
    return found


class Fit(NamedTuple):
    """One cubic curve of the value over weight decay x epochs ** drift, raised with the epochs."""

    drift: float  # decades by which weight decay moves down per decade of epochs
    gain: float  # of value per decade of epochs
    missed: float  # root mean square


def fitted(values: Values) -> Fit:
    """The drift with which one curve fits all lengths best."""
    rows = [
        (np.log10(epochs), np.log10(decay), value) for epochs, row in values.items() for decay, value in row.items()
    ]
    length, decay, value = np.array(rows).T
    tries = []
    for drift in np.linspace(-0.5, 1.5, 201):
        x = decay + drift * length
        terms = np.stack([np.ones_like(x), x, x**2, x**3, length], axis=1)
        solution, *_ = np.linalg.lstsq(terms, value, rcond=None)
        missed = float(np.sqrt(np.mean((terms @ solution - value) ** 2)))
        tries.append(Fit(float(drift), float(solution[-1]), missed))
    return min(tries, key=lambda one: one.missed)


if __name__ == "__main__":
    main(sys.argv[1:])
