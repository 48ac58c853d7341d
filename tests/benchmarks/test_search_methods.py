"""The comparison of searches: what is kept, what the next call still runs, and the table. No Ray, no training."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from benchmarks import search_methods, search_methods_course
from benchmarks.search_methods_course import VALUE, Course
from benchmarks.search_methods_found import Found, all_kept, keep, keep_under_way, kept, table, under_way
from trainers.errors import DivergedError
from trainers.results import BackboneResult, EpochResult, HeadResult, JobResult, Progress

CURVES = {"two-level": (0.2, 0.3, 0.25), "rungs": (None, 0.3), "optuna": (0.1, 0.25), "asha": (None, 0.2)}


def found(method, seed=0, *, values=None, test=0.2):
    rows = tuple((4 if value is None else 12, value) for value in values or CURVES[method])
    return Found(method=method, seed=seed, trainings=rows, test=test, chosen={"stage1.lr": 0.1}, seconds=36.0)


def test_a_result_is_read_as_it_was_written(tmp_path):
    one = found("rungs")
    keep(one, tmp_path)
    assert kept(tmp_path, "rungs", 0) == one
    assert kept(tmp_path, "rungs", 1) is None
    assert all_kept(tmp_path, [0, 1]) == [one]


def test_a_curve_counts_every_epoch_and_only_what_can_be_chosen():
    assert found("rungs").curve == ((4, 0.0), (16, 0.3))
    assert found("two-level").curve == ((12, 0.2), (24, 0.3), (36, 0.3))
    assert [found("two-level").reaches(value) for value in (0.1, 0.3, 0.31)] == [12, 24, None]


def test_the_table_has_what_is_there():
    partial = table([found("two-level"), found("optuna"), found("asha"), found("two-level", 1, test=0.3)])
    assert partial[2] == "| two-level | 2 | 30.0 ± 0.0 | 25.0 ± 7.1 | 36.0 ± 0.0 | 3 (3) | 24 | 20.0 | 30.0 |"
    assert partial[3:] == [
        "| OptunaSearch of Tune | 1 | 25.0 | 20.0 | 24.0 | 2 (2) | 24 | 20.0 |  |",
        "| ASHA of Tune | 1 | 20.0 | 20.0 | 16.0 | 2 (1) | > 16 | 20.0 |  |",
    ]
    assert len({line.count("|") for line in partial}) == 1


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """Processes that find something at once, but for what `fails` says."""
    ran, fails = [], set()

    def run(command):
        method, seed = command[command.index("--piece") + 1 :][:2]
        ran.append((method, int(seed)))
        if ran[-1] not in fails:
            keep(found(method, int(seed)), tmp_path / "home")
        return ran[-1] not in fails

    monkeypatch.setattr(search_methods, "_ran", run)
    monkeypatch.setattr(search_methods, "RESULT", tmp_path / "result.json")
    monkeypatch.setattr(search_methods, "hardware", dict)  # it would load torch

    def call(*options):
        ran.clear()
        code = search_methods.main([str(tmp_path), str(tmp_path / "home"), *options])
        return code, list(ran)

    return SimpleNamespace(call=call, fails=fails, result=tmp_path / "result.json")


def test_the_next_call_runs_what_is_missing_seed_by_seed(calls, capsys):
    calls.fails.add(("rungs", 0))
    everything = [(method, seed) for seed in (0, 1) for method in search_methods.METHODS]
    assert calls.call("--seeds", "0", "1") == (1, everything)
    assert "failed: rungs, seed 0" in capsys.readouterr().err
    calls.fails.clear()
    assert calls.call("--seeds", "0", "1") == (0, [("rungs", 0)])
    rows = json.loads(calls.result.read_text())["found"]
    assert [(row["method"], row["seed"]) for row in rows] == everything
    assert rows[1]["curve"] == [[4, 0.0], [16, 0.3]]
    assert calls.call("--only", "asha", "--only", "optuna") == (0, [("optuna", 2), ("asha", 2)])


def test_looking_runs_nothing(calls, capsys):
    assert calls.call("--table", "--set", "task.max_count=9") == (0, [])  # and pins no sizes
    assert capsys.readouterr().out == "no search is done yet\n"
    calls.call("--only", "optuna", "--seeds", "0")
    capsys.readouterr()
    assert calls.call("--list", "--seeds", "0") == (0, [])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["two-level, seed 0: 0 of 72 epochs", "rungs, seed 0: 0 of 72 epochs", "optuna, seed 0: done"]
    assert lines[-1] == "left: about 5 minutes, at 1.5 s an epoch with all that belongs to it"


def test_other_sizes_need_another_folder(calls):
    calls.call("--only", "asha")
    with pytest.raises(SystemExit, match="other settings"):
        calls.call("--set", "task.max_count=1500")


def test_how_far_a_search_is_does_not_fall(tmp_path):
    for epochs in (12, 2):
        keep_under_way(tmp_path, "asha", 0, epochs=epochs)
    assert under_way(tmp_path, "asha", 0) == 12


def test_backbones_of_a_study_with_their_lengths():
    def row(index, epochs, value, role="search"):
        return SimpleNamespace(backbone_index=index, config={"stage1.epochs": epochs}, value=value, role=role)

    rows = [row(1, 12, 0.2), row(0, 4, 0.5, "rung"), row(1, 12, 0.3), row(1, 12, None)]
    assert search_methods.trainings(SimpleNamespace(trials=lambda: rows)) == ((4, None), (12, 0.3))


@pytest.fixture
def jobs(monkeypatch):
    """Trainings of which each epoch gives its number in per cent; `from_epoch` is where a checkpoint is."""
    state = SimpleNamespace(begun=0, from_epoch=0, diverges=99)

    def job(configs, *, home):
        state.begun += 1
        rows = [EpochResult(epoch=k, metrics={VALUE: k / 100}) for k in range(1, 5)]
        for row in rows[state.from_epoch :]:
            if row.epoch == state.diverges:
                raise DivergedError("stage 1")
            yield Progress(stage=1, epoch=row.epoch, epochs=4, metrics=row.metrics)
        head = HeadResult(config={}, metrics={VALUE: 0.5}, classes={}, norms=(), temperature=1.0)
        return SimpleNamespace(result=JobResult(backbone=_backbone(rows), heads=(head,)))

    monkeypatch.setattr(search_methods_course, "job", job)
    return state


def _backbone(rows):
    return BackboneResult(
        fingerprint="", config={}, data_fingerprint="", class_names=(), train_counts=(), metrics={}, norms=(),
        epochs=tuple(rows), posthoc=(), parameters=0, device="cpu", threads=1, seconds=1.0, cached=False,
    )  # fmt: skip


def test_a_course_goes_on_and_repeats_nothing_that_is_kept(tmp_path, jobs):
    first = Course({"stage1.epochs": 4}, tmp_path)
    assert [first.at(epoch) for epoch in (1, 2)] == [(0.01, False), (0.02, False)]
    first.close()
    jobs.from_epoch = 1  # the checkpoint is older than what was reported
    again = Course({"stage1.epochs": 4}, tmp_path)
    assert again.at(2) == (0.02, False)
    assert jobs.begun == 1
    assert [again.at(epoch) for epoch in (3, 4)] == [(0.03, False), (0.5, True)]
    assert jobs.begun == 2
    done = Course({"stage1.epochs": 4}, tmp_path)
    assert [done.at(epoch) for epoch in (1, 2, 3, 4)] == [(0.01, False), (0.02, False), (0.03, False), (0.5, True)]
    assert jobs.begun == 2


def test_a_course_whose_backbone_another_method_trained_has_its_values(tmp_path, jobs):
    jobs.from_epoch = 4
    assert Course({"stage1.epochs": 4}, tmp_path).at(1) == (0.01, False)


def test_a_course_that_diverges_ends_with_zero(tmp_path, jobs):
    jobs.diverges = 3
    for _ in range(2):
        course = Course({"stage1.epochs": 4}, tmp_path)
        assert [course.at(epoch) for epoch in (1, 2, 3)] == [(0.01, False), (0.02, False), (0.0, True)]
    assert jobs.begun == 1
