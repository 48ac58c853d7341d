"""`tuner check` tells the plan, and what the author of the space believes."""

from __future__ import annotations

from tests.conftest import Command


def test_the_plan_shows_beliefs_and_start_points(command: Command) -> None:
    settings = ("stage1.weight_decay.prior=5e-3", "start=[{stage1.lr: 0.05}]")
    code, plan = command("check", "wd_maxnorm", *(word for setting in settings for word in ("--set", setting)))
    assert code == 0
    assert "  stage1.weight_decay: 0.0001 to 0.05, logarithmic, believed near 0.005\n" in plan
    assert "  stage1.lr: 0.01 to 0.2, logarithmic\n" in plan
    assert "  first: stage1.lr 0.05\n" in plan
