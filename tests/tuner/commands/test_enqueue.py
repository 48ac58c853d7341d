"""`tuner enqueue` as a user gives it: what the page shows, what it refuses, and beside a driver that runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from typer.testing import CliRunner

from search_spaces import SpaceError, load
from studies.store import Store
from tests.conftest import Command
from tuner.cli import app
from tuner.errors import UsageError
from tuner.paths import Home

ROOT = Path(__file__).resolve().parents[3]
HELD = ROOT / "tests" / "tuner" / "held_driver.py"
SECTION = (ROOT / "docs" / "studies.md").read_text(encoding="utf-8").partition("## Try a point that you know\n")[2]
SHOWN = re.findall(r"^tuner enqueue .*", SECTION.partition("\n## ")[0], flags=re.MULTILINE)
TINY = (
    "task.imbalance_factor=10", "stage1.epochs=1", "stage2.epochs=1", "budget.backbones=1",
    "budget.heads_per_backbone=2", "budget.rounds=1", "budget.fresh_seeds=0", "refine=null", "baselines=[]",
)  # fmt: skip
SETTINGS = [word for setting in TINY for word in ("--set", setting)]


@pytest.fixture
def run(tmp_path: Path, command: Command) -> Any:
    """Runs the command with a home of its own; returns code and output."""
    return lambda *words: command(*words, "--home", str(tmp_path / "runs"))


@pytest.fixture
def launched(run: Any) -> Any:
    """The same after the launch of a small study."""
    assert run("launch", "--space", "wd_maxnorm", "--executor", "inline", *SETTINGS)[0] == 0
    return run


def trials(run: Any) -> dict[int, Any]:
    return {row["number"]: row for row in json.loads(run("trials", "wd_maxnorm", "--json")[1])}


def test_what_the_page_shows_is_tried_at_the_next_resume(launched: Any, tmp_path: Path) -> None:
    assert len(SHOWN) == 2
    said = [launched(*shlex.split(line, comments=True)[1:]) for line in SHOWN]
    assert said[0][0] == 0
    assert "trial 2 waits, a new backbone: stage1.lr 0.05, stage1.weight_decay 0.002, stage2.lr 0.1" in said[0][1]
    assert "budget.backbones is used up: tried by: tuner resume wd_maxnorm --set budget.backbones=2" in said[0][1]
    assert said[1] == (0, "trial 2 waits: stage1.lr 0.05, stage1.weight_decay 0.002, stage2.lr 0.1\n")

    url = f"sqlite:///{tmp_path / 'runs' / 'studies.db'}"
    study = optuna.load_study(study_name="wd_maxnorm", storage=url)
    study.enqueue_trial({"stage1.lr": 0.1, "stage2.lr": 0.02})
    study.enqueue_trial({"stage1.lr": 7.0})
    assert "cannot be tried: stage1.lr: 7 is outside the range 0.01 to 0.2" in launched(*SHOWN[1].split()[1:3])[1]

    resume = ("resume", "wd_maxnorm", "--executor", "inline", "--set", "budget.backbones=3")
    assert launched(*resume)[0] == 0
    rows = trials(launched)
    assert sorted(rows) == [0, 1, 2, 3, 5, 6]  # 4 is the bad one
    assert rows[2]["params"].items() >= {"stage1.lr": 0.05, "stage1.weight_decay": 2e-3, "stage2.lr": 0.1}.items()
    assert rows[3]["params"].items() >= {"stage1.lr": 0.1, "stage2.lr": 0.02}.items()
    assert {row["state"] for row in rows.values()} == {"COMPLETE"}
    assert study.trials[4].user_attrs["refused"] == "stage1.lr: 7 is outside the range 0.01 to 0.2"
    assert launched("enqueue", "wd_maxnorm")[1].startswith("no point waits in study wd_maxnorm; enqueue one with: ")

    whole = [f"{name}={value}" for name, value in rows[2]["params"].items()]
    code, _ = launched("enqueue", "wd_maxnorm", *whole)
    assert code == UsageError.exit_code
    head = [word if not word.startswith("stage2.lr") else "stage2.lr=0.03" for word in whole]
    said_again = launched("enqueue", "wd_maxnorm", *head)[1]
    assert "one more head on backbone 1" in said_again
    assert "--set budget.heads_per_backbone=3" in said_again
    assert "trial 7 waits already" in launched("enqueue", "wd_maxnorm", *head)[1]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["stage1.lrr=0.1"], "stage1.lrr: error: unknown parameter 'stage1.lrr'; did you mean 'stage1.lr'?"),
        (["lr=0.1"], "did you mean 'stage1.lr' or 'stage2.lr'?"),
        (["stage1.lr=7", "stage2.lr=x"], "stage1.lr: error: 7 is outside the range 0.01 to 0.2"),
        (["stage1.lr=0.1", "stage2.lr=x"], "stage2.lr: error: must be a number in the range 0.001 to 0.1, but got 'x'"),
        (["stage1.epochs=3"], "stage1.epochs: error: is fixed at 1 in this study, but got 3"),
        (["stage1.epochs=1"], "study wd_maxnorm searches none of these; it searches stage1.lr, "),
        (["task.model=resnet20"], "the task is the same for the whole study"),
        (["stage1.lr"], "a point is written as KEY=VALUE, such as stage1.lr=0.05, but got 'stage1.lr'"),
        (["stage1.lr=0.1", "stage1.lr=0.2"], "stands twice"),
        (["stage1.lr=" + "9" * 30], "stage1.lr: an integer has at most 18 digits"),
    ],
)
def test_a_point_that_the_study_does_not_hold_is_refused(tmp_path: Path, words: list[str], complaint: str) -> None:
    space = load("wd_maxnorm", overrides=TINY)
    Store.create_or_open(
        Home(tmp_path).storage_url, name=space.name, space_yaml=space.to_yaml(), space_sha256=space.sha256,
        objective=space.objective,
    ).close()  # fmt: skip
    refused = CliRunner().invoke(app, ["enqueue", space.name, *words, "--home", str(tmp_path)]).exception
    assert isinstance(refused, UsageError | SpaceError)
    assert complaint in str(refused)
    with Store.open(Home(tmp_path).storage_url, space.name) as store:
        assert store.waiting() == []


@pytest.mark.slow
def test_a_running_driver_takes_up_what_is_enqueued_beside_it(tmp_path: Path, run: Any) -> None:
    """The driver is held after its first job, while it has the study."""
    words = ("launch", "--space", "wd_maxnorm", "--executor", "inline", *SETTINGS, "--set", "budget.backbones=2")
    driver = subprocess.Popen(
        [sys.executable, str(HELD), str(tmp_path), "tuner.search.planner:Planner.complete", *words],
        cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while not (tmp_path / "reached").exists():
            assert driver.poll() is None, driver.stderr.read() if driver.stderr else ""
            time.sleep(0.05)
        code, said = run("enqueue", "wd_maxnorm", "stage1.lr=0.05", "stage2.lr=0.02")
        assert (code, said.splitlines()) == (
            0,
            [
                "trial 2 waits, a new backbone: stage1.lr 0.05, stage2.lr 0.02",
                "the driver of wd_maxnorm tries it before it asks its sampler again",
            ],
        )
        more = run("enqueue", "wd_maxnorm", "stage1.lr=0.06")[1]
        assert "once the running launch has ended, budget.backbones is used up: tried by: tuner resume" in more
        (tmp_path / "go").touch()
        said = driver.communicate(timeout=300)[1]
    finally:
        driver.kill()
    assert driver.returncode == 0, said
    assert "1 enqueued point(s) wait; budget.backbones is used up: tried by: tuner resume wd_maxnorm --set " in said
    rows = trials(run)
    assert sorted(rows) == [0, 1, 2, 4]
    assert rows[2]["params"].items() >= {"stage1.lr": 0.05, "stage2.lr": 0.02}.items()
    assert {row["state"] for row in rows.values()} == {"COMPLETE"}
