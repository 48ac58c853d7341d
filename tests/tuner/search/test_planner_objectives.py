"""A study of two objectives keeps budget and proposals through a restart; its leader is the chosen trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Space, loads
from studies.store import Store
from studies.study_data import best_trial, front_of
from trainers.results import JobResult
from tuner.errors import UsageError
from tuner.preflight import dry_build
from tuner.search.planner import Planner
from tuner.search.readings import readings_due

SPACE = """
version: 1
name: two
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 1
  lr: {low: 1e-2, high: 1e-1, log: true}
  weight_decay: {low: 1e-4, high: 1e-1, log: true}
stage2:
  epochs: 1
  weight_decay: {low: 1e-4, high: 1.0, log: true}
objective: [val.balanced_accuracy, -val.ece]
budget: {backbones: 7, heads_per_backbone: 4, rounds: 2}
refine: {top: 2, heads: 3}
baselines: [naive, tau_norm]
"""


def opened(space: Space, folder: Path) -> Store:
    return Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}", name=space.name, space_yaml=space.to_yaml(), space_sha256=space.sha256,
        objective=space.objectives,
    )  # fmt: skip


def go_on(planner: Planner, pretend: Callable[..., JobResult], jobs: int) -> None:
    while jobs > 0 and (task := planner.next_task()) is not None:
        planner.complete(task, pretend(task))
        jobs -= 1


@pytest.mark.parametrize("before", [4, 13, 18])
def test_a_restart_changes_no_proposal(before: int, pretend: Any, tmp_path: Path) -> None:
    space = loads(SPACE)
    found = []
    for name, pieces in (("whole", [1000]), ("restarted", [before, 1000])):
        (tmp_path / name).mkdir()
        for jobs in pieces:
            with opened(space, tmp_path / name) as store:
                go_on(Planner(space, store), pretend, jobs)
                rows = store.trials()
        assert len(rows) == space.trials == 7 * 4 + 2 * 3 + 1
        found.append([(row.number, row.params, row.gains) for row in rows])
    assert found[0] == found[1]


def test_the_leader_is_the_chosen_trial_and_is_read_on_test(pretend: Any, tmp_path: Path) -> None:
    space = loads(SPACE)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        for _ in range(10):
            go_on(planner, pretend, 1)
            best = best_trial(store.trials())
            assert (planner.leader.number if planner.leader else None) == (best.number if best else None)
        searched = [row for row in store.trials() if row.role == "search" and row.value is not None]
        assert best == front_of(searched)[0]
        assert [one.number for one in readings_due(space, store) if one.role == "best"] == [
            best.number if best else None
        ]


@pytest.mark.parametrize(
    ("task", "objective", "told"),
    [
        ("imbalance_factor: 50, few: 1", "val.few", "no class with validation images is in the group 'few'"),
        ("imbalance_factor: 1", "-norm.slope", "no slope over class size"),
    ],
)
def test_each_objective_must_be_measurable(task: str, objective: str, told: str) -> None:
    text = SPACE.replace("imbalance_factor: 50", task).replace("-val.ece", objective)
    with pytest.raises(UsageError, match=told):
        dry_build(loads(text))
