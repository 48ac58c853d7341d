"""What runs: kept in the database for others, with a time left by measured speed, and never in the search's way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from search_spaces import load
from studies.store import Store
from trainers.results import JobResult, Progress
from tuner.search.assignment import Assignment
from tuner.search.planner import Planner
from tuner.terminal.time_left import Running
from tuner.terminal.watch import glance


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=4", "budget.heads_per_backbone=4"])
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(f"sqlite:///{tmp_path / 'studies.db'}", name="runs", **known) as opened:
        opened.set_state("running")
        yield opened


@pytest.fixture
def planner(store: Store) -> Planner:
    return Planner(load("wd_maxnorm.yaml", overrides=["budget.backbones=4", "budget.heads_per_backbone=4"]), store)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def epoch(number: int, *, stage: int = 1) -> Progress:
    return Progress(stage=stage, epoch=number, epochs=40, metrics={}, images_per_second=900.0)


def asked(planner: Planner) -> Assignment:
    task = planner.next_task()
    assert task is not None
    return task


def test_others_see_what_runs_and_it_is_written_seldom(planner: Planner, store: Store) -> None:
    clock = Clock()
    running = Running(planner, clock=clock)
    assert store.progress() is not None
    assert store.progress().running == ()  # type: ignore[union-attr]
    running.started("a", asked(planner))
    running.started("b", asked(planner))
    assert [row.what for row in glance(store).jobs] == ["naive baseline", "backbone 0"]
    clock.now = 0.5
    running.progressed("a", epoch(1))
    assert glance(store).jobs[0].epoch == 0  # kept in memory, not written yet
    clock.now = 2.5
    running.progressed("a", epoch(3))
    seen = glance(store).jobs[0]
    assert (seen.stage, seen.epoch, seen.epochs, seen.images_per_second) == (1, 3, 40, 900.0)


def test_the_time_left_is_measured_from_the_first_word_of_a_worker(
    planner: Planner, pretend: Callable[[Assignment], JobResult]
) -> None:
    clock = Clock()
    running = Running(planner, clock=clock)
    running.started("a", asked(planner))
    clock.now = 100.0  # the worker's start, paid once
    running.progressed("a", epoch(1))
    assert running.seconds_left() is None
    clock.now = 119.5
    running.progressed("a", epoch(40))
    early = running.seconds_left()
    assert early is not None
    assert 60 < early < 400  # some five trainings of about 22 s each, and the jobs on cached backbones
    running.ended("a", task := asked(planner), pretend(task))
    clock.now = 200.0
    later = running.seconds_left()
    assert later is not None
    assert later > early  # nothing has moved since


def test_what_cannot_be_written_does_not_end_the_search(
    planner: Planner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(planner.store, "keep_progress", broken)
    running = Running(planner)
    running.started("a", asked(planner))
    assert len(running.rows) == 1
    assert "no space left on device" in caplog.text


def test_nothing_of_an_ended_study_is_shown(planner: Planner, store: Store, pretend: Callable[..., Any]) -> None:
    running = Running(planner)
    running.started("a", asked(planner))
    store.set_state("stopped")
    assert glance(store).jobs == ()


def test_a_short_schedule_counts_by_its_epochs(store: Store, pretend: Callable[[Assignment], JobResult]) -> None:
    """A second an epoch and four for the heads: a full training takes 40 seconds, one of an eighth takes 8.5."""
    space = load("wd_maxnorm.yaml", overrides=["stage1.epochs=40", "fidelity.epochs=[5, 40]", "baselines=[]"])
    planner, clock = Planner(space, store), Clock()
    running = Running(planner, clock=clock)
    task = asked(planner)
    assert task.kind == "rung"
    running.started("a", task)
    running.progressed("a", Progress(stage=1, epoch=0, epochs=5, metrics={}, images_per_second=900.0))

    def expected(more: float) -> Any:
        trainings, others = planner.work_left
        return pytest.approx(40 * (trainings + 0.25 * others + more))

    clock.now = 4.5
    running.progressed("a", Progress(stage=1, epoch=5, epochs=5, metrics={}, images_per_second=900.0))
    assert running.seconds_left() == expected(0.1)  # its heads
    clock.now = 8.5
    result = pretend(task)
    planner.complete(task, result)
    running.ended("a", task, result)
    assert running.seconds_left() == expected(0)


def test_an_interrupted_short_schedule_counts_by_its_epochs(store: Store) -> None:
    space = load("wd_maxnorm.yaml", overrides=["stage1.epochs=40", "fidelity.epochs=[5, 40]", "baselines=[]"])
    planner = Planner(space, store)
    task = asked(planner)
    trainings, others = planner.work_left
    planner.interrupted(task)
    assert planner.work_left == (pytest.approx(trainings + 0.1 + 0.9 / 8), others)
