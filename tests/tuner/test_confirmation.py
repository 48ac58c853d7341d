"""A study that is confirmed as docs/studies.md shows it, killed between two runs, and resumed; as a user would."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from studies.records import TrialRow
from studies.store import Store
from studies.study_data import StudyData, load_study_data
from tests.tuner.test_launch import Shell
from tuner.cli import app

SPACE = """
version: 1
name: wd_maxnorm
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 2, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 3, heads_per_backbone: 2, rounds: 1}
sampler: {stage1: random, stage2: random}
baselines: [naive, tau_norm]
"""
INLINE = ("--executor", "inline", "--home", "runs")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "studies.md"


def shown() -> list[list[str]]:
    """The commands under "Choose by several seeds" in docs/studies.md."""
    section = PAGE.read_text(encoding="utf-8").partition("## Choose by several seeds")[2].partition("\n## ")[0]
    (block,) = re.findall(r"```sh\n(.*?)```", section, flags=re.DOTALL)
    return [shlex.split(line, comments=True)[1:] for line in block.splitlines()]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "space.yaml").write_text(SPACE)
    return Shell(tmp_path)


def told(shell: Shell, command: list[str], *more: str) -> str:
    """The output of a command that only looks."""
    ran = CliRunner().invoke(app, [*command, *more, "--home", str(shell.folder / "runs")])
    assert ran.exit_code == 0, ran.exception
    return ran.stdout


def study(shell: Shell, name: str) -> StudyData:
    with Store.open(f"sqlite:///{shell.folder}/runs/studies.db", name) as store:
        return load_study_data(store)


@pytest.mark.slow
def test_a_study_is_confirmed_after_its_end_and_through_a_kill(shell: Shell) -> None:
    resume, best, trials = shown()
    assert shell("launch", "--space", "space.yaml", *INLINE).code == 0
    assert json.loads(told(shell, best, "--json"))["over_seeds"] is None

    _kill_after(shell.start(*resume, *INLINE), "seed=1 state=COMPLETE", times=2)
    resumed = shell("resume", "wd_maxnorm", *INLINE)  # no --set: the study holds its space
    assert resumed.code == 0, resumed.err
    data = study(shell, "wd_maxnorm")
    assert data.best is not None
    assert data.best_confirmed is not None
    assert len(data.trials) == data.space.trials == 3 * 2 + 1 + 6
    assert {row.state for row in data.trials} == {"COMPLETE"}
    assert sorted(row.config["stage1.seed"] for row in data.trials if row.role == "confirm") == [1, 1, 1, 2, 2, 2]
    assert [row.number for row in data.fresh] == [row.number for row in data.best_confirmed.runs[1:]]
    assert [row.role for row in data.readings].count("best") == 1 + (data.best.number != data.readings[0].number)

    found = json.loads(told(shell, best, "--json"))
    assert (found["number"], found["over_seeds"]["seeds"]) == (data.best.number, [0, 1, 2])
    assert "over seeds 0, 1, 2" in told(shell, best)
    assert told(shell, trials).count(" confirm ") == 6

    again = shell("launch", "--space", "space.yaml", "--name", "whole", "--set", "confirm={top: 3, seeds: 3}", *INLINE)
    assert again.code == 0, again.err
    whole = study(shell, "whole")
    assert [outcome(row) for row in whole.trials] == [outcome(row) for row in data.trials]
    assert whole.best == whole.trial_by_number[data.best.number]


def outcome(row: TrialRow) -> tuple[object, ...]:
    return row.number, row.role, row.value, dict(row.config), row.backbone


def _kill_after(process: subprocess.Popen[str], words: str, *, times: int) -> None:
    """SIGKILL to the launch after the n-th line with these words: the next run has begun, or is about to."""
    assert process.stderr is not None
    for line in process.stderr:
        times -= words in line
        if not times:
            break
    process.kill()
    process.communicate()
    assert process.returncode == -9
