"""What a driver shows of its run: lines for a log, a table for a terminal."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from search_spaces import Space, load
from studies.records import Failure, FailureKind
from studies.store import Store
from trainers.results import JobResult, Progress
from tuner.search.assignment import Assignment
from tuner.search.planner import Planner
from tuner.terminal.layout import detail, evenly_spaced
from tuner.terminal.live import HEARTBEAT, LiveTable, PlainLines, Watchers
from tuner.terminal.time_left import Running

EPOCH = Progress(stage=1, epoch=4, epochs=40, metrics={}, images_per_second=1234.5)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def space() -> Space:
    budget = ["budget.backbones=1", "budget.heads_per_backbone=4", "budget.rounds=1", "budget.fresh_seeds=2"]
    return load("wd_maxnorm.yaml", overrides=budget)


@pytest.fixture
def planner(space: Space, tmp_path: Path) -> Iterator[Planner]:
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(f"sqlite:///{tmp_path / 'studies.db'}", name="shown", **known) as store:
        yield Planner(space, store)


def asked(planner: Planner) -> Assignment:
    task = planner.next_task()
    assert task is not None
    return task


def test_a_log_gets_a_line_for_each_trial_and_reading(planner: Planner, pretend: Callable[..., JobResult]) -> None:
    stream = io.StringIO()
    running = Running(planner)
    told = Watchers(running, PlainLines(planner, running, stream=stream))
    while (task := planner.next_task()) is not None:
        told.started("a", task)
        told.progressed("a", EPOCH)
        result = pretend(task)
        planner.complete(task, result)
        told.ended("a", task, result)
    lines = stream.getvalue().splitlines()
    assert lines[1].startswith("trial=1 state=COMPLETE val.balanced_accuracy=")
    assert lines[4].endswith("done=5/5")
    assert [line.split()[1] for line in lines if line.startswith("reading=fresh_seed")] == ["seed=1", "seed=2"]
    assert not running.rows


def test_what_takes_the_time_after_the_last_job_is_said(planner: Planner, pretend: Callable[..., JobResult]) -> None:
    stream, screen = io.StringIO(), io.StringIO()
    running = Running(planner)
    shown = [PlainLines(planner, running, stream=stream)]
    live = LiveTable(planner, running, name="shown", console=Console(file=screen, force_terminal=True, width=80))
    told = Watchers(running, *shown, live)
    jobs = []
    while (task := planner.next_task()) is not None:
        told.started("a", task)
        jobs.append(running.rows[0])
        result = pretend(task)
        planner.complete(task, result)
        told.ended("a", task, result)
    names = [row.what for row in jobs]
    assert names[:2] == ["naive baseline", "backbone 0"]
    assert [name for name in names if name.startswith("fresh")] == ["fresh seed 1", "fresh seed 2"]
    assert all(detail(row).startswith("reading test") for row in jobs if row.reading)
    assert any(row.reading for row in jobs)
    for one in (*shown, live):
        one.close()
    assert stream.getvalue().splitlines()[-1] == "writing=report"
    assert screen.getvalue().rstrip().splitlines()[-1].count("writing the report") == 1


def test_a_search_that_was_stopped_announces_no_report(planner: Planner) -> None:
    stream = io.StringIO()
    planner.lifecycle.stop_is_requested()
    PlainLines(planner, Running(planner), stream=stream).close()
    assert stream.getvalue() == ""


def test_a_terminal_says_that_it_stops_and_has_stopped(planner: Planner) -> None:
    screen = io.StringIO()
    running, task = Running(planner), asked(planner)
    live = LiveTable(planner, running, name="shown", console=Console(file=screen, force_terminal=True, width=80))
    told = Watchers(running, live)
    told.started("a", task)
    planner.lifecycle.stop_is_requested()
    live._live.refresh()
    assert "stopping" in screen.getvalue()
    told.ended("a", task, None)
    live.close()
    last = screen.getvalue().rpartition("stopping")[2]
    assert "stopped" in last


def test_a_log_hears_of_long_jobs_once_a_minute(planner: Planner) -> None:
    stream, clock = io.StringIO(), Clock()
    running = Running(planner, clock=clock)
    told = Watchers(running, PlainLines(planner, running, stream=stream, clock=clock))
    told.started("a", asked(planner))
    for _ in range(30):
        clock.now += HEARTBEAT / 10
        told.progressed("a", EPOCH)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert 'running="naive baseline: stage 1 · epoch 4/40 · 1,234 images/s"' in lines[0]
    assert "done=0/5 best=none" in lines[0]


def test_a_lost_job_says_why_in_both(planner: Planner) -> None:
    stream, screen = io.StringIO(), io.StringIO()
    running, task = Running(planner), asked(planner)
    live = LiveTable(planner, running, name="shown", console=Console(file=screen, force_terminal=True, width=80))
    told = Watchers(running, PlainLines(planner, running, stream=stream), live)
    told.started("a", task)
    failure = Failure(FailureKind.DIVERGED, "stage 1: the loss is [nan]")
    planner.fail(task, failure)
    told.ended("a", task, failure)
    live.close()
    assert stream.getvalue() == 'trial=0 state=FAIL reason="stage 1: the loss is [nan]"\n'
    told.started("b", second := asked(planner))
    told.ended("b", second, Failure(FailureKind.WORKER_DIED, "the worker process died"), again=True)
    assert 'state=RETRY reason="the worker process died"' in stream.getvalue()
    assert "stage 1: the loss is [nan]" in screen.getvalue()


def test_a_terminal_shows_table_and_bars_within_80_columns(planner: Planner, pretend: Callable[..., JobResult]) -> None:
    screen, clock = io.StringIO(), Clock()
    running = Running(planner, clock=clock)
    live = LiveTable(planner, running, name="a-study-of-mine", console=Console(file=screen, width=80))
    told = Watchers(running, live)
    first = asked(planner)
    told.started("a", first)
    told.started("b", asked(planner))
    told.progressed("b", EPOCH)
    planner.complete(first, result := pretend(first))
    told.ended("a", first, result)
    drawn = Console(file=io.StringIO(), width=80)
    drawn.print(live.draw())
    live.close()
    text = str(drawn.file.getvalue())  # type: ignore[attr-defined]
    assert "a-study-of-mine" in text
    assert "1/5" in text
    assert "backbone 0" in text
    assert "stage 1 · epoch 4/40 · 1,234 images/s" in text
    assert "…" not in text


def test_a_long_course_is_thinned_to_its_end() -> None:
    assert evenly_spaced([1.0, 2.0]) == [1.0, 2.0]
    course = evenly_spaced([float(value) for value in range(1000)])
    assert len(course) == 10
    assert course[-1] == 999.0
