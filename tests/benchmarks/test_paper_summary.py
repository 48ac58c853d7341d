from __future__ import annotations

from typing import Any

import pytest

from benchmarks.paper_choice import NothingChosenError, choose_final
from benchmarks.paper_heads import VALUE, chosen_rows
from benchmarks.paper_summary import PLAIN, summary

SETTING = {**PLAIN, "epochs": 320, "images": 10_847, "data": "0123abcd"}


def _line(**changed: Any) -> dict[str, Any]:
    line = {
        "key": "k", "piece": "rows", "protocol": "paper_leak", "lr": 0.01, "weight_decay": 5e-3, "seed": 0,
        "setting": SETTING, "rows": {"released": {"test.balanced_accuracy": 0.52, "test.few": None, VALUE: 0.5}},
    }  # fmt: skip
    return {**line, **changed}


def _honest(row: str, value: float, *, decay: float, seed: int = 0, tau: float = 1.0) -> dict[str, Any]:
    metrics = {"test.balanced_accuracy": value - 0.1, VALUE: value, "config": {"stage2.tau": tau}}
    return _line(protocol="honest", weight_decay=decay, seed=seed, rows={row: metrics}, key=f"{decay}-{seed}")


def test_published_figures_stand_beside_their_own_setting_only() -> None:
    assert "| 53.1 | none | none | none | 52.0 | is test | 1 |" in summary([_line()])
    others = [
        {"protocol": "honest"}, {"lr": 0.1}, {"weight_decay": 0.0},
        *({"setting": SETTING | other} for other in ({"epochs": 200}, {"loss": "cb_ce"}, {"dataset": "digits-lt"})),
    ]  # fmt: skip
    for other in others:
        assert "53.1" not in summary([_line(**other)])
    tau = _line(
        rows={"tau_norm_released": {"test.balanced_accuracy": 0.5}, "tau_norm": {"test.balanced_accuracy": 0.5}}
    )
    assert summary([tau]).count("52.6") == 1
    assert summary([]) == "nothing is done yet"


def test_other_settings_are_other_rows_and_seeds_are_not() -> None:
    said = summary([_line(), _line(seed=1), _line(setting={**SETTING, "drw": 0.8})])
    assert said.count("| released stage 2") == 2
    assert "drw 0.8" in said
    assert "| 52.0 ± 0.0 | is test | 2 |" in said


def test_the_choice_for_the_naive_row_is_among_naive_backbones() -> None:
    lines = [_honest("none", 0.4, decay=0.0), _honest("none", 0.5, decay=5e-3), _honest("none", 0.6, decay=1e-2)]
    said = summary(lines).partition("chosen on validation")[2]
    assert "| naive | stage 1 alone | none | none | none | 30.0 | 40.0 | 1 |" in said
    assert "| weight decay | stage 1 alone | none | none | none | 50.0 | 60.0 | 1 |" in said


def test_what_failed_is_listed_and_counted_nowhere() -> None:
    failed = {**_line(piece="stage1", failed="stage 1: the loss is nan"), "key": "lost"}
    del failed["rows"]
    assert "| lost | stage1 | stage 1: the loss is nan |" in summary([_line(), failed])


def test_projections_per_epoch_have_no_first_step() -> None:
    def head(projection: str, by_epoch: list[float]) -> dict[str, Any]:
        return {
            "row": f"full_{projection}", "config": {"projection": projection, "maxnorm_radius": 0.1},
            "stage2.projected_at_step1": 7.0 * (projection == "step"), "projected_by_epoch": by_epoch,
        }  # fmt: skip

    heads = [head("step", [7.0, 1.0, 1.0]), head("epoch", [0.0, 0.0, 0.0])]
    heads += [{"row": "cb", "config": {"projection": "step", "maxnorm_radius": None}}, {**heads[0], "reason": "lost"}]
    said = summary([_line(piece="heads", heads=heads)])
    assert "| CB + weight decay + MaxNorm per step | 1 of 1 | 7.0 | 7.0 | 2.0 | 1 |" in said
    assert "| CB + weight decay + MaxNorm per epoch | 0 of 1 | is not projected then | 0.0 | 0.0 | 0 |" in said
    assert "CB loss alone" not in said


def test_the_final_choice_is_by_the_mean_over_seeds() -> None:
    lines = [
        _honest("ncm", 0.70, decay=1e-3, seed=0), _honest("ncm", 0.50, decay=1e-3, seed=1),
        _honest("tau_norm", 0.62, decay=5e-3, seed=0, tau=1.5), _honest("tau_norm", 0.64, decay=5e-3, seed=1, tau=1.7),
        _honest("cb", 0.90, decay=1e-2, seed=0),  # one seed alone
    ]  # fmt: skip
    choice = choose_final(lines, setting=SETTING)
    assert (choice.row, choice.weight_decay, choice.head.tau, choice.seeds) == ("tau_norm", 5e-3, 1.7, 2)
    assert choice.value == pytest.approx(0.63)
    with pytest.raises(NothingChosenError):
        choose_final(lines, setting={**SETTING, "epochs": 80})
    with pytest.raises(NothingChosenError):
        choose_final([{**line, "protocol": "paper_leak"} for line in lines], setting=SETTING)


def test_rows_are_chosen_on_what_selects() -> None:
    grid = [
        ("none", 1.0, 0.1), ("l2_norm", 1.0, 0.2), ("tau_norm", 0.5, 0.3), ("tau_norm", 1.5, 0.4),
        ("logit_adjustment", 1.0, 0.2), ("logit_adjustment_mul", 0.3, 0.2), ("ncm", 1.0, 0.2),
    ]  # fmt: skip
    posthoc = [{"config": {"method": method, "tau": tau}, VALUE: found} for method, tau, found in grid]
    heads = [
        {"row": "released", "config": {"lr": 0.01}, VALUE: 0.9},
        {"row": "full_step", "config": {"lr": 0.02}, VALUE: 0.5},
        {"row": "full_step", "config": {"lr": 0.03}, "reason": "diverged"},
        {"row": "full_step", "config": {"lr": 0.04}, VALUE: 0.6},
        {"row": "crt", "config": {"lr": 0.05}, "reason": "diverged"},
    ]
    chosen = chosen_rows({"posthoc": posthoc}, {"heads": heads})
    assert chosen["tau_norm"].tau == 1.5
    assert chosen["tau_norm_released"].tau == 1.9
    assert (chosen["released"].lr, chosen["full_step"].lr) == (0.01, 0.04)
    assert "crt" not in chosen
