"""What goes wrong inside Tune's callbacks reaches `fit`'s caller, and nothing more is written; scratch is swept."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from ray.tune.search import Searcher

from search_spaces import loads
from studies.errors import StorageUnavailableError, StudyNotFoundError
from studies.locks.study_lock import study_lock
from studies.records import Failure, FailureKind
from tests.support.dispatchers import dispatcher_of
from trainers.results import JobResult, Progress
from tuner import cli
from tuner.endings import ending
from tuner.errors import UnreachableError, UsageError
from tuner.execution.bridge import DeathWatch, PlannerSearcher, SoftStop
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.messages import Report
from tuner.launch import checkpoint_seconds

SPACE = """
version: 1
name: away
task: {dataset: digits-lt}
stage1: {epochs: 1, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
stage2: {epochs: 1, weight_decay: {low: 1e-4, high: 1.0, log: true}}
budget: {backbones: 3, heads_per_backbone: 2, rounds: 1}
sampler: {stage1: random, stage2: random}
baselines: []
"""

EPOCH = Progress(stage=1, epoch=1, epochs=40, metrics={})


def said(content: Progress | JobResult | Failure) -> dict[str, Any]:
    """What a worker says, as Tune hands it on."""
    return Report(contents={0: content}, over=not isinstance(content, Progress)).to_tune()


@pytest.fixture
def dispatcher(tmp_path: Path) -> Iterator[Dispatcher]:
    with dispatcher_of(loads(SPACE), tmp_path) as made:
        yield made


def away(*_: Any, **__: Any) -> Any:
    raise StorageUnavailableError("the database is away")


def test_a_database_that_stays_away_ends_the_search_and_leaves_everything_adoptable(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, pretend: Callable[..., Any]
) -> None:
    searcher, stop = PlannerSearcher(dispatcher), SoftStop(dispatcher)
    assert searcher.suggest("a")
    assert searcher.suggest("b")
    with monkeypatch.context() as broken:
        broken.setattr(dispatcher.planner.store, "finish_job", away)
        searcher.on_trial_complete("a", said(Failure(FailureKind.ERROR, "x")))
        assert dispatcher.planner.lifecycle.error is None  # a failed job is written by another way
        searcher.on_trial_complete("b", said(pretend(dispatcher.held["b"][0])))
    assert isinstance(dispatcher.planner.lifecycle.error, StorageUnavailableError)
    assert searcher.suggest("c") == Searcher.FINISHED  # nothing is handed out, and nothing is waited for
    assert stop("d", said(EPOCH))
    states = [row.state for row in dispatcher.planner.store.trials()]
    assert states == ["FAIL", "FAIL", "RUNNING", "RUNNING"]


def test_a_study_that_optuna_deletes_ends_the_search_in_words_and_with_a_code(
    dispatcher: Dispatcher, pretend: Callable[..., Any]
) -> None:
    searcher, store = PlannerSearcher(dispatcher), dispatcher.planner.store
    assert searcher.suggest("a")
    task = dispatcher.held["a"][0]
    optuna.delete_study(study_name="away", storage=store.database.storage)
    searcher.on_trial_complete("a", said(pretend(task)))
    assert searcher.suggest("b") == Searcher.FINISHED
    assert isinstance(dispatcher.planner.lifecycle.error, StudyNotFoundError)
    assert "was deleted or renamed while it was open" in str(dispatcher.planner.lifecycle.error)
    found = ending(dispatcher.planner.lifecycle.error)
    assert found is not None
    assert found.code == 3


def test_after_an_error_what_is_under_way_ends_before_the_search_does(dispatcher: Dispatcher) -> None:
    searcher = PlannerSearcher(dispatcher)
    assert searcher.suggest("a")
    assert searcher.suggest("b")
    dispatcher.attend = away
    assert SoftStop(dispatcher)("a", said(EPOCH))
    assert searcher.suggest("c") is None
    searcher.on_trial_complete("a", said(EPOCH))
    assert searcher.suggest("c") is None
    DeathWatch(dispatcher).on_trial_error(0, [], SimpleNamespace(trial_id="b", error_file=None))
    assert searcher.suggest("c") == Searcher.FINISHED
    assert {row.state for row in dispatcher.planner.store.trials()} == {"RUNNING"}


def test_a_full_disk_under_a_worker_stops_the_study_and_fails_no_trial(dispatcher: Dispatcher) -> None:
    searcher = PlannerSearcher(dispatcher)
    searcher.suggest("a")
    searcher.on_trial_complete("a", said(Failure(FailureKind.DISK_FULL, "OSError: no space")))
    assert isinstance(dispatcher.planner.lifecycle.error, UnreachableError)
    assert "OSError: no space; nothing that was finished is lost" in str(dispatcher.planner.lifecycle.error)
    assert "tuner resume away" in str(dispatcher.planner.lifecycle.error)
    assert {row.state for row in dispatcher.planner.store.trials()} == {"RUNNING"}


def test_a_lock_on_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    url = f"sqlite:///{tmp_path / 'studies.db'}"
    with pytest.raises(StorageUnavailableError, match="No space left"), study_lock(url, "tail"):
        pass
    with (tmp_path / "studies.db.tail.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # it was let go


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (OSError(28, "No space left on device", "/runs/x"), 4, "/runs/x: No space left on device; make space"),
        (OSError(28, "No space left on device"), 4, "No space left on device; make space"),
        (PermissionError(13, "Permission denied", "/runs"), 1, "/runs: Permission denied"),
    ],
)
def test_a_disk_that_cannot_be_used_is_one_message_and_a_code(
    error: OSError, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(cli.typer.main, "get_command", lambda _: SimpleNamespace(main=fail))
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == code
    assert words in capsys.readouterr().err


def test_an_unnamed_system_error_is_a_defect(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(cli.typer.main, "get_command", lambda _: SimpleNamespace(main=fail))
    with pytest.raises(OSError, match="Input/output"):
        cli.main()


@pytest.mark.parametrize("text", ["soon", "-1", "nan", ""])
def test_seconds_between_checkpoints_must_be_a_number(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_CHECKPOINT_SECONDS", text)
    with pytest.raises(UsageError, match="TUNER_CHECKPOINT_SECONDS"):
        checkpoint_seconds()
    monkeypatch.setenv("TUNER_CHECKPOINT_SECONDS", "0.5")
    assert checkpoint_seconds() == 0.5
