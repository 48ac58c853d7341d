"""The study's lock comes before everything that takes long: torch, data, Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from search_spaces import Space, loads
from studies.errors import StudyLockedError
from studies.locks.study_lock import study_lock
from tuner import launch
from tuner.execution.slots import Resources
from tuner.launch import Launch, run_study
from tuner.paths import Home
from tuner.stopping import StopRequests

SPACE = "version: 1\nname: one\ntask: {dataset: digits-lt}\nbudget: {backbones: 1, heads_per_backbone: 1, rounds: 1}\n"


class _LoadedError(Exception):
    """The data were being loaded."""


def run(home: Path) -> None:
    run_study(
        Launch(
            space=loads(SPACE, source="space.yaml"),
            home=Home(home),
            storage=Home(home).storage_url,
            resources=Resources(),
            console=Console(stderr=True),
            stops=StopRequests(),
        )
    )


def test_of_two_launches_at_once_one_loads_the_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loads = []

    def second_comes(space: Space) -> None:
        loads.append(space.name)
        if len(loads) == 1:
            with pytest.raises(StudyLockedError, match="already being run"):
                run(tmp_path)
        raise _LoadedError

    monkeypatch.setattr(launch, "dry_build", second_comes)
    with pytest.raises(_LoadedError):
        run(tmp_path)
    assert loads == ["one"]


def test_a_second_launch_is_refused_without_torch(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    script = (
        "import sys, tuner.cli\nsys.argv = ['tuner', 'launch', '--space', 'space.yaml']\n"
        "try:\n    tuner.cli.main()\nfinally:\n    print(*{'torch', 'ray', 'pandas', 'plotly'} & set(sys.modules))"
    )
    with study_lock(Home(tmp_path / "runs").storage_url, "one"):
        ran = subprocess.run(
            [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
        )
    assert (ran.returncode, ran.stdout.strip()) == (1, ""), ran.stderr
    assert "'one' is already being run by" in ran.stderr
