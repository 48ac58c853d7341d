"""The page docs/studies.md on a study that grows, done as it says, on digits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Command

SPACE = """version: 1
name: wd_maxnorm
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 2, weight_decay: {low: 1e-3, high: 2e-2, log: true}}
stage2: {epochs: 1, loss: cb_ce, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 2, heads_per_backbone: 2, rounds: 1}
baselines: [naive]
"""
PAGE = Path(__file__).resolve().parents[2] / "docs" / "studies.md"
WIDER = "stage1.weight_decay.high=0.1"
INLINE = ("--executor", "inline")


@pytest.mark.slow
def test_a_study_grows_as_the_page_says(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("narrow.yaml").write_text(SPACE)
    assert command("launch", "--space", "narrow.yaml", *INLINE)[0] == 0
    assert f"tuner resume wd_maxnorm --set {WIDER}" in PAGE.read_text()
    assert command("resume", "wd_maxnorm", "--set", "stage1.weight_decay.high=1e-2", *INLINE)[0] == 2
    assert command("resume", "wd_maxnorm", "--set", "task.imbalance_factor=10", *INLINE)[0] == 2
    assert command("resume", "wd_maxnorm", "--set", WIDER, "--set", "budget.backbones=3", *INLINE)[0] == 0

    trials = json.loads(command("trials", "wd_maxnorm", "--json")[1])
    assert [trial["space"] for trial in trials] == [1, 1, 1, 1, 1, 2, 2]
    assert " space " in command("trials", "wd_maxnorm")[1]
    report = json.loads(Path("runs/wd_maxnorm/report.json").read_text())
    assert any("went on after test data was read, with a wider space: 2 trials" in line for line in report["cautions"])
    assert "drawn_from:" in Path("runs/wd_maxnorm/best.yaml").read_text()
    assert command("train", "runs/wd_maxnorm/best.yaml", "-o", "model")[0] == 0

    assert command("launch", "--space", "narrow.yaml", *INLINE)[0] == 2  # it cannot shrink
    wider = SPACE.replace("high: 2e-2", "high: 0.1").replace("loss: cb_ce", "loss: {choices: [cb_ce, ce]}")
    Path("wider.yaml").write_text(wider.replace("backbones: 2", "backbones: 3"))
    launch = ("launch", "--space", "wider.yaml", "--name", "wd_maxnorm")
    assert command(*launch, *INLINE)[0] == 2
    assert len(json.loads(command("trials", "wd_maxnorm", "--json")[1])) == 7
    assert command(*launch, "--grow", *INLINE)[0] == 0  # no room in the budget
    assert command("resume", "wd_maxnorm", "--set", "budget.backbones=4", *INLINE)[0] == 0
    trials = json.loads(command("trials", "wd_maxnorm", "--json")[1])
    assert [trial["space"] for trial in trials[7:]] == [3, 3]
    assert {trial["params"].get("stage2.loss") for trial in trials[7:]} <= {"cb_ce", "ce"}
