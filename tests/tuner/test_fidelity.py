"""A study of schedules of two lengths by the commands that its user gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.tuner.test_objectives import SPACE

pytestmark = pytest.mark.slow


def test_a_study_with_short_schedules(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    space = SPACE.replace("epochs: 2\n  lr", "epochs: 4\n  lr").replace("backbones: 2", "epochs: 16")
    (tmp_path / "space.yaml").write_text(space + "fidelity: {epochs: [1, 4]}\n")

    def run(*words: str) -> str:
        code, printed = command(*words)
        assert code == 0, printed
        return printed

    assert "schedules: 1, 4 epochs; 16 epochs in all; chosen among those of 4" in run("check", "space.yaml")
    run("launch", "--space", "space.yaml", "--name", "short", "--executor", "inline")
    trials = json.loads(run("trials", "short", "--json"))
    roles = {row["role"] for row in trials}
    assert {"rung", "search", "naive"} == roles
    chosen = json.loads(run("best", "short", "--json"))
    assert chosen["config"]["stage1.epochs"] == 4
    assert f" {len(trials)}/{len(trials)} " in run("status", "short")
    assert "epochs: 4" in (tmp_path / "runs" / "short" / "best.yaml").read_text()
    assert "Did short schedules rank" in (tmp_path / "runs" / "short" / "report.html").read_text(encoding="utf-8")
    code, _ = command("resume", "short", "--set", "fidelity=null", "--set", "budget.epochs=null")
    assert code == 2  # short schedules would count as full ones
    run("resume", "short", "--set", "budget.epochs=24", "--executor", "inline")
    more = json.loads(run("trials", "short", "--json"))
    assert len(more) > len(trials)
