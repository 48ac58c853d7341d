"""The planner hands out exactly the budget, whatever happens in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Space, loads
from studies.records import Failure, FailureKind
from studies.store import Store
from trainers.results import HeadFailure, JobResult
from tuner.search.assignment import Assignment
from tuner.search.configurations import naive
from tuner.search.planner import Planner

SPACE = """
version: 1
name: plan
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 1
  lr: {low: 1e-2, high: 1e-1, log: true}
  weight_decay: {low: 1e-4, high: 1e-1, log: true}
stage2:
  epochs: 1
  weight_decay: {low: 1e-4, high: 1.0, log: true}
budget: {backbones: 3, heads_per_backbone: 5, rounds: 2, max_failed: 2, max_retries: 1}
sampler: {stage1: random, stage2: random, seed: 3}
baselines: [naive, weight_decay, tau_norm]
"""


@pytest.fixture
def space() -> Space:
    return loads(SPACE)


@pytest.fixture
def store(space: Space, tmp_path: Path) -> Iterator[Store]:
    with opened(space, tmp_path) as found:
        yield found


def opened(space: Space, folder: Path) -> Store:
    return Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}",
        name=space.name,
        space_yaml=space.to_yaml(),
        space_sha256=space.sha256,
        objective=space.objective,
    )


def run(planner: Planner, pretend: Callable[..., JobResult], *, at_most: int = 1000) -> list[Assignment]:
    """Runs task after task."""
    done: list[Assignment] = []
    while len(done) < at_most and (task := planner.next_task()) is not None:
        planner.complete(task, pretend(task))
        done.append(task)
    return done


def test_the_budget_is_spent_exactly(space: Space, store: Store, pretend: Any) -> None:
    planner = Planner(space, store)
    tasks = run(planner, pretend)
    assert planner.finished
    assert not planner.has_work()
    rows = store.trials()
    assert Counter(row.state for row in rows) == {"COMPLETE": 16}
    assert planner.tally.complete == space.trials == 16
    assert [len(task.configs) for task in tasks if task.kind == "search"] == [3, 2] * 3
    assert [row.number for row in rows] == list(range(16))


def test_test_data_is_read_once_for_the_chosen_and_each_baseline(space: Space, store: Store, pretend: Any) -> None:
    tasks = run(Planner(space, store), pretend)
    assert {task.kind for task in tasks[:-1]} >= {"baseline", "search"}
    assert sorted(reading.role for reading in store.readings()) == ["best", "naive", "tau_norm", "weight_decay"]
    assert not Planner(space, store).has_work()


def test_fresh_seeds_train_the_chosen_configuration_again_and_are_read_once(tmp_path: Path, pretend: Any) -> None:
    space = loads(SPACE.replace("max_retries: 1", "max_retries: 1, fresh_seeds: 2"))
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        run(planner, pretend)
        fresh = [row for row in store.readings() if row.role == "fresh_seed"]
        best = next(row for row in store.readings() if row.role == "best")
        assert [row.config["stage1.seed"] for row in fresh] == [1, 2]
        assert all(row.config["stage2.seed"] == row.config["stage1.seed"] for row in fresh)
        assert all({**row.config, "stage1.seed": 0, "stage2.seed": 0} == best.config for row in fresh)
        assert not Planner(space, store).has_work()


def test_fresh_seeds_are_not_trained_when_the_time_is_up(tmp_path: Path, pretend: Any) -> None:
    space = loads(SPACE.replace("max_retries: 1", "max_retries: 1, fresh_seeds: 2"))
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        task = planner.next_task()
        assert task is not None
        planner.complete(task, pretend(task))
        task = planner.next_task()
        assert task is not None
        planner.complete(task, pretend(task))
        planner.lifecycle.hours_are_over()
        run(planner, pretend)
        assert {row.role for row in store.readings()} >= {"best"}
        assert not any(row.role == "fresh_seed" for row in store.readings())


def test_naive_is_a_trial_of_the_study_without_weight_decay(space: Space, store: Store, pretend: Any) -> None:
    run(Planner(space, store), pretend, at_most=1)
    (trial,) = store.trials()
    assert trial.role == "naive"
    assert trial.config["stage1.weight_decay"] == 0
    assert trial.config["stage2.method"] == "none"


def test_naive_is_cross_entropy_whatever_the_space_fixes() -> None:
    fixed = "stage1: {loss: cb_focal, drw: 0.8, weight_decay: {low: 1e-4, high: 1e-2}}"
    text = f"version: 1\nname: n\ntask: {{dataset: digits-lt}}\n{fixed}\nstage2: {{features: replay}}\n"
    config = naive(loads(text + "budget: {backbones: 1, heads_per_backbone: 1}\n"))
    assert (config["stage1.loss"], config["stage1.drw"], config["stage1.weight_decay"]) == ("ce", None, 0.0)
    assert (config["stage2.method"], config["stage2.features"]) == ("none", "search")


def test_a_killed_driver_loses_nothing_and_doubles_nothing(space: Space, tmp_path: Path, pretend: Any) -> None:
    uninterrupted = tmp_path / "whole"
    uninterrupted.mkdir()
    with opened(space, uninterrupted) as store:
        run(Planner(space, store), pretend)
        wanted = [(row.number, dict(row.params)) for row in store.trials()]
    for _ in range(20):
        with opened(space, tmp_path) as store:
            planner = Planner(space, store)
            run(planner, pretend, at_most=1)
            planner.next_task()  # handed out, then the driver dies
    with opened(space, tmp_path) as store:
        run(Planner(space, store), pretend)
        assert [(row.number, dict(row.params)) for row in store.trials()] == wanted
        assert {row.state for row in store.trials()} == {"COMPLETE"}


def test_a_larger_budget_goes_on_from_the_smaller_one(space: Space, store: Store, pretend: Any) -> None:
    run(Planner(space, store), pretend)
    larger = loads(SPACE.replace("backbones: 3", "backbones: 4"))
    assert larger.sha256 == space.sha256
    planner = Planner(larger, store)
    assert planner.has_work()
    run(planner, pretend)
    assert len(store.trials()) == 21


def test_a_dead_worker_is_tried_again_then_fails_with_its_reason(space: Space, store: Store) -> None:
    planner = Planner(space, store)
    first = planner.next_task()
    assert first is not None
    planner.fail(first, Failure(FailureKind.WORKER_DIED, "the worker process died"))
    again = planner.next_task()
    assert again is not None
    assert again.job is not None
    assert again.job.numbers == first.job.numbers if first.job else False
    planner.fail(again, Failure(FailureKind.WORKER_DIED, "the worker process died"))
    (row,) = store.trials()
    assert (row.state, row.reason) == ("FAIL", "the worker process died")


def test_a_hopeless_study_ends_early(space: Space, store: Store) -> None:
    planner = Planner(space, store)
    for _ in range(3):
        task = planner.next_task()
        assert task is not None
        planner.fail(task, Failure(FailureKind.ERROR, "no such file"))
    assert planner.lifecycle.phase == "failing"
    assert planner.next_task() is None
    assert planner.finished
    assert {row.state for row in store.trials()} == {"FAIL"}


def test_a_lost_head_fails_alone(space: Space, store: Store, pretend: Any) -> None:
    planner = Planner(space, store)
    run(planner, pretend, at_most=1)
    task = planner.next_task()
    assert task is not None
    result: JobResult = pretend(task)
    lost = HeadFailure(config={}, reason="stage 2: the loss is nan")
    planner.complete(task, replace(result, heads=(result.heads[0], lost, *result.heads[2:])))
    states = {row.number: (row.state, row.reason) for row in store.trials()}
    assert states == {
        0: ("COMPLETE", None),
        1: ("COMPLETE", None),
        2: ("FAIL", "stage 2: the loss is nan"),
        3: ("COMPLETE", None),
    }
    assert planner.tally.failed == 1


def test_a_head_whose_norms_are_no_numbers_counts_as_lost_at_once(space: Space, store: Store, pretend: Any) -> None:
    planner = Planner(space, store)
    run(planner, pretend, at_most=1)
    task = planner.next_task()
    assert task is not None
    result: JobResult = pretend(task)
    head = replace(result.heads[0], norms=(float("inf"), 1.0, 1.0))
    planner.complete(task, replace(result, heads=(head, *result.heads[1:])))
    assert planner.tally == Planner(space, store).tally
    assert planner.tally.failed == 1


def test_workers_do_not_wait_for_each_other(space: Space, store: Store) -> None:
    planner = Planner(space, store)
    held = [planner.next_task() for _ in range(4)]
    assert [task.kind for task in held if task] == ["baseline", "search", "search", "search"]
    assert planner.next_task() is None  # second rounds wait for the first
    assert not planner.finished


def test_refinement_spends_heads_on_the_best_backbones(tmp_path: Path, pretend: Any) -> None:
    space = loads(SPACE + "refine: {top: 2, heads: 4}\n")
    with opened(space, tmp_path) as store:
        run(Planner(space, store), pretend)
        rows = store.trials()
        assert len(rows) == space.trials == 16 + 8
        refined = [row for row in rows if row.round == 2]
        best = sorted({r.backbone_index for r in rows if r.role == "search"}, key=lambda b: -top(rows, b))[:2]
        assert {row.backbone_index for row in refined} == set(best)


def top(rows: list[Any], backbone: int) -> float:
    return max(row.value for row in rows if row.backbone_index == backbone and row.role == "search" and row.round < 2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("heads_per_backbone: 5", "heads_per_backbone: 8"),
        ("rounds: 2", "rounds: 4"),
        ("rounds: 2", "rounds: 1"),
        ("backbones: 3", "backbones: 5"),
    ],
)
@pytest.mark.parametrize("at_most", [2, 4, 1000])
def test_a_budget_that_is_changed_is_spent_exactly(
    before: str, after: str, at_most: int, tmp_path: Path, pretend: Any
) -> None:
    text = SPACE + "refine: {top: 2, heads: 4}\n"
    with opened(loads(text), tmp_path) as store:
        run(Planner(loads(text), store), pretend, at_most=at_most)
        changed = loads(text.replace(before, after))
        assert changed.sha256 == loads(text).sha256
        planner = Planner(changed, store)
        run(planner, pretend)
        assert planner.finished
        rows = store.trials()
        assert len(rows) == planner.tally.total == changed.trials
        assert not Planner(changed, store).has_work()
        asked = Counter(row.backbone_index for row in rows if row.role == "search")
        refined = sum(len(job.numbers) for job in store.jobs() if job.kind == "refine")
        assert refined == 8
        assert sum(asked.values()) == changed.trials - 1


def test_a_smaller_budget_takes_nothing_back(space: Space, store: Store, pretend: Any) -> None:
    run(Planner(space, store), pretend)
    planner = Planner(loads(SPACE.replace("heads_per_backbone: 5", "heads_per_backbone: 2")), store)
    assert not planner.has_work()
    assert (planner.tally.complete, planner.tally.total) == (16, 16)


def test_a_grid_ends_where_it_is_used_up(tmp_path: Path, pretend: Any) -> None:
    text = SPACE.replace("weight_decay: {low: 1e-4, high: 1.0, log: true}", "weight_decay: {choices: [0.1, 0.2, 0.4]}")
    text = text.replace("stage2: random", "stage2: grid") + "refine: {top: 2, heads: 4}\n"
    space = loads(text)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        run(planner, pretend)
        assert planner.finished
        rows = [row for row in store.trials() if row.role == "search"]
        assert Counter(row.backbone_index for row in rows) == {0: 3, 1: 3, 2: 3}
        assert len({(row.backbone_index, row.params["stage2.weight_decay"]) for row in rows}) == 9
        assert planner.tally.total == len(store.trials())
        assert not Planner(space, store).has_work()


def test_fewer_points_beside_a_condition_than_counted_end_the_backbone(tmp_path: Path, pretend: Any) -> None:
    stage2 = """stage2:
  method: {choices: [crt, weight_balancing]}
  epochs: {low: 1, high: 3, when: {stage2.method: weight_balancing}}
budget:"""
    space = loads(SPACE.partition("stage2:")[0] + stage2 + SPACE.partition("budget:")[2].replace("cone: 5", "cone: 6"))
    assert space.heads_per_backbone == 5
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        run(planner, pretend)
        rows = [row for row in store.trials() if row.role == "search"]
        assert set(Counter(row.backbone_index for row in rows).values()) == {4}
        assert planner.finished
        assert not Planner(space, store).has_work()


def test_backbones_are_refined_side_by_side(tmp_path: Path, pretend: Any) -> None:
    space = loads(SPACE + "refine: {top: 2, heads: 4}\n")
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        while (task := planner.next_task()) is not None and task.kind != "refine":
            planner.complete(task, pretend(task))
        second = planner.next_task()
        assert second is not None
        assert second.kind == "refine"
        assert task is not None
        assert second.job is not None
        assert task.job is not None
        assert second.job.backbone_index != task.job.backbone_index
        assert planner.next_task() is None


def test_no_trial_is_left_running_when_the_hours_are_over(space: Space, store: Store, pretend: Any) -> None:
    planner = Planner(space, store)
    run(planner, pretend, at_most=2)
    lost, kept = planner.next_task(), planner.next_task()
    assert lost is not None
    assert kept is not None
    planner.lifecycle.hours_are_over()
    assert not planner.fail(lost, Failure(FailureKind.WORKER_DIED, "the worker process died: killed"))
    planner.complete(kept, pretend(kept))
    run(planner, pretend)
    assert planner.finished
    assert Counter(row.state for row in store.trials())["RUNNING"] == 0
    adopted = Planner(space, store)
    interrupted = adopted.next_task()
    assert interrupted is not None
    late = Planner(space, store)  # after the death of the driver
    late.lifecycle.hours_are_over()
    late.close_waiting()
    reasons = {row.reason for row in store.trials() if row.state == "FAIL"}
    assert "not run: budget.hours were over" in reasons
    assert late.lifecycle.phase == "closing"


def test_a_hopeless_study_leaves_no_trial_running(space: Space, store: Store) -> None:
    planner = Planner(space, store)
    held = [planner.next_task() for _ in range(4)]
    assert held[3] is not None
    assert planner.fail(held[3], Failure(FailureKind.WORKER_DIED, "the worker process died"))  # waits for another try
    for task in held[:3]:
        assert task is not None
        planner.fail(task, Failure(FailureKind.ERROR, "no such file"))
    assert planner.next_task() is None
    assert planner.finished
    assert {row.state for row in store.trials()} == {"FAIL"}
    assert not Planner(space, store).has_work()


def test_a_reading_that_can_pass_is_tried_again_and_then_named(space: Space, store: Store, pretend: Any) -> None:
    planner = Planner(space, store)
    tasks = []
    while (task := planner.next_task()) is not None:
        if task.kind != "reading":
            planner.complete(task, pretend(task))
            continue
        tasks.append(task)
        planner.fail(task, Failure(FailureKind.WORKER_DIED, "the worker process died: out of memory"))
    assert planner.finished
    tried = Counter(tuple(reading.role for reading in task.readings) for task in tasks)
    assert set(tried.values()) == {2}
    assert any(text.startswith("best: the worker process died") for text in planner.unread)
    assert not store.readings()
    assert Planner(space, store).has_work()


def test_an_interrupted_job_is_work_left_though_nothing_else_is(tmp_path: Path) -> None:
    space = loads(SPACE, overrides=["budget.backbones=1", "budget.rounds=1", "baselines=[]"])
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        task = planner.next_task()
        assert task is not None
        planner.lifecycle.stop_is_requested()
        planner.interrupted(task)
        assert planner.finished
        assert planner.has_work()
