"""The search takes up points that wait before it asks its samplers, within the budget, and none twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from search_spaces import Space, loads
from studies.records import Failure, FailureKind
from studies.store import Store
from trainers.results import JobResult
from tuner.search.assignment import Assignment
from tuner.search.planner import Planner

SPACE = """
version: 1
name: known
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 1, lr: {low: 1e-2, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
stage2:
  epochs: 1
  loss: {choices: [cb_ce, vs]}
  gamma: {low: 0.1, high: 1.0, when: {stage2.loss: vs}}
  lr: {low: 1e-3, high: 1, log: true}
budget: {backbones: 4, heads_per_backbone: 4, rounds: 2}
sampler: {stage1: gp, stage2: tpe, seed: 3}
baselines: []
"""
STAGE1 = {"stage1.lr": 0.05, "stage1.weight_decay": 5e-3}
HEAD = {"stage2.loss": "cb_ce", "stage2.lr": 0.2}


@pytest.fixture
def space() -> Space:
    return loads(SPACE)


def opened(space: Space, folder: Path) -> Store:
    return Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}", name=space.name, space_yaml=space.to_yaml(), space_sha256=space.sha256,
        objective=space.objective,
    )  # fmt: skip


@pytest.fixture
def store(space: Space, tmp_path: Path) -> Any:
    with opened(space, tmp_path) as found:
        yield found


def jobs(planner: Planner, pretend: Callable[..., JobResult], *, at_most: int = 1000) -> list[Assignment]:
    """Runs task after task of the search."""
    done: list[Assignment] = []
    while len(done) < at_most and (task := planner.next_task()) is not None:
        planner.complete(task, pretend(task))
        done += [task] * (task.job is not None)
    return done


def params(store: Store, number: int) -> dict[str, Any]:
    return dict(next(row for row in store.trials() if row.number == number).params)


def test_a_point_is_the_first_head_of_the_next_backbone_under_its_own_number(
    space: Space, store: Store, pretend: Any
) -> None:
    planner = Planner(space, store)
    jobs(planner, pretend, at_most=3)  # a backbone with both rounds, and the next one's first
    number = store.enqueue({**STAGE1, "stage2.lr": 0.2})
    second, taken, *others = jobs(planner, pretend)
    assert second.job is not None
    assert second.job.backbone_index == 1  # its second round came first
    assert taken.job is not None
    assert (taken.job.backbone_index, taken.job.numbers[0]) == (2, number)
    found = params(store, number)
    assert found.items() >= {**STAGE1, "stage2.lr": 0.2}.items()
    assert found["stage2.loss"] in ("cb_ce", "vs")  # by the sampler
    assert planner.finished
    assert len(store.trials()) == space.trials == 16
    assert [row.number for row in store.trials()] == list(range(16))
    assert len(others) == 3
    assert store.waiting() == []


def test_after_the_points_the_search_begins_as_without_them(space: Space, tmp_path: Path, pretend: Any) -> None:
    """With the middle of the ranges, then an even spread."""
    found = []
    for name, point in (("a", None), ("b", STAGE1)):
        (tmp_path / name).mkdir()
        with opened(space, tmp_path / name) as store:
            if point:
                store.enqueue(point)
            done = jobs(Planner(space, store), pretend)
            found.append([task.configs[0]["stage1.lr"] for task in done if task.job and task.job.round == 0])
    plain, started = found
    assert started[0] == 0.05
    assert started[1:] == plain[:3]


def test_the_queue_is_read_only_when_a_point_could_be_tried(
    space: Space, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    read = store.waiting
    monkeypatch.setattr(store, "waiting", lambda: asked.append(1) or read())
    planner = Planner(space, store)
    assert [planner.next_task() is not None for _ in range(5)] == [True] * 4 + [False]
    assert len(asked) == 4  # with four backbones under way nothing can be tried


def test_a_part_of_a_point_is_filled_in_and_known_stage_1_gets_one_more_head(
    space: Space, store: Store, pretend: Any
) -> None:
    first = store.enqueue(STAGE1)
    planner = Planner(space, store)
    jobs(planner, pretend, at_most=1)
    head = store.enqueue({**STAGE1, **HEAD})
    part = store.enqueue({"stage1.weight_decay": 2e-3, "stage2.loss": "vs", "stage2.gamma": 0.3})
    second, third = jobs(planner, pretend, at_most=2)
    assert second.job is not None
    assert (second.job.backbone_index, second.job.round, second.job.numbers[0]) == (0, 1, head)
    assert params(store, head) == {**STAGE1, **HEAD}
    assert third.job is not None
    assert (third.job.backbone_index, third.job.numbers[0]) == (1, part)
    assert params(store, part)["stage1.weight_decay"] == 2e-3
    assert params(store, part)["stage2.gamma"] == 0.3
    assert params(store, first).items() >= STAGE1.items()
    jobs(planner, pretend)
    assert len(store.trials()) == 16


def test_several_points_with_one_stage_1_share_a_backbone(space: Space, store: Store, pretend: Any) -> None:
    numbers = [store.enqueue({**STAGE1, "stage2.loss": "cb_ce", "stage2.lr": lr}) for lr in (0.1, 0.2, 0.3, 0.4, 0.5)]
    planner = Planner(space, store)
    first, second = jobs(planner, pretend, at_most=2)
    assert first.job is not None
    assert second.job is not None
    assert (*first.job.numbers, *second.job.numbers) == tuple(numbers[:4])
    jobs(planner, pretend)
    assert len(store.trials()) == 16
    assert [one.number for one in planner.waiting()] == numbers[4:]  # the backbone has had its four heads
    assert planner.search.lacking([one.point for one in planner.waiting()]) == {"budget.heads_per_backbone": 5}
    larger = loads(SPACE.replace("heads_per_backbone: 4", "heads_per_backbone: 5"))
    jobs(Planner(larger, store), pretend)
    assert len(store.trials()) == larger.trials == 20
    assert params(store, numbers[4])["stage2.lr"] == 0.5


def test_start_points_come_before_enqueued_ones(tmp_path: Path, pretend: Any) -> None:
    space = loads(SPACE + "start: [{stage1.lr: 0.3, stage2.lr: 0.5}, {stage1.lr: 0.4}]\n")
    with opened(space, tmp_path) as store:
        number = store.enqueue(STAGE1)
        planner = Planner(space, store)
        firsts = [task.configs[0] for task in jobs(planner, pretend) if task.job and task.job.round == 0]
        assert [config["stage1.lr"] for config in firsts[:3]] == [0.3, 0.4, 0.05]
        assert params(store, number).items() >= STAGE1.items()


def test_beyond_the_budget_a_point_waits_for_a_larger_one(space: Space, store: Store, pretend: Any) -> None:
    jobs(Planner(space, store), pretend)
    number = store.enqueue(STAGE1)
    planner = Planner(space, store)
    assert not planner.has_work()
    assert planner.search.lacking([STAGE1]) == {"budget.backbones": 5}
    larger = loads(SPACE.replace("backbones: 4", "backbones: 5"))
    first, *_ = jobs(Planner(larger, store), pretend)
    assert first.job is not None
    assert first.job.numbers[0] == number
    assert len(store.trials()) == larger.trials


@pytest.mark.parametrize("lost", ["before", "in the middle", "after"])
def test_a_kill_neither_loses_a_point_nor_runs_it_twice(space: Space, tmp_path: Path, pretend: Any, lost: str) -> None:
    """Each planner is a driver that dies; an uninterrupted one over a database of its own is the measure."""
    found = []
    for name in ("whole", "killed"):
        (tmp_path / name).mkdir()
        with opened(space, tmp_path / name) as store:
            planner = Planner(space, store)
            jobs(planner, pretend, at_most=2)
            number = store.enqueue({**STAGE1, **HEAD})
            if name == "killed" and lost == "before":
                planner = Planner(space, store)
            if name == "killed" and lost == "in the middle":
                task = planner.next_task()
                assert task is not None
                assert task.job is not None
                assert task.job.numbers[0] == number
                planner = Planner(space, store)
            if name == "killed" and lost == "after":
                jobs(planner, pretend, at_most=1)
                planner = Planner(space, store)
            jobs(planner, pretend)
            found.append([(row.number, row.state, row.params, row.value) for row in store.trials()])
            assert params(store, number) == {**STAGE1, **HEAD}
    assert found[0] == found[1]
    assert len(found[0]) == space.trials


def test_two_drivers_of_the_same_rows_propose_alike(space: Space, store: Store, pretend: Any) -> None:
    jobs(Planner(space, store), pretend, at_most=2)
    store.enqueue({"stage1.lr": 0.3})
    one, two = Planner(space, store), Planner(space, store)
    asked = [planner.search.next(searching=False, waiting=planner.waiting) for planner in (one, two)]
    assert asked[0] == asked[1]
    assert asked[0] is not None
    assert asked[0].stage1["stage1.lr"] == 0.3


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        ({"stage1.lrr": 1}, "stage1.lrr: unknown parameter 'stage1.lrr'; did you mean 'stage1.lr'?"),
        ({"stage1.lr": 2}, "stage1.lr: 2 is outside the range 0.01 to 1"),
        ({"stage1.lr": float("nan")}, "stage1.lr: nan is outside the range 0.01 to 1"),
        ({"stage1.lr": [0.1]}, "stage1.lr: must be one value, but got a list"),
        ({"stage1.epochs": 9}, "stage1.epochs: is fixed at 1 in this study, but got 9"),
        ({"stage2.loss": "ldam"}, "stage2.loss: 'ldam' is not among its choices: cb_ce, vs"),
        ({"stage2.loss": "cb_ce", "stage2.gamma": 0.3}, "stage2.gamma: exists only with stage2.loss: vs"),
        ({"task.model": "resnet20"}, "task is the same for the whole study"),
    ],
)
def test_a_bad_point_fails_with_a_reason_and_stops_nothing(
    space: Space, store: Store, pretend: Any, caplog: pytest.LogCaptureFixture, point: dict[str, Any], reason: str
) -> None:
    study = optuna.load_study(study_name=space.name, storage=store.database.storage)
    study.enqueue_trial(point)
    planner = Planner(space, store)
    with caplog.at_level(logging.WARNING, logger="tuner"):
        jobs(planner, pretend)
    said = [record.getMessage() for record in caplog.records if "enqueued" in record.getMessage()]
    assert len(said) == 1
    assert reason in said[0]
    assert reason in study.trials[0].user_attrs["refused"]
    assert study.trials[0].state.name == "FAIL"
    assert len(store.trials()) == space.trials
    assert planner.tally.failed == 0
    assert planner.finished


def test_a_configuration_that_was_tried_is_not_tried_again(space: Space, store: Store, pretend: Any) -> None:
    number = store.enqueue({**STAGE1, **HEAD})
    planner = Planner(space, store)
    jobs(planner, pretend, at_most=1)
    again = store.enqueue({**STAGE1, **HEAD})
    assert again != number
    jobs(planner, pretend)
    study = optuna.load_study(study_name=space.name, storage=store.database.storage)
    assert "has finished before" in study.trials[again].user_attrs["refused"]
    assert len(store.trials()) == 16


def test_the_stage_1_of_a_failed_backbone_may_be_tried_again(space: Space, store: Store, pretend: Any) -> None:
    store.enqueue({**STAGE1, **HEAD})
    planner = Planner(space, store)
    task = planner.next_task()
    assert task is not None
    planner.fail(task, Failure(FailureKind.NOT_RUN, "no power"))
    assert planner.search.home_of(STAGE1) == 0
    planner.search.budget.accounts[0].lost = True
    number = store.enqueue({**STAGE1, **HEAD})
    again = planner.next_task()
    assert again is not None
    assert again.job is not None
    assert (again.job.backbone_index, again.job.numbers[0]) == (1, number)


def test_a_space_with_one_stage_1_takes_points_as_heads(tmp_path: Path, pretend: Any) -> None:
    text = SPACE.replace("lr: {low: 1e-2, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}", "")
    space = loads(text)
    with opened(space, tmp_path) as store:
        numbers = [store.enqueue({**HEAD, "stage2.lr": lr}) for lr in (0.1, 0.2, 0.3)]
        jobs(Planner(space, store), pretend)
        assert [params(store, n)["stage2.lr"] for n in numbers] == [0.1, 0.2, 0.3]
        assert len(store.trials()) == space.trials == 4


def test_a_part_that_would_be_a_known_backbone_gets_another_one(tmp_path: Path, pretend: Any) -> None:
    lists = "lr: {choices: [0.1, 0.2]}, weight_decay: {choices: [0.01, 0.02]}"
    space = loads(
        SPACE.replace("lr: {low: 1e-2, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}", lists)
    )
    with opened(space, tmp_path) as store:
        planner = Planner(space, store)
        jobs(planner, pretend, at_most=2)
        known = dict(planner.search.budget.accounts[0].params)
        number = store.enqueue({"stage1.lr": known["stage1.lr"]})
        jobs(planner, pretend)
        found = params(store, number)
        assert found["stage1.lr"] == known["stage1.lr"]
        assert found["stage1.weight_decay"] != known["stage1.weight_decay"]
        assert len(store.trials()) == space.trials == 16
        assert len({str(account.params) for account in planner.search.budget.accounts.values()}) == 4
