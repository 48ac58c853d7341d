"""What bench_search takes from real runs is what these runs say."""

from __future__ import annotations

import pytest

from benchmarks.fidelity_runs import fitted, kept, lines
from benchmarks.synthetic import DRIFT, RIDGE, SHORTER


def test_the_landscapes_have_the_drift_and_the_loss_of_the_runs() -> None:
    fit = fitted(kept())
    assert (pytest.approx(fit.drift, abs=0.005), pytest.approx(100 * fit.gain, abs=0.05)) == (DRIFT, SHORTER)


def test_the_fit_finds_what_was_put_in() -> None:
    def value(epochs: int, decay: float) -> float:
        x = decay * epochs**0.4 / 1e-2
        return 0.3 + 0.08 * len(str(epochs)) - 0.05 * (x - 1) ** 2

    made = {epochs: {decay: value(epochs, decay) for decay in (1e-3, 2e-3, 4e-3)} for epochs in (1, 10, 100)}
    fit = fitted(made)
    assert fit.missed < 0.01
    assert lines(kept())[0].startswith("| epochs | 0.0005 |")


def test_a_short_schedule_wants_more_weight_decay_and_loses_points() -> None:
    best = {"stage1.lr": RIDGE.lr, "stage1.weight_decay": RIDGE.weight_decay}
    best |= {"stage2.lr": 10**-1.5, "stage2.weight_decay": 1e-2, "stage2.maxnorm_radius": 1.0}
    more = {**best, "stage1.weight_decay": RIDGE.weight_decay * 10**DRIFT}
    assert RIDGE.true_value(best) == pytest.approx(RIDGE.peak)
    assert RIDGE.true_value(more, length=0.1) > RIDGE.true_value(best, length=0.1)
    assert RIDGE.true_value(more, length=0.1) < RIDGE.peak - SHORTER + 0.1
