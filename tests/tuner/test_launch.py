"""The main job for real, small: launch, look, export, train again; and every way it should refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SMALL = """
version: 1
name: small
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 6
  lr: {low: 2e-2, high: 1e-1, log: true}
  weight_decay: {low: 1e-3, high: 5e-2, log: true}
stage2:
  epochs: 5
  weight_decay: {low: 1e-3, high: 1e-1, log: true}
  maxnorm_radius: {low: 0.1, high: 2.0, log: true}
budget: {backbones: 2, heads_per_backbone: 4, rounds: 2}
baselines: [naive, weight_decay, tau_norm]
"""


@dataclass(frozen=True)
class Ran:
    """One command's end."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Shell:
    """The `tuner` command in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TUNER_"))},
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, limit: float = 300) -> Ran:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=limit)
        return Ran(process.returncode, out, err)


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder that holds only a space file."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "small.yaml").write_text(SMALL)
    return Shell(folder)


@pytest.fixture(scope="module")
def launched(shell: Shell) -> Shell:
    """The same after one whole launch."""
    ran = shell("launch", "--space", "small.yaml")
    assert ran.code == 0, ran.err
    assert "best against naive" in ran.out
    assert ran.err.count("state=COMPLETE") == 9
    return shell


def test_status_is_one_object(launched: Shell) -> None:
    status = launched("status", "small", "--json").json()
    assert status["study"] == "small"
    assert status["state"] == "done"
    assert status["trials"] == {"complete": 9, "pruned": 0, "failed": 0, "running": 0}
    assert set(status["best"]) == {"number", "value", "params", "precision", "over_seeds"}


def test_trials_are_a_list_with_dotted_parameters(launched: Shell) -> None:
    trials = launched("trials", "small", "--json").json()
    assert [trial["number"] for trial in trials] == list(range(9))
    searched = next(trial for trial in trials if trial["role"] == "search")
    assert {"number", "state", "value", "params", "metrics"} <= set(searched)
    assert {"stage1.weight_decay", "stage2.maxnorm_radius"} <= set(searched["params"])
    assert 0 <= searched["metrics"]["val.balanced_accuracy"] <= 1


def test_the_reading_of_test_is_kept(launched: Shell) -> None:
    best = launched("best", "small", "--json").json()
    assert best["test"]["balanced_accuracy"] is not None
    assert best["config"]["stage1.epochs"] == 6


def test_report_and_configuration_are_where_it_says(launched: Shell) -> None:
    page = (launched.folder / "runs" / "small" / "report.html").read_text()
    assert "small" in page
    assert (launched.folder / "runs" / "small" / "best.yaml").exists()


def test_launching_again_does_nothing_more(launched: Shell) -> None:
    assert launched("launch", "--space", "small.yaml").code == 0
    assert launched("status", "small", "--json").json()["trials"]["complete"] == 9


def test_another_space_under_the_same_name_is_refused(launched: Shell) -> None:
    ran = launched("launch", "--space", "small.yaml", "--set", "stage1.epochs=7")
    assert ran.code == 2
    assert "--name" in ran.err


def test_an_export_trains_again_to_the_exported_figures(launched: Shell) -> None:
    assert launched("export", "small", "-o", "best.yaml").code == 0
    ran = launched("train", "best.yaml")
    assert ran.code == 0, ran.err
    assert (launched.folder / "best-model" / "model.safetensors").exists()
    exported = launched("best", "small", "--json").json()["metrics"]["val.balanced_accuracy"]
    metrics = json.loads((launched.folder / "best-model" / "metrics.json").read_text())
    assert metrics["heads"][0]["metrics"]["val.balanced_accuracy"] == pytest.approx(exported, abs=0.05)


def test_an_unknown_study_names_those_there_are(launched: Shell) -> None:
    ran = launched("status", "smal")
    assert ran.code == 3
    assert "small" in ran.err
    assert "Traceback" not in ran.err


def test_an_interrupt_ends_resumable_and_resume_reaches_the_same_total(shell: Shell) -> None:
    process = shell.start("launch", "--space", "small.yaml", "--name", "stopped", "--set", "stage1.epochs=60")
    assert process.stderr is not None
    for line in process.stderr:
        if "state=COMPLETE" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 75, err
    assert "tuner resume stopped" in err
    assert shell("status", "stopped", "--json").json()["state"] == "stopped"
    ran = shell("resume", "stopped")
    assert ran.code == 0, ran.err
    assert shell("status", "stopped", "--json").json()["trials"] == {
        "complete": 9, "pruned": 0, "failed": 0, "running": 0,
    }  # fmt: skip


def test_five_mistakes_give_five_lines(shell: Shell) -> None:
    bad = SMALL.replace("log: true}\n  weight_decay: {low: 1e-3", "log: true}\n  wieght_decay: {low: 1e-3", 1)
    bad = (
        bad.replace("model: cnn-small", "model: 3")
        .replace("epochs: 5", "epochs: 0")
        .replace("rounds: 2", "rounds: two")
    )
    bad = bad.replace("[naive, weight_decay, tau_norm]", "[naive, tau-norm]")
    (shell.folder / "bad.yaml").write_text(bad)
    ran = shell("check", "bad.yaml")
    assert ran.code == 2
    lines = [line for line in ran.err.splitlines() if line.startswith("bad.yaml:")]
    assert len(lines) == 5
    assert all(": error: " in line for line in lines)
    assert "did you mean 'weight_decay'" in ran.err


@pytest.mark.parametrize("kind", ["empty folder", "no label", "broken image"])
def test_bad_data_is_named_and_leaves_no_broken_study(shell: Shell, kind: str) -> None:
    folder, named = bad_data(shell.folder / kind.replace(" ", "-"), kind)
    ran = shell("launch", "--space", "own_data.yaml", "--name", "bad", "--dataset", "parquet", "--data", str(folder))
    assert ran.code == 1, ran.err
    assert named in ran.err
    assert "Traceback" not in ran.err
    assert shell("status").code == 0


def bad_data(folder: Path, kind: str) -> tuple[Path, str]:
    """Makes a data folder with one fault; returns it and what the message must name."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(exist_ok=True)
    if kind == "empty folder":
        return folder, folder.name
    columns: dict[str, list[Any]] = {"image": [b"not an image"] * 20}
    if kind == "broken image":
        columns["label"] = [0, 1] * 10
    pq.write_table(pa.table(columns), folder / "train.parquet")
    return folder, "train.parquet"
