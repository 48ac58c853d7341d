"""The wall clock is set a day forward or back while a study runs: nothing is lost, ends early, or lasts less than 0."""

from __future__ import annotations

import contextlib
import io
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from search_spaces import Space, load
from studies.figures.timeline import TimelineInfo, timeline_info
from studies.findings.headline import headline
from studies.locks.study_lock import study_lock
from studies.records import Failure, FailureKind
from studies.sql import writes
from studies.store import Store
from studies.study_data import load_study_data
from trainers.files.cache import Cache
from trainers.results import JobResult
from tuner.execution import ray_session
from tuner.execution.ray_session import scratch_folder, sweep_scratch
from tuner.hours import Hours
from tuner.search.planner import Planner
from tuner.terminal import time_left, watch
from tuner.terminal.time_left import Running

DAY = timedelta(days=1)


class Clock:
    """The wall clock of this process, and how far it is off."""

    def __init__(self) -> None:
        self.off = timedelta()

    def now(self, zone: tzinfo | None = None) -> datetime:
        return datetime.now(zone) + self.off

    def time(self) -> float:
        return time.time() + self.off.total_seconds()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (writes, time_left, watch):
        monkeypatch.setattr(module, "datetime", clock)
    monkeypatch.setattr(ray_session, "time", clock)
    return clock


@pytest.fixture
def space() -> Space:
    return load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4", "budget.hours=1"])


@pytest.fixture
def store(space: Space, tmp_path: Path) -> Iterator[Store]:
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(f"sqlite:///{tmp_path / 'studies.db'}", name=space.name, **known) as store:
        yield store


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_study_completes_and_nothing_lasts_less_than_no_time(
    jump: timedelta, clock: Clock, space: Space, store: Store, pretend: Callable[[Any], JobResult]
) -> None:
    planner = Planner(space, store)
    hours = Hours(store, space.budget.hours)
    tasks = 0
    while (task := planner.next_task()) is not None:
        tasks += 1
        clock.off += jump * (-1) ** tasks * tasks  # forward and back, further each time
        if hours.over:
            planner.lifecycle.hours_are_over()
        if tasks == 2:
            planner.fail(task, Failure(FailureKind.ERROR, "a reason"))
        else:
            planner.complete(task, pretend(task))
    assert planner.finished
    assert not planner.has_work()
    assert hours.spent < 3600
    rows = [row for row in store.trials() if row.started is not None and row.finished is not None]
    assert len(rows) == len(store.trials())
    assert all(row.finished >= row.started for row in rows if row.finished and row.started)
    data = load_study_data(store)
    info = timeline_info(data)
    assert isinstance(info, TimelineInfo)
    assert min(bar.hours for bar in info.jobs) >= 0
    assert min(*(bar.began for bar in info.jobs), *(mark.at for mark in info.readings)) >= 0
    assert headline(data).elapsed_hours >= 0


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_live_driver_is_not_called_dead(jump: timedelta, clock: Clock, space: Space, store: Store) -> None:
    Running(Planner(space, store))
    clock.off = jump
    with study_lock(store.database.url, store.name):
        assert "killed" not in shown(store)
    assert ("if it was killed: tuner resume" in shown(store)) is (jump == DAY)  # by then no driver has it


def shown(store: Store) -> str:
    console = Console(width=200, file=io.StringIO())
    console.print(watch.picture([watch.glance(store)]))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_live_scratch_folder_and_a_backbone_in_use_stay(
    jump: timedelta, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path / "cache")
    with (
        tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as short,  # for Ray's sockets
        monkeypatch.context() as place,
        cache.use("in-use"),
        contextlib.ExitStack() as driver,
    ):
        place.setattr("tempfile.tempdir", short)
        folder = driver.enter_context(scratch_folder())
        (tmp_path / "cache" / "in-use" / "backbone.safetensors").write_bytes(b"x" * 100)
        clock.off = jump
        assert sweep_scratch() == []
        assert folder.exists()
        cache.trim(0)
        cache.sweep()
        assert (tmp_path / "cache" / "in-use" / "backbone.safetensors").exists()
