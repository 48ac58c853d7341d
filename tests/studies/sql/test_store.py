"""The store's contract, the same on SQLite in memory, SQLite in a file and PostgreSQL."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy import event, text
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from studies.errors import ResultError, StudyMismatchError, StudyNotFoundError
from studies.records import Failure, FailureKind, HeadRequest, ProgressRow
from studies.sql import progress, reads, writes
from studies.sql.tables import Base
from studies.sql.urls import sqlite_file
from studies.store import Store, study_names
from trainers.results import JobResult

Job = Callable[..., Any]
Made = Callable[..., dict[str, Any]]
Open = Callable[..., Store]


def rows(store: Store) -> dict[str, list[Any]]:
    """Every row of every table, Optuna's as well."""
    optunas = ("studies", "trials", "trial_params", "trial_values", "trial_user_attributes", "study_system_attributes")
    with store.database.engine.connect() as connection:
        return {
            table: sorted(map(repr, connection.execute(text(f"SELECT * FROM {table}"))))
            for table in (*optunas, *Base.metadata.tables)
        }


@contextmanager
def fault_at(store: Store, statement: int) -> Iterator[list[str]]:
    """Lets the n-th statement on the store's engine fail, from 0; gives those that came so far."""
    seen: list[str] = []

    def before(*arguments: Any) -> None:
        seen.append(arguments[2])
        if len(seen) == statement + 1:
            raise RuntimeError("power cut")

    event.listen(store.database.engine, "before_cursor_execute", before)
    try:
        yield seen
    finally:
        event.remove(store.database.engine, "before_cursor_execute", before)


def survives_faults(store: Store, deed: Callable[[], object]) -> int:
    """Tries `deed` with a fault at each of its statements, leaving no trace, until it succeeds; counts tries."""
    before = rows(store)
    for statement in range(200):
        with fault_at(store, statement) as seen:
            try:
                deed()
            except RuntimeError:
                assert rows(store) == before, seen[-1]
            else:
                return statement
    raise AssertionError("never succeeded")


class TestStudy:
    def test_a_database_is_made_with_its_folder_but_never_by_looking(self, empty_url: str, new_store: Open) -> None:
        assert study_names(empty_url) == []
        with pytest.raises(StudyNotFoundError, match="no study yet"):
            Store.open(empty_url, "tail")
        file = sqlite_file(empty_url)
        assert file is None or not file.parent.exists()
        new_store(empty_url)
        assert study_names(empty_url) == ["tail"]

    def test_opening_twice_gives_the_same_study(self, url: str, new_store: Open) -> None:
        first, second = new_store(url), new_store(url)
        assert first.study() == second.study()
        assert study_names(url) == ["tail"]

    def test_a_new_study_is_running_and_knows_its_space(self, store: Store) -> None:
        study = store.study()
        assert (study.name, study.state, study.space_yaml) == ("tail", "running", "name: tail\n")
        assert study.created.tzinfo is not None
        assert study.data_fingerprint is None

    def test_the_same_space_with_a_larger_budget_replaces_the_text(self, url: str, new_store: Open) -> None:
        store = new_store(url)
        new_store(url, space_yaml="name: tail\nbudget: {backbones: 99}\n")
        assert "99" in store.study().space_yaml

    def test_how_many_backbones_train_at_a_time_is_kept(self, url: str, store: Store, new_store: Open) -> None:
        assert store.study().backbones_per_gpu is None
        store.set_backbones_per_gpu(4)
        assert new_store(url).study().backbones_per_gpu == 4

    def test_another_space_under_the_same_name_is_refused(self, url: str, new_store: Open) -> None:
        store = new_store(url)
        before = rows(store)
        with pytest.raises(StudyMismatchError, match="--name"):
            new_store(url, space_sha256="b" * 64)
        assert rows(store) == before

    def test_a_study_of_another_program_is_refused(self, url: str, new_store: Open) -> None:
        store = new_store(url)
        optuna.create_study(storage=store.database.storage, study_name="theirs")
        with pytest.raises(StudyMismatchError, match="another program"):
            new_store(url, name="theirs")
        assert study_names(url) == ["tail"]

    def test_an_unknown_study_is_answered_with_those_there_are(self, url: str, new_store: Open) -> None:
        new_store(url)
        new_store(url, name="other")
        with pytest.raises(StudyNotFoundError, match=r"'tial'.*tail, other"):
            Store.open(url, "tial")

    def test_state_and_stop_wishes_are_kept(self, url: str, store: Store) -> None:
        with Store.open(url, "tail") as terminal:
            assert store.stop_requested() is None
            terminal.request_stop()
            assert store.stop_requested() == "soft"
            terminal.request_stop(now=True)
            terminal.request_stop()
            assert store.stop_requested() == "now"
            store.clear_stop()
            store.set_state("stopped")
            assert terminal.stop_requested() is None
            assert terminal.study().state == "stopped"

    def test_a_study_deleted_by_optuna_leaves_nothing_to_the_next(
        self, url: str, new_store: Open, record: Job, answer: Made
    ) -> None:
        store = new_store(url)
        job = record(store)
        store.finish_job(job.id, answer(job))
        optuna.delete_study(study_name="tail", storage=store.database.storage)
        fresh = new_store(url)
        assert (fresh.trials(), fresh.jobs(), fresh.backbones(), fresh.posthoc()) == ([], [], [], [])
        assert record(fresh).numbers == (0, 1)

    def test_a_study_deleted_without_foreign_keys_leaves_nothing_and_hinders_nobody(
        self, file_url: str, new_store: Open, record: Job, answer: Made
    ) -> None:
        stays, goes = new_store(file_url, name="stays"), new_store(file_url)
        before = rows(stays)
        record(stays)
        job = record(goes, heads=3)
        result = answer(job, test=True)
        goes.finish_job(job.id, result)
        goes.record_reading("best", job.configs[0], result.heads[0], number=0, backbone=result.backbone)
        goes.keep_progress(ProgressRow(updated=datetime.now(UTC)))
        optuna.delete_study(study_name="tail", storage=file_url)  # as any program with Optuna does
        left = {name: len(found) for name, found in rows(stays).items() if name.startswith("tuner_")}
        mine = {"tuner_studies": 1, "tuner_jobs": 1, "tuner_trials": 2, "tuner_schema": len(before["tuner_schema"])}
        assert left == {name: mine.get(name, 0) for name in left}
        assert record(stays, heads=3).numbers == (2, 3, 4)  # under ids that were the other's
        optuna.create_study(study_name="theirs", storage=file_url)  # under the other study's id
        assert study_names(file_url) == ["stays"]

    def test_a_trial_of_another_program_is_nobodys_and_only_takes_a_number(
        self, store: Store, record: Job, answer: Made
    ) -> None:
        job = record(store)
        theirs = optuna.load_study(study_name="tail", storage=store.database.storage)
        theirs.enqueue_trial({"stage1.lr": 0.1})
        theirs.tell(theirs.ask(), 0.99)  # takes the enqueued one, and says that it is the best
        theirs.enqueue_trial({"stage1.lr": 0.2})
        store.finish_job(job.id, answer(job))
        assert record(store).numbers == (4, 5)
        assert [(row.number, row.state) for row in store.trials()] == [
            (0, "COMPLETE"), (1, "COMPLETE"), (4, "RUNNING"), (5, "RUNNING"),
        ]  # fmt: skip
        assert store.others_trials() == 1  # the other one waits for the service
        assert [trial.state.name for trial in theirs.trials[2:4]] == ["COMPLETE", "WAITING"]

    @pytest.mark.parametrize("id_taken", [False, True])
    def test_every_call_on_a_deleted_study_says_so(
        self, id_taken: bool, url: str, store: Store, new_store: Open, record: Job, answer: Made
    ) -> None:
        job = record(store)
        result = answer(job, test=True)
        optuna.delete_study(study_name="tail", storage=store.database.storage)
        if id_taken:  # SQLite gives it to the next
            other = new_store(url, name="other")
            record(other)
            before = rows(other)
        calls: list[Callable[[], object]] = [
            store.study,
            store.stop_requested,
            store.request_stop,
            lambda: store.set_state("done"),
            lambda: record(store),
            lambda: store.finish_job(job.id, result),
            lambda: store.fail_job(job.id, Failure(FailureKind.ERROR, "lost")),
            lambda: store.keep_progress(ProgressRow(updated=datetime.now(UTC))),
            lambda: store.record_reading("best", job.configs[0], result.heads[0], backbone=result.backbone),
        ]
        for call in calls:
            with pytest.raises(StudyNotFoundError, match="deleted"):
                call()
        assert not id_taken or rows(other) == before


class TestJobs:
    def test_a_job_is_one_running_trial_a_head(self, store: Store, record: Job) -> None:
        job = record(store, heads=3, index=4, round=1)
        assert (job.kind, job.state, job.backbone_index, job.round) == ("search", "running", 4, 1)
        assert (job.numbers, job.attempts, len(job.configs)) == ((0, 1, 2), 1, 3)
        assert store.jobs() == store.jobs("running") == [job]
        assert [(row.number, row.state, row.job) for row in store.trials()] == [
            (n, "RUNNING", job.id) for n in range(3)
        ]
        assert all(row.config == config for row, config in zip(store.trials(), job.configs, strict=True))

    def test_numbers_are_contiguous_over_jobs_studies_and_optunas_own_trials(
        self, url: str, new_store: Open, record: Job
    ) -> None:
        mine, other = new_store(url), new_store(url, name="other")
        assert record(mine).numbers == (0, 1)
        assert record(other, heads=3).numbers == (0, 1, 2)
        assert mine.optuna_study().ask().number == 2
        assert record(mine).numbers == (3, 4)
        assert [t.number for t in mine.optuna_study().get_trials()] == list(range(5))
        assert [row.number for row in mine.trials()] == [0, 1, 3, 4]

    def test_optunas_reader_agrees(self, url: str, store: Store, record: Job, answer: Made) -> None:
        study = store.optuna_study()
        job = record(store, heads=6)
        running = study.get_trials()
        assert {t.state for t in running} == {TrialState.RUNNING}
        store.finish_job(job.id, answer(job, broken={5: "loss is nan"}))
        fresh = RDBStorage(url, engine_kwargs={"poolclass": NullPool})
        for reader in (study, optuna.load_study(study_name="tail", storage=fresh)):
            trials = reader.get_trials()
            assert [t.state for t in trials] == [TrialState.COMPLETE] * 5 + [TrialState.FAIL]
            for theirs, ours in zip(trials, store.trials(), strict=True):
                assert (theirs.number, theirs.params, theirs.value) == (ours.number, dict(ours.params), ours.value)
                assert theirs.params == {name: ours.config[name] for name in theirs.params}
                assert [type(v) for v in theirs.params.values()] == [type(v) for v in ours.params.values()]
                assert theirs.datetime_start is not None
                assert theirs.datetime_complete is not None
                assert theirs.datetime_start.astimezone() == ours.started
                assert theirs.datetime_complete.astimezone() == ours.finished
                assert theirs.user_attrs["role"] == "search"
            assert trials[1].distributions == running[1].distributions
            assert reader.best_trial.number == 4
            assert reader.metric_names == ["val.balanced_accuracy"]
            assert reader.direction == optuna.study.StudyDirection.MAXIMIZE
        assert trials[0].user_attrs["val.many"] == 0.9
        assert "val.few" not in trials[0].user_attrs
        assert trials[5].user_attrs["reason"] == "loss is nan"

    def test_optunas_samplers_go_on_from_our_trials(self, store: Store, record: Job, answer: Made, ask: Job) -> None:
        job = record(store, heads=12)
        store.finish_job(job.id, answer(job))
        study = store.optuna_study()
        study.sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=2)
        asked = study.ask(dict(ask(0).distributions))
        assert asked.number == 12
        assert asked.params.keys() == ask(0).params.keys()

    def test_a_parameter_out_of_range_is_refused_and_leaves_nothing(self, store: Store, ask: Job) -> None:
        head = ask(0)
        wrong = HeadRequest(
            config=head.config, params={**head.params, "stage1.lr": 7.0}, distributions=head.distributions
        )
        before = rows(store)
        with pytest.raises(ValueError, match=r"stage1\.lr"):
            store.record_job("search", backbone_index=0, round=0, heads=[head, wrong])
        assert rows(store) == before

    def test_a_parameter_without_distribution_is_refused(self, store: Store, ask: Job) -> None:
        head = HeadRequest(config=ask(0).config, params={"stage1.lr": 0.1})
        with pytest.raises(ValueError, match="distribution"):
            store.record_job("search", backbone_index=0, round=0, heads=[head])

    def test_failing_a_job_fails_its_trials_once_and_with_the_reason(self, store: Store, record: Job) -> None:
        job = record(store)
        assert store.fail_job(job.id, Failure(FailureKind.ERROR, "worker killed: \0 \udc80"))
        after = rows(store)
        assert not store.fail_job(job.id, Failure(FailureKind.ERROR, "again"))
        assert rows(store) == after
        failed = [(row.state, row.failure, row.reason) for row in store.trials()]
        assert failed == [("FAIL", FailureKind.ERROR, "worker killed: ? ?")] * 2
        assert [(job.failure, job.reason) for job in store.jobs()] == [(FailureKind.ERROR, "worker killed: ? ?")]

    def test_retrying_counts_attempts_and_keeps_trials_running(self, store: Store, record: Job) -> None:
        job = record(store)
        assert store.retry_job(job.id).attempts == 2
        assert store.retry_job(job.id).attempts == 3
        assert {row.state for row in store.trials()} == {"RUNNING"}

    def test_jobs_of_other_studies_are_out_of_reach(self, url: str, new_store: Open, record: Job, answer: Made) -> None:
        mine, other = new_store(url), new_store(url, name="other")
        job = record(other)
        for deed in (lambda: mine.fail_job(job.id, Failure(FailureKind.ERROR, "no")), lambda: mine.retry_job(job.id),
                     lambda: mine.finish_job(job.id, answer(job))):  # fmt: skip
            with pytest.raises(ResultError, match="no job"):
                deed()


class TestFinish:
    def test_everything_comes_back_as_it_was_given(self, store: Store, record: Job, answer: Made) -> None:
        job = record(store)
        result = answer(job, test=True)
        assert store.finish_job(job.id, result)
        first, head = store.trials()[0], result.heads[0]
        assert (first.state, first.value, first.metrics) == ("COMPLETE", 0.5, head.metrics)
        assert first.metrics["val.few"] is None
        assert (first.norms, first.temperature, first.seconds) == ((1.0, 0.9, 0.8), 1.5, 0.5)
        assert first.notes == ("radius inactive: no row was ever projected",)
        assert (first.backbone, first.backbone_index, first.reason) == ("f" * 64, 0, None)
        assert first.started is not None
        assert first.finished is not None
        assert first.started <= first.finished
        study = store.study()
        assert (study.class_names, study.train_counts) == (("cat", "dog", "eel"), (100, 20, 2))
        assert study.notes == ("class eel has one validation image",)
        (backbone,) = store.backbones()
        assert (backbone.fingerprint, backbone.kind, backbone.parameters) == ("f" * 64, "search", 3_000_000_000)
        assert backbone.config == {k: v for k, v in job.configs[0].items() if not k.startswith("stage2.")}
        assert [(e.stage, e.epoch, e.metrics["loss"]) for e in store.epochs(number=1)] == [(2, 1, 2.0), (2, 2, 1.0)]
        assert [e.metrics for e in store.epochs(backbone="f" * 64)] == [e.metrics for e in result.backbone.epochs]
        assert len(store.epochs()) == 3 + 2 * 2
        classes = store.classes(0)
        assert [row.split for row in classes] == ["val"] * 3 + ["test"] * 3
        assert [row.class_index for row in classes] == [0, 1, 2, 0, 1, 2]
        assert (classes[1].train_count, classes[1].correct, classes[1].total, classes[1].weight_norm) == (
            20,
            5,
            10,
            0.9,
        )
        assert store.classes_by_trial() == {0: classes, 1: store.classes(1)}
        assert [row.config["stage2.method"] for row in store.posthoc()] == ["none", "tau_norm"]
        assert store.posthoc()[1].config["stage1.lr"] == 0.01
        assert store.jobs("done")[0].numbers == job.numbers

    def test_what_stage_1_computed_in_is_kept_with_all_that_came_of_it(
        self, store: Store, record: Job, answer: Made
    ) -> None:
        job, result = record(store), answer(record(store, index=1), precision="tf32", test=True)
        assert {row.precision for row in store.trials()} == {None}  # not known yet
        store.finish_job(job.id, result)
        store.record_reading("best", job.configs[0], result.heads[0], backbone=result.backbone, number=0)
        rows = (*store.backbones(), *store.trials()[:2], *store.readings())
        assert [row.precision for row in rows] == ["tf32"] * 4

    def test_finishing_twice_changes_nothing(self, store: Store, record: Job, answer: Made) -> None:
        job = record(store)
        assert store.finish_job(job.id, answer(job))
        after = rows(store)
        assert not store.finish_job(job.id, answer(job, values={0: 0.99}))
        assert not store.fail_job(job.id, Failure(FailureKind.ERROR, "too late"))
        assert rows(store) == after

    @pytest.mark.parametrize("value", [None, math.nan, math.inf])
    def test_an_objective_that_is_no_number_fails_its_trial_alone(
        self, store: Store, record: Job, answer: Made, value: float | None
    ) -> None:
        job = record(store)
        store.finish_job(job.id, answer(job, values={0: value}))
        failed, good = store.trials()
        assert (failed.state, failed.value, good.state) == ("FAIL", None, "COMPLETE")
        assert failed.reason is not None
        assert "val.balanced_accuracy must be a finite number" in failed.reason
        assert failed.metrics["val.balanced_accuracy"] is None

    def test_failing_heads_keep_their_reason_and_leave_their_neighbours(
        self, store: Store, record: Job, answer: Made
    ) -> None:
        job = record(store, heads=4)
        store.finish_job(job.id, answer(job, broken={1: "loss is nan in epoch 3", 3: "overflow"}))
        assert [row.state for row in store.trials()] == ["COMPLETE", "FAIL", "COMPLETE", "FAIL"]
        assert [row.reason for row in store.trials()] == [None, "loss is nan in epoch 3", None, "overflow"]
        assert (store.classes(1), store.epochs(number=1)) == ([], [])

    def test_a_measure_that_is_no_number_is_kept_as_none_with_a_note(
        self, store: Store, record: Job, answer: Made
    ) -> None:
        job = record(store, heads=1)
        result = answer(job)
        result.heads[0].metrics["norm.pearson"] = math.nan
        store.finish_job(job.id, result)
        (row,) = store.trials()
        assert (row.state, row.metrics["norm.pearson"]) == ("COMPLETE", None)
        assert "norm.pearson" in row.notes[-1]

    @pytest.mark.parametrize("norm", [math.nan, math.inf])
    def test_norms_that_are_no_numbers_fail_their_head_alone(
        self, store: Store, record: Job, answer: Made, norm: float
    ) -> None:
        job = record(store)
        result = answer(job)
        free, other = result.backbone.posthoc
        backbone = replace(result.backbone, posthoc=(free, replace(other, norms=(1.0, 1.0, norm))))
        first, second = result.heads
        heads = (replace(first, norms=(1.0, norm, 1.0)), replace(second, temperature=norm))
        store.finish_job(job.id, JobResult(backbone=backbone, heads=heads))
        failed, good = store.trials()
        assert (failed.state, good.state, good.temperature) == ("FAIL", "COMPLETE", None)
        assert failed.failure is FailureKind.DIVERGED
        assert "weight norms" in str(failed.reason)
        assert store.classes(0) == []
        assert [row.config["stage2.method"] for row in store.posthoc()] == ["none"]
        head = replace(answer(job, test=True).heads[0], norms=(norm,) * 3)
        with pytest.raises(ResultError, match="weight norms"):
            store.record_reading("best", job.configs[0], head, backbone=result.backbone)

    def test_a_backbone_whose_norms_are_no_numbers_fails_its_job(self, store: Store, record: Job, answer: Made) -> None:
        job = record(store)
        store.finish_job(job.id, answer(job, norms=(math.inf, 1.0, 1.0)))
        assert [row.id for row in store.jobs("failed")] == [job.id]
        assert {row.state for row in store.trials()} == {"FAIL"}
        assert store.backbones() == []

    def test_a_backbone_is_kept_once_with_the_last_posthoc_grid(self, store: Store, record: Job, answer: Made) -> None:
        first, second = record(store), record(store, round=1)
        store.finish_job(first.id, answer(first))
        again = answer(second, cached=True, seconds=9.0)
        backbone = replace(again.backbone, posthoc=again.backbone.posthoc[:1])
        store.finish_job(second.id, replace(again, backbone=backbone))
        (backbone,) = store.backbones()
        assert (backbone.cached, backbone.seconds) == (False, 1.25)
        assert len(store.posthoc()) == 1
        assert len(store.epochs(backbone="f" * 64)) == 3
        assert {row.backbone for row in store.trials()} == {"f" * 64}

    def test_a_baselines_backbone_that_the_search_comes_upon_is_the_searchs(
        self, store: Store, record: Job, answer: Made, ask: Job
    ) -> None:
        def baseline() -> Any:
            return store.record_job("baseline", backbone_index=0, round=0, heads=[ask(0)])

        for job in (baseline(), record(store, index=3), baseline()):
            store.finish_job(job.id, answer(job))
        assert [(row.kind, row.index) for row in store.backbones()] == [("search", 3)]

    def test_other_data_in_the_same_study_is_noted(self, store: Store, record: Job, answer: Made) -> None:
        first, second = record(store), record(store, index=1)
        store.finish_job(first.id, answer(first))
        other = answer(second, fingerprint="9" * 64, data_fingerprint="e" * 64, train_counts=(50, 10, 1))
        store.finish_job(second.id, other)
        assert "saw other data" in store.study().notes[-1]
        assert [row.train_count for row in store.classes(2)] == [50, 10, 1]
        assert store.study().train_counts == (100, 20, 2)

    def test_a_result_with_too_few_heads_is_refused_and_leaves_nothing(
        self, store: Store, record: Job, answer: Made
    ) -> None:
        job = record(store)
        result = answer(job)
        before = rows(store)
        with pytest.raises(ResultError, match="asked for 2 heads"):
            store.finish_job(job.id, replace(result, heads=result.heads[:1]))
        assert rows(store) == before


class TestOneTransaction:
    def test_recording_is_all_or_nothing(self, store: Store, record: Job) -> None:
        assert survives_faults(store, lambda: record(store)) > 5
        assert len(store.trials()) == 2

    def test_finishing_is_all_or_nothing(self, store: Store, record: Job, answer: Made) -> None:
        job = record(store, heads=3)
        result = answer(job, broken={1: "diverged"}, test=True)
        assert survives_faults(store, lambda: store.finish_job(job.id, result)) > 10
        assert [row.state for row in store.trials()] == ["COMPLETE", "FAIL", "COMPLETE"]

    def test_failing_is_all_or_nothing(self, store: Store, record: Job) -> None:
        job = record(store)
        assert survives_faults(store, lambda: store.fail_job(job.id, Failure(FailureKind.ERROR, "killed"))) > 3

    def test_a_job_commits_once_and_its_queries_do_not_grow_with_heads(
        self, store: Store, record: Job, answer: Made
    ) -> None:
        commits: list[object] = []
        event.listen(store.database.engine, "commit", commits.append)
        counts = []
        for heads in (2, 40):
            job = record(store, heads=heads)
            with fault_at(store, -1) as seen:
                store.finish_job(job.id, answer(job))
                store.trials()
                store.jobs()
            counts.append(len(seen))
        assert len(commits) == 2 * (1 + 1 + 2)  # record, finish, two snapshots
        assert counts[1] <= counts[0]


class TestReadings:
    def test_a_reading_is_kept_once_a_role_and_configuration(self, store: Store, record: Job, answer: Made) -> None:
        job = record(store)
        store.finish_job(job.id, answer(job))
        result = answer(job, test=True)
        config, head = job.configs[1], result.heads[1]
        assert store.record_reading("best", config, head, number=1, backbone=result.backbone)
        assert not store.record_reading(
            "best", dict(reversed(config.items())), head, number=1, backbone=result.backbone
        )
        assert store.record_reading("tau_norm", config, head, backbone=result.backbone)
        best, tau = store.readings()
        assert (best.role, best.number, best.backbone, best.config) == ("best", 1, "f" * 64, config)
        assert (best.temperature, best.metrics) == (1.5, head.metrics)
        assert [(c.split, c.train_count, c.correct, c.total) for c in best.classes][1] == ("test", 20, 5, 10)
        assert best.read_at is not None
        assert tau.number is None

    def test_a_reading_without_test_results_is_refused(self, store: Store, record: Job, answer: Made) -> None:
        job = record(store)
        result = answer(job, broken={1: "diverged"})
        for head in result.heads:
            with pytest.raises(ResultError, match=r"test was not read|diverged"):
                store.record_reading("best", job.configs[0], head, backbone=result.backbone)


def test_a_reader_in_another_process_sees_whole_jobs_only(
    file_url: str, new_store: Open, record: Job, answer: Made
) -> None:
    store = new_store(file_url)
    script = """if True:
        import json, sys
        from studies.store import Store
        with Store.open(sys.argv[1], "tail") as store:
            print("ready", flush=True)
            for _ in sys.stdin:
                jobs = {job.id: job.numbers for job in store.jobs("done")}
                done = [row.number for row in store.trials() if row.state == "COMPLETE"]
                print(json.dumps([sorted(n for ns in jobs.values() for n in ns), done]), flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", script, file_url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        for index in range(3):
            job = record(store, index=index)
            store.finish_job(job.id, answer(job))
            reader.stdin.write("look\n")
            reader.stdin.flush()
            expected = list(range(2 * index + 2))
            assert json.loads(reader.stdout.readline()) == [expected, expected]
        reader.stdin.close()


@pytest.mark.parametrize("url", ["file", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_a_snapshot_does_not_move_while_another_writes(store: Store, url: str, record: Job, answer: Made) -> None:
    job = record(store)

    def read(session: Any) -> tuple[str, str]:
        query = text("SELECT state FROM tuner_jobs")
        before = session.execute(query).scalar_one()
        with Store.open(url, "tail") as other:
            other.finish_job(job.id, answer(job))
        return before, session.execute(query).scalar_one()

    assert store.database.read(read) == ("running", "running")
    assert store.jobs("done")


@pytest.mark.parametrize("url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
class TestTwoWritersAtOnce:
    """A try whose answer was lost may still be committing when the next one comes."""

    def test_a_job_is_recorded_once(self, store: Store, ask: Job) -> None:
        def record(session: Session, study_id: int) -> int:
            return writes.record_job(
                session, study_id, token="t", kind="search", backbone_index=0, round=0, heads=[ask(0), ask(1)]
            )

        first, second = self._overlapping(store, record)
        assert first == second
        assert [row.number for row in store.trials()] == [0, 1]

    def test_progress_is_written_once(self, store: Store) -> None:
        rows = iter([ProgressRow(updated=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2)])
        self._overlapping(store, lambda session, study_id: progress.write(session, study_id, next(rows)))
        assert store.progress() == ProgressRow(updated=datetime(2026, 1, 2, tzinfo=UTC))

    def test_a_soft_wish_does_not_overtake_one_for_now(self, store: Store) -> None:
        with Store.open(store.database.url, "tail") as terminal:
            self._overlapping(store, _ask_to_stop_now, terminal.request_stop)
        assert store.stop_requested() == "now"

    @staticmethod
    def _overlapping(
        store: Store, deed: Callable[[Session, int], Any], other: Callable[[], Any] | None = None
    ) -> tuple[Any, Any]:
        """Does it, and before its commit again (or another deed), which must wait."""
        second = other or (lambda: store._write(deed))

        def first(session: Session, study_id: int) -> tuple[Any, Future[Any]]:
            done = deed(session, study_id)
            session.flush()
            waiting = pool.submit(second)
            with store.database.engine.connect() as watcher:
                blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
                while not watcher.execute(blocked).scalar_one() and not waiting.done():
                    watcher.rollback()
            return done, waiting

        with ThreadPoolExecutor() as pool:
            done, waiting = store._write(first)
            return done, waiting.result()


def _ask_to_stop_now(session: Session, study_id: int) -> None:
    reads.find_study(session, study_id).stop_requested = "now"


@pytest.mark.parametrize("url", [pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True)
def test_times_are_those_of_the_clock_whatever_the_servers_zone(url: str, new_store: Open, record: Job) -> None:
    before = datetime.now(UTC)
    store = new_store(f"{url}&options=-ctimezone%3DAsia/Tokyo")
    record(store)
    after = datetime.now(UTC)
    assert before <= store.study().created <= after
    for started in (store.trials()[0].started, store.optuna_study().get_trials()[0].datetime_start):
        assert started is not None
        assert before <= started.astimezone(UTC) <= after


def test_studies_opened_at_once_on_an_empty_database_are_all_there(empty_url: str) -> None:
    script = """if True:
        import sys
        from studies.store import Store
        Store.create_or_open(sys.argv[1], name=sys.argv[2], space_yaml="", space_sha256="", objective="x").close()
    """
    names = ("one", "two", "two")
    processes = [subprocess.Popen([sys.executable, "-c", script, empty_url, name]) for name in names]
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(study_names(empty_url)) == ["one", "two"]
