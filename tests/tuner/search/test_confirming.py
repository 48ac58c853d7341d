"""The best configurations are trained with other seeds after the search, and their means choose."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Space, loads
from studies.confirmed import without_seeds
from studies.records import Failure, FailureKind
from studies.store import Store
from studies.study_data import best_trial, load_study_data
from tests.support.pretend import job_result, pretend_accuracy
from trainers.results import HeadFailure, JobResult
from tuner.search.assignment import Assignment
from tuner.search.confirming import candidates, runs_due
from tuner.search.planner import Planner

SPACE = """
version: 1
name: sure
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 1
  weight_decay: {low: 1e-4, high: 1e-1, log: true}
stage2:
  epochs: 1
  weight_decay: {low: 1e-4, high: 1.0, log: true}
budget: {backbones: 4, heads_per_backbone: 3, rounds: 2, max_retries: 1}
refine: {top: 1, heads: 2}
confirm: {top: 3, seeds: 3}
sampler: {stage1: random, stage2: random, seed: 3}
baselines: [naive, weight_decay]
"""
SEARCH = 4 * 3 + 2 + 1


def unlucky(config: Mapping[str, Any]) -> float:
    """A hill whose top was luck: other seeds of good configurations are worse than those of mediocre ones."""
    value = pretend_accuracy(config)
    return value if config["stage1.seed"] == 0 else 0.9 - value + 0.01 * config["stage1.seed"]


def result(task: Assignment, accuracy: Callable[[Mapping[str, Any]], float] = unlucky) -> JobResult:
    return job_result(task.configs, read_test=task.kind == "reading", accuracy=accuracy)


def opened(space: Space, folder: Path) -> Store:
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    return Store.create_or_open(f"sqlite:///{folder / 'studies.db'}", name=space.name, **known)


def run(planner: Planner, *, at_most: int = 1000) -> list[Assignment]:
    done: list[Assignment] = []
    while len(done) < at_most and (task := planner.next_task()) is not None:
        planner.complete(task, result(task))
        done.append(task)
    return done


def until_confirmation(planner: Planner) -> Assignment:
    while (task := planner.next_task()) is not None and task.kind != "confirm":
        planner.complete(task, result(task))
    assert task is not None
    return task


def held(store: Store) -> list[object]:
    trials = [(r.number, r.role, r.state, r.value, dict(r.config), dict(r.params)) for r in store.trials()]
    return [trials, sorted((r.role, r.number or -1, r.config["stage1.seed"]) for r in store.readings())]


def test_the_best_of_three_backbones_are_trained_with_two_more_seeds(tmp_path: Path) -> None:
    space = loads(SPACE)
    assert (space.runs_to_confirm, space.trials) == (6, SEARCH + 6)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        tasks = run(planner)
        rows = store.trials()
        assert Counter(row.role for row in rows) == {"search": SEARCH - 1, "naive": 1, "confirm": 6}
        assert planner.tally.complete == planner.tally.total == space.trials
        assert planner.finished
        assert not Planner(space, store).has_work()
        chosen = candidates(rows, top=3)
        assert len({row.backbone_index for row in chosen}) == 3
        runs = [task for task in tasks if task.kind == "confirm"]
        assert [task.configs[0]["stage1.seed"] for task in runs] == [1, 1, 1, 2, 2, 2]  # in turns
        for task, trial in zip(runs, [*chosen, *chosen], strict=True):
            assert without_seeds(task.configs[0]) == without_seeds(trial.config)
            assert task.configs[0]["stage1.seed"] == task.configs[0]["stage2.seed"]
        assert [row.params for row in rows if row.role == "confirm"] == [row.params for row in (*chosen, *chosen)]
        assert [row.kind for row in store.backbones()].count("confirm") == 6


def test_the_mean_chooses_and_its_runs_are_the_fresh_seeds(tmp_path: Path) -> None:
    space = loads(SPACE)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        run(planner)
        data = load_study_data(store)
        highest = max(data.searched, key=lambda row: row.value or 0.0)
        assert data.best is not None
        assert data.best.number != highest.number  # whose seeds were bad
        means = {one.trial.number: one.value.mean for one in data.confirmed}
        assert len(means) == 3
        assert highest.number in means
        assert data.best.number == max(means, key=lambda number: means[number])
        assert planner.leader is not None
        assert (planner.leader.number, planner.leader.value) == (data.best.number, means[data.best.number])
        assert Planner(space, store).leader == planner.leader
        assert [row.number for row in store.readings() if row.role == "best"] == [data.best.number]
        read = [(row.config["stage1.seed"], row.number) for row in data.fresh]
        assert data.best_confirmed is not None
        assert read == [(row.config["stage1.seed"], row.number) for row in data.best_confirmed.runs[1:]]
        assert {row.backbone for row in data.fresh} <= {row.fingerprint for row in data.backbones}


@pytest.mark.parametrize(("wanted", "seeds"), [(0, [1, 2]), (2, [1, 2]), (3, [1, 2, 3])])
def test_fresh_seeds_are_only_trained_beyond_those_of_the_confirmation(
    tmp_path: Path, wanted: int, seeds: list[int]
) -> None:
    space = loads(SPACE, overrides=[f"budget.fresh_seeds={wanted}"])
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        tasks = run(planner)
        assert [row.config["stage1.seed"] for row in load_study_data(store).fresh] == seeds
        trained = [task for task in tasks if task.kind == "reading" and task.readings[0].trains]
        assert len(trained) == max(0, wanted - 2)
        assert planner.work_left == (0, 0)
        assert not Planner(space, store).has_work()


def test_kills_between_and_in_runs_change_nothing(tmp_path: Path) -> None:
    space = loads(SPACE)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    with opened(space, whole) as store:
        run(Planner(space, store))
        wanted = held(store)
    for at_most in (10, 1, 0, 2, 0, 1):  # the search is over after ten tasks
        with opened(space, killed) as store:
            planner = Planner(space, store)
            run(planner, at_most=at_most)
            planner.next_task()  # handed out, then the driver dies
    with opened(space, killed) as store:
        assert any(row.role == "confirm" and row.state == "RUNNING" for row in store.trials())
        run(Planner(space, store))
        assert held(store) == wanted


def test_nothing_is_confirmed_while_a_job_of_the_search_is_running(tmp_path: Path) -> None:
    space = loads(SPACE)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        under_way = [planner.next_task()]
        while (task := planner.next_task()) is not None:  # every job beside the ones before it
            assert task.kind != "confirm"
            under_way.append(task)
            if len(under_way) > 2:
                first = under_way.pop(0)
                assert first is not None
                planner.complete(first, result(first))
        for task in under_way:
            assert task is not None
            planner.complete(task, result(task))
        assert until_confirmation(planner).kind == "confirm"
        second = planner.next_task()
        assert second is not None
        assert second.kind == "confirm"  # beside the first


def test_a_failed_run_is_not_made_again_and_the_mean_is_over_the_others(tmp_path: Path) -> None:
    space = loads(SPACE)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        task = until_confirmation(planner)
        lost = task.configs[0]
        failed = result(task)
        planner.complete(task, replace(failed, heads=(HeadFailure(config={}, reason="nan", diverged=True),)))
        run(planner)
        rows = store.trials()
        assert Counter(row.role for row in rows)["confirm"] == 6
        (one,) = [one for one in load_study_data(store).confirmed if one.failed]
        assert without_seeds(one.trial.config) == without_seeds(lost)
        assert one.seeds == (0, 2)
        assert runs_due(space, rows) == []
        assert not Planner(space, store).has_work()


def test_a_configuration_with_one_run_is_not_preferred_over_confirmed_ones(tmp_path: Path) -> None:
    space = loads(SPACE)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        task: Assignment | None = until_confirmation(planner)
        first = candidates(store.trials(), top=1)
        while task is not None and task.kind == "confirm":
            if without_seeds(task.configs[0]) == without_seeds(first[0].config):
                assert not planner.fail(task, Failure(FailureKind.ERROR, "a bug"))
            else:
                planner.complete(task, result(task))
            task = planner.next_task()
        best = best_trial(store.trials())
        assert best is not None
        assert best.number != first[0].number
        assert len(load_study_data(store).confirmed) == 2


def test_a_worker_that_died_is_tried_again(tmp_path: Path) -> None:
    space = loads(SPACE)
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        task = until_confirmation(planner)
        assert planner.fail(task, Failure(FailureKind.WORKER_DIED, "killed"))
        again = planner.next_task()
        assert again is not None
        assert (again.is_retry, again.configs) == (True, task.configs)
        planner.complete(again, result(again))
        run(planner)
        assert {row.state for row in store.trials()} == {"COMPLETE"}
        assert len(store.trials()) == space.trials


def test_when_the_hours_are_over_no_run_begins_but_those_that_are_there_are_read(tmp_path: Path) -> None:
    space = loads(SPACE, overrides=["confirm={top: 1, seeds: 3}"])
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        task = until_confirmation(planner)
        planner.complete(task, result(task))
        planner.lifecycle.hours_are_over()
        assert {task.kind for task in run(planner)} == {"reading"}
        assert [row.config["stage1.seed"] for row in store.readings() if row.role == "fresh_seed"] == [1]
        later = Planner(space, store)
        assert later.has_work()
        assert [task.kind for task in run(later)] == ["confirm", "reading"]


def test_confirmation_may_be_asked_for_later_and_for_more(tmp_path: Path) -> None:
    plain = loads(SPACE, overrides=["confirm=null"])
    space, more = loads(SPACE), loads(SPACE, overrides=["confirm={top: 4, seeds: 4}", "budget.backbones=6"])
    assert plain.sha256 == space.sha256 == more.sha256
    with opened(plain, tmp_path) as store:
        run(Planner(plain, store))
        assert len(store.trials()) == plain.trials == SEARCH
        run(Planner(space, store))
        assert len(store.trials()) == space.trials
        planner = Planner(more, store)
        run(planner)
        assert len(load_study_data(store).confirmed) >= 4  # those of before are kept
        rows = store.trials()
        assert runs_due(more, rows) == []
        assert planner.tally.complete == planner.tally.total == len(rows)
