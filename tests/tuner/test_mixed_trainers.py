"""A newer release whose trainer trains differently, in the middle of a study: said, and decided by the user."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search_spaces import Space, loads
from studies.findings.cautions import cautions
from studies.store import Store
from studies.study_data import load_study_data
from trainers.results import JobResult
from trainers.stage1.backbone import TRAINER_VERSION
from tuner import launch
from tuner.errors import UsageError
from tuner.execution.slots import Resources
from tuner.launch import Launch, run_study
from tuner.paths import Home
from tuner.preflight import Preflight
from tuner.search.planner import Planner
from tuner.stopping import StopRequests

SPACE = (
    "version: 1\nname: one\ntask: {dataset: digits-lt}\nstage2: {weight_decay: {low: 1.0e-3, high: 0.1}}\n"
    "budget: {backbones: 1, heads_per_backbone: 2, rounds: 2}\nbaselines: []\n"
)
Pretend = Callable[[Any], JobResult]


class _TrainsError(Exception):
    """It went on to train."""


@pytest.fixture
def space(monkeypatch: pytest.MonkeyPatch) -> Space:
    def train(*_: object) -> None:
        raise _TrainsError

    monkeypatch.setattr(launch, "search", train)
    return loads(SPACE, source="space.yaml")


@pytest.fixture
def begun(space: Space, tmp_path: Path, pretend: Pretend, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A study with a result, by the trainer of before versions were recorded."""
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    store = Store.create_or_open(Home(tmp_path).storage_url, name="one", **known)
    planner = Planner(space, store)
    task = planner.next_task()
    assert task is not None
    planner.complete(task, pretend(task))
    data = str(store.study().data_fingerprint)
    checked = Preflight(class_names=(), train_counts=(), data_fingerprint=data, parameters=1, notes=())
    monkeypatch.setattr(launch, "dry_build", lambda _: checked)
    return store


def run(space: Space, store: Store, *, mixed: bool = False) -> None:
    home = Home(Path(store.database.url.removeprefix("sqlite:///")).parent)
    asked = Resources(mixed_trainers=mixed)
    stops = StopRequests()
    run_study(Launch(space=space, home=home, storage=home.storage_url, resources=asked, console=Console(), stops=stops))


def test_another_trainer_is_refused_with_both_versions_and_mixed_where_asked_for(
    space: Space, begun: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(_TrainsError):
        run(space, begun)  # the same one
    monkeypatch.setattr("trainers.stage1.backbone.TRAINER_VERSION", TRAINER_VERSION + 1)
    both = f"version {TRAINER_VERSION}, and this release trains by version {TRAINER_VERSION + 1}.*--mixed-trainers"
    with pytest.raises(UsageError, match=both):
        run(space, begun)
    assert not any("Trainer versions" in line for line in cautions(load_study_data(begun)))
    with pytest.raises(_TrainsError):
        run(space, begun, mixed=True)
    with pytest.raises(_TrainsError):
        run(space, begun)  # it was decided
    told = f"Trainer versions {TRAINER_VERSION} and {TRAINER_VERSION + 1} gave these results"
    assert any(line.startswith(told) for line in cautions(load_study_data(begun)))


def test_where_no_result_would_be_mixed_nothing_is_asked(
    space: Space, begun: Store, pretend: Pretend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainers.stage1.backbone.TRAINER_VERSION", TRAINER_VERSION + 1)
    monkeypatch.setattr(launch, "finish", lambda *_: None)
    planner = Planner(space, begun)
    while (task := planner.next_task()) is not None:
        planner.complete(task, pretend(task))
    run(space, begun)  # complete: only its report is written
    assert begun.study().trainers == ()
