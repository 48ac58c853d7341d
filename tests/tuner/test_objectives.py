"""A study of two objectives from its launch to its larger budget, by the commands of docs/studies.md."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from search_spaces.objectives import front
from studies.notebook import open_study
from studies.study_data import SEARCH_ROLES
from tests.conftest import Command

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "studies.md"
SPACE = """
version: 1
name: wd_maxnorm
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 2
  lr: {low: 2e-2, high: 2e-1, log: true}
  weight_decay: {low: 1e-3, high: 5e-2, log: true}
stage2:
  epochs: 2
  weight_decay: {low: 1e-3, high: 1e-1, log: true}
  maxnorm_radius: {low: 0.1, high: 1.5, log: true}
budget: {backbones: 2, heads_per_backbone: 6, rounds: 2}
refine: {top: 1, heads: 4}
baselines: [naive, tau_norm]
"""


def commands() -> dict[str, list[str]]:
    """Those of the section, by their words up to the study; the launch and the resume in this process, and small."""
    section = PAGE.read_text(encoding="utf-8").partition("## Several objectives")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    lines = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    for line in lines:
        if line[0] in ("launch", "resume"):
            line += ["--executor", "inline"]
    return {" ".join(line[:1] + line[2:3] if line[0] == "best" else line[:1]): line for line in lines}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "wd_maxnorm.yaml").write_text(SPACE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def values(found: dict[str, Any]) -> list[tuple[float, ...]]:
    return [tuple(round(row[name], 9) for name in found["objectives"]) for row in found["front"]]


def test_the_section_does_what_it_says(command: Command, folder: Path) -> None:
    asked = commands()

    def run(name: str, *more: str) -> str:
        code, printed = command(*asked[name], *more)
        assert code == 0, printed
        return printed

    run("launch")
    found = json.loads(run("best", "--json"))
    assert found["objectives"] == ["val.balanced_accuracy", "val.few"]
    assert found["number"] == found["front"][0]["number"]
    assert found["value"] == max(row["val.balanced_accuracy"] for row in found["front"])
    assert found["test"] is not None
    assert "the Pareto front, the chosen trial first" in run("best")
    listed = json.loads(run("best --pareto", "--json"))
    assert [row["number"] for row in listed] == [row["number"] for row in found["front"]][::-1]
    assert "the Pareto front of val.balanced_accuracy and val.few" in run("best --pareto")

    run("export")
    files = sorted(path.name for path in (folder / "front").iterdir())
    assert files == sorted(f"trial-{row['number']:04}.yaml" for row in found["front"])
    chosen = (folder / "runs" / "two" / "best.yaml").read_text()
    assert "of the Pareto front by all objectives" in chosen
    assert "objectives: [val.balanced_accuracy, val.few]" in chosen

    run("report")
    report = json.loads((folder / "runs" / "two" / "report.json").read_text())
    rows = report["tables"]["objectives"]["rows"]
    assert [row[0] for row in rows if row[1]] == [row["number"] for row in found["front"]]
    assert f"trial {found['number']} was chosen for the highest val.balanced_accuracy" in " ".join(report["remarks"])

    agrees_with_optuna(found)
    status = json.loads(command("status", "two", "--json")[1])
    assert status["objectives"] == found["objectives"]
    assert "best on val: val.balanced_accuracy, the first of 2 objectives" in command("status", "two")[1]

    run("resume")
    after = json.loads(command("status", "two", "--json")[1])
    assert after["trials"] == {"complete": 12 * 6 + 4 + 1, "pruned": 0, "failed": 0, "running": 0}
    agrees_with_optuna(json.loads(run("best", "--json")))


def agrees_with_optuna(found: dict[str, Any]) -> None:
    """Each trial of our front is one of Optuna's best, and none of Optuna's is better; baselines are never chosen."""
    with open_study("two") as study:
        searched = {row.number for row in study.store.trials() if row.role in SEARCH_ROLES}
        best = study.store.optuna_study().best_trials
    theirs = [tuple(round(value, 9) for value in trial.values) for trial in best if trial.number in searched]
    both = [*values(found), *theirs]
    assert {both[place] for place in front(both)} == set(values(found))
    if all(trial.number in searched for trial in best):
        assert set(values(found)) == set(theirs)
