"""Watching a study by its database: a line a change, an end when it ends, a time left from measured speed."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from search_spaces import load
from studies.locks.study_lock import study_lock
from studies.records import RunningRow, TrialRow
from studies.store import Store
from trainers.results import JobResult
from tuner.cli import app
from tuner.search.planner import Planner
from tuner.terminal.watch import Glance, glance, line, picture, seconds_left, show, watch

START = datetime(2026, 1, 1, tzinfo=UTC)


def looked(*, state: str = "running", complete: int = 0, left: float | None = None) -> Glance:
    best = {"number": 2, "value": 0.5, "params": {}} if complete else None
    counts = {"complete": complete, "pruned": 0, "failed": 0, "running": 1}
    status = {"study": "s", "state": state, "trials": counts, "best": best}
    return Glance(status=status, total=4, few=0.25, course=(0.1, 0.5)[:complete], seconds_left=left)


def row(number: int, *, began: float, ended: float | None) -> TrialRow:
    return TrialRow(
        number=number,
        state="RUNNING" if ended is None else "COMPLETE",
        value=None,
        params={},
        config={},
        metrics={},
        role="search",
        job=1,
        backbone=None,
        backbone_index=0,
        round=0,
        started=START + timedelta(seconds=began),
        finished=None if ended is None else START + timedelta(seconds=ended),
    )


def test_watching_ends_with_the_study_and_tells_changes() -> None:
    course = iter([looked(left=9), looked(left=8), looked(complete=1), looked(state="stopped", complete=1)])
    pauses: list[float] = []
    seen = list(watch(lambda: [next(course)], every=2.0, pause=pauses.append))
    assert [changed for _, changed in seen] == [True, False, True, True]
    assert pauses == [2.0] * 3


def test_it_goes_on_while_any_study_runs() -> None:
    other = looked(state="done")
    looks = iter([[looked(), other], [looked(state="done"), other]])
    assert len(list(watch(lambda: next(looks), every=0, pause=lambda _: None))) == 2


def test_a_line_for_each_change_and_no_other() -> None:
    still = dataclasses.replace(looked(state="done"), status={**looked(state="done").status, "study": "still"})
    seen = [([looked(), still], True), ([looked(), still], False), ([looked(state="done", complete=2), still], True)]
    file = io.StringIO()
    show(iter(seen), console=Console(file=file), as_json=False)
    assert file.getvalue().splitlines() == [
        "study=s state=running done=0/4 running=1 failed=0 best=none few=0.2500",
        "study=still state=done done=0/4 running=1 failed=0 best=none few=0.2500",
        "study=s state=done done=2/4 running=1 failed=0 best=0.5000 few=0.2500",
    ]


def test_json_lines_even_on_a_terminal() -> None:
    file = io.StringIO()
    show(iter([([looked(left=7.5)], True)]), console=Console(file=file, force_terminal=True), as_json=True)
    more = {"total": 4, "few": 0.25, "seconds_left": 7.5, "jobs": []}
    assert json.loads(file.getvalue()) == {**looked().status, **more}
    assert json.loads(line(looked(), as_json=True))["seconds_left"] is None


def test_a_terminal_shows_one_table_that_fits_it() -> None:
    file = io.StringIO()
    seen: Iterator[Any] = iter([([looked(complete=2, left=120)], True)])
    show(seen, console=Console(file=file, force_terminal=True, width=80), as_json=False)
    assert all(word in file.getvalue() for word in ("50.0 % #2", "25.0 %", "2.0 min", "2/4", "▁█"))
    long = dataclasses.replace(looked(complete=2, left=1e5), course=tuple(i / 500 for i in range(500)))
    wide = Console(width=80, file=io.StringIO())
    wide.print(picture([long]))
    assert "…" not in wide.file.getvalue()  # type: ignore[attr-defined]


def drawn(*found: Glance) -> str:
    console = Console(width=80, file=io.StringIO())
    console.print(picture(found))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_each_job_has_a_bar_with_what_it_does() -> None:
    training = RunningRow(what="backbone 3", heads=16, stage=1, epoch=4, epochs=40, images_per_second=1234.5)
    jobs = (training, RunningRow(what="naive baseline", stage=1), RunningRow(what="backbone 1", heads=16, stage=2))
    shown = drawn(dataclasses.replace(looked(), jobs=jobs))
    assert "stage 1 · epoch 4/40 · 1,234 images/s" in shown
    assert "starting" in shown
    assert "stage 2 · 16 heads" in shown
    assert shown.count("━") >= 16 + 1  # the whole bar of a job in stage 2, and the beginning of one
    assert "tuner resume" not in shown


def test_a_driver_that_is_silent_is_told_with_the_way_out() -> None:
    assert "last reported 90 s ago" not in drawn(dataclasses.replace(looked(), silent=30.0))
    assert "last reported 5.0 min ago; if it was killed: tuner resume s" in drawn(
        dataclasses.replace(looked(), silent=300.0)
    )
    assert "tuner resume" not in drawn(dataclasses.replace(looked(state="done"), silent=300.0))


def test_time_left_is_the_speed_of_finished_trials_without_pauses() -> None:
    now = START + timedelta(seconds=1000)
    assert seconds_left([], 4, now=now) is None
    two = [row(0, began=0, ended=10), row(1, began=900, ended=910)]  # stopped in between
    assert seconds_left(two, 4, now=now) == pytest.approx(20)
    parallel = [row(0, began=0, ended=10), row(1, began=0, ended=10)]
    assert seconds_left(parallel, 4, now=now) == pytest.approx(10)
    open_one = [*two, row(2, began=990, ended=None)]
    assert seconds_left(open_one, 4, now=now) == pytest.approx(30)
    assert seconds_left(two, 2, now=now) == 0


def test_a_study_in_its_database_is_watched_to_its_end(
    tmp_path: Path, pretend: Callable[..., JobResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=1", "budget.heads_per_backbone=4"])
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(url, name="w", **known) as store:
        planner = Planner(space, store)
        task = planner.next_task()
        assert task is not None
        assert glance(store).running
        planner.complete(task, pretend(task))
        one = glance(store)
        assert one.done == len(task.configs)
        assert one.total == space.trials
        assert one.seconds_left is not None
        store.set_state("stopped")
    ran = CliRunner().invoke(app, ["status", "w", "--watch", "--json", "--storage", url])
    (answer,) = map(json.loads, ran.stdout.splitlines())
    assert answer["state"] == "stopped"
    pareto = CliRunner().invoke(app, ["best", "w", "--pareto", "--json", "--storage", url])
    assert isinstance(json.loads(pareto.stdout), list)

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuner.terminal.watch.show", interrupted)
    ran = CliRunner().invoke(app, ["status", "w", "--watch", "--storage", url])
    assert ran.exit_code == 130
    assert "resume" not in ran.output  # the study itself was not stopped


def test_a_space_of_another_release_hides_no_study(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    Store.create_or_open(
        url, name="old", space_yaml="version: 0", space_sha256="0", objective="val.balanced_accuracy"
    ).close()
    (answer,) = json.loads(CliRunner().invoke(app, ["status", "--json", "--storage", url]).stdout)
    assert (answer["study"], answer["total"]) == ("old", None)
    assert "0/?" in CliRunner().invoke(app, ["status", "--storage", url]).stdout


def test_stopping_a_study_whose_driver_has_died_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with Store.create_or_open(
        url, name="left", space_yaml="version: 0", space_sha256="0", objective="val.balanced_accuracy"
    ) as store:
        store.set_state("running")
        with study_lock(url, "left"):
            asked = CliRunner().invoke(app, ["stop", "left", "--storage", url])
        assert "asked left to stop" in asked.stdout
        assert store.stop_requested() == "soft"
        assert store.study().state == "running"
        told = CliRunner().invoke(app, ["stop", "left", "--storage", url])
        assert "the driver of left has died; continue with: tuner resume left" in told.stdout
        assert store.study().state == "stopped"
