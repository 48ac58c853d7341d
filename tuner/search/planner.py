"""Which job comes next: interrupted ones, baselines, second rounds, new backbones, refinement, other seeds, readings.

The planner reads the study once, then follows its own jobs. Its proposals are a pure function of the study's finished
rows and the seed, so that a resumed study continues like one that was never interrupted.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping

from search_spaces import Space
from search_spaces.objectives import gains
from studies.confirmed import CONFIRM
from studies.records import Failure, FailureKind, HeadRequest, JobKind, JobRow, TrialRow
from studies.sql.nan_guard import sound
from studies.store import Store
from studies.study_data import RUNG
from trainers.config import Scalar
from trainers.results import HeadFailure, HeadResult, JobResult, Metrics
from tuner.lifecycle import Lifecycle, Verdict
from tuner.search.asking import Search
from tuner.search.assignment import Assignment
from tuner.search.budget import Account, time_of
from tuner.search.configurations import naive, with_defaults
from tuner.search.confirming import Confirmation
from tuner.search.enqueued import Enqueued
from tuner.search.reading_queue import ReadingQueue
from tuner.search.readings import readings_due
from tuner.search.standing import Leader, Tally, leader_by_mean, leader_with
from tuner.search.starts import starts_of

logger = logging.getLogger(__name__)

_ASIDE = ("baseline", CONFIRM)  # kinds of jobs from which the search learns nothing


class Planner:
    """Hands out tasks until the budget is spent, and records their results in the study."""

    def __init__(self, space: Space, store: Store) -> None:
        self.space = space
        self.store = store
        self.tally = Tally(total=space.trials)
        self.leader: Leader | None = None
        self.failures: list[str] = []
        self.lifecycle = Lifecycle()
        self._search = Search(space)
        self._baselines: set[str] = set()
        self._confirming = Confirmation(space)
        self._waiting: list[JobRow] = []  # interrupted, or waiting for a retry
        self._under_way: dict[int, JobKind] = {}  # by job
        self._readings = ReadingQueue(space, store)
        self._load()

    @property
    def unread(self) -> list[str]:
        """Failed final readings, with reasons."""
        return self._readings.unread

    @property
    def finished(self) -> bool:
        """True if nothing is under way and nothing is left to hand out."""
        if self._under_way or self._readings.under_way:
            return False
        return self.lifecycle.hands_out == "nothing" or self._readings.left == []

    def has_work(self) -> bool:
        """True if the budget is not spent or a reading is missing."""
        if self.lifecycle.phase == "failing":
            return False
        searching = self.owes_trials() and not self.lifecycle.drops_waiting
        return searching or bool(readings_due(self.space, self.store))

    def owes_trials(self) -> bool:
        """True if the budget leaves room for trials, or a job waits."""
        searching = self._waiting or self._owes_naive() or self._search.has_left()
        return bool(searching or self._confirming.due(self.store.trials))

    def verdict(self) -> Verdict:
        """How the launch ended."""
        work_left = self.lifecycle.ends_jobs and self.has_work()
        complete = self.tally.complete
        if self.space.ladder and self.leader is None:
            complete = 0  # short schedules are no result
        return self.lifecycle.verdict(work_left=work_left, complete=complete, unread=len(self.unread))

    @property
    def search(self) -> Search:
        """What is asked for proposals, for questions about its backbones."""
        return self._search

    def waiting(self) -> list[Enqueued]:
        """The enqueued points that can be tried, in order. One that cannot is failed, and said once, for ever."""
        found = self.read_waiting()
        for point, reason in found:
            if reason and self.store.refuse(point.number, reason):
                logger.warning("trial %d was enqueued, but cannot be tried: %s", point.number, reason)
        return [point for point, reason in found if not reason]

    def read_waiting(self) -> list[tuple[Enqueued, str]]:
        """All enqueued points, in order, each with the reason why it cannot be tried; "" if it can. Changes nothing."""
        return [self._search.read_point(row) for row in self.store.waiting()]

    @property
    def work_left(self) -> tuple[float, int]:
        """Jobs still to be handed out: those that train a backbone, and those that find theirs in the cache.

        The first ones are counted in full trainings, by `time_of`.
        """
        trainings, others = self._search.budget.jobs_left()
        again = [time_of(job.configs[0], self.space.ladder) for job in self._waiting if job.round == 0]
        trainings, others = trainings + self._confirming.left, others + len(self._waiting) - len(again)
        if self._readings.left is None:
            known = self.space.confirm.seeds - 1 if self.space.confirm else 0
            fresh = max(0, self.space.budget.fresh_seeds - known)
            return trainings + sum(again) + fresh, others + 1 + known + len(self.space.baselines)
        fresh = self._readings.trainings
        return trainings + sum(again) + fresh, others + len(self._readings.left) - fresh

    def next_task(self, *, retries: bool = True) -> Assignment | None:
        """The next task; None if all is done, or if the rest waits for running jobs.

        Without `retries` it is None, too, if the next one is a retry.
        """
        if self.lifecycle.phase in ("closing", "failing"):
            self.close_waiting()
        if self.lifecycle.hands_out == "nothing":
            return None
        if self.lifecycle.hands_out == "anything":
            if self._waiting:
                if not retries and self._waiting[0].attempts > 1:
                    return None
                return self._hand_out(self._waiting.pop(0))
            job = self._baseline() or self._searched() or self._confirmation()
            if job is not None:
                self.tally.add_running(len(job.numbers))
                return self._hand_out(job)
        if self._under_way:
            return None
        return self._readings.hand_out(retries=retries, training=self.lifecycle.hands_out != "readings")

    def complete(self, task: Assignment, result: JobResult) -> None:
        """Records the result of a task in the study. Call it once per task."""
        if task.job is None:
            self._readings.complete(task, result)
            return
        self.store.finish_job(task.job.id, result)
        self._settle(task.job)
        for number, config, head in zip(task.job.numbers, task.job.configs, result.heads, strict=True):
            self._count(task.job, number, config, head)

    def fail(self, task: Assignment, failure: Failure) -> bool:
        """Records a failed task; returns True if it is retried: for a transient failure, up to `max_retries` times."""
        if task.job is None:
            return self._readings.fail(task, failure)
        self._settle(task.job)
        if failure.kind.transient and self.lifecycle.tries_again and task.job.attempts <= self.space.budget.max_retries:
            self._waiting.append(self.store.retry_job(task.job.id))
            return True
        self._end(task.job, failure)
        self.failures.append(failure.text)
        self._count_failed_jobs(1)
        return False

    def close_waiting(self) -> None:
        """Ends the waiting jobs that will never run: a study that is over leaves no trial RUNNING."""
        while self._waiting and (over := self.lifecycle.drops_waiting):
            job = self._waiting.pop(0)
            before = f" (before: {job.reason})" if job.reason else ""
            self._end(job, Failure(FailureKind.NOT_RUN, f"not run: {over}{before}"))

    def interrupted(self, task: Assignment) -> None:
        """Takes back a task stopped in the middle; its trials stay RUNNING, and the next launch adopts them."""
        if task.job is None:
            self._readings.under_way -= 1
        else:
            self._settle(task.job)
            self._waiting.append(task.job)  # so that `has_work` sees it

    # -- what there is ------------------------------------------------------------------------------------------

    def _load(self) -> None:
        rows, taken_up = {row.number: row for row in self.store.trials()}, self.store.taken_up()
        begun: dict[int, int] = {}  # backbone to its first trial
        for job in self.store.jobs():
            failed = job.failure is not None and job.failure is not FailureKind.NOT_RUN
            if job.kind == "baseline":
                self._baselines |= {rows[number].role for number in job.numbers}
            elif job.kind == CONFIRM:
                self._confirming.asked()
            else:
                account = Account(self._search.stage1_of(job.configs[0]))
                account = self._search.budget.accounts.setdefault(job.backbone_index, account)
                self._search.budget.asked(job.kind, job.backbone_index, len(job.numbers), round=job.round)
                account.lost |= failed
                account.given |= job.round == 0 and not taken_up.isdisjoint(job.numbers)
                begun.setdefault(job.backbone_index, max(job.numbers))  # an enqueued trial may be much older
            if job.state == "running":
                self._waiting.append(job)
            self._count_failed_jobs(failed)
        for row in rows.values():
            state = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}.get(row.state, "running")
            setattr(self.tally, state, getattr(self.tally, state) + 1)
            self._recall(row)
        self.tally.total = max(self.tally.total, len(rows))  # a smaller budget removes no trials
        if self.space.ladder:
            self.tally.expect(self._expected())
        self._search.starts = starts_of(self.space, self.store.spaces(), begun.values())
        for index in self._search.starts.keys() & self._search.budget.accounts.keys():
            self._search.budget.accounts[index].given = False  # its start point gave it
        self.leader = leader_by_mean(tuple(rows.values())) or self.leader

    def _recall(self, row: TrialRow) -> None:
        """Learns from a finished trial of an earlier launch."""
        if row.role not in ("search", RUNG):
            return
        if row.failure is not None and row.failure.blames_configuration:
            self._search.observe(row.backbone_index, row.config, None)
        if row.state == "COMPLETE" and row.value is not None:
            self._search.observe(row.backbone_index, row.config, *row.gains)
            if row.role != RUNG:
                self._lead(row.number, row.gains, row.metrics)

    def _count(self, job: JobRow, number: int, config: Mapping[str, Scalar], head: HeadResult | HeadFailure) -> None:
        head = sound(head)
        metrics: Metrics = {} if isinstance(head, HeadFailure) else head.metrics
        reached = gains(self.space.objectives, metrics)
        self.tally.running -= 1
        self.tally.failed += reached is None
        self.tally.complete += reached is not None
        if job.kind == CONFIRM:
            self.leader = leader_by_mean(self.store.trials()) or self.leader
        elif job.kind != "baseline":
            self._search.observe(job.backbone_index, config, *(reached or (None,)))
            if reached is not None and job.kind != RUNG:
                self._lead(number, reached, metrics)

    def _lead(self, number: int, reached: tuple[float, ...], metrics: Mapping[str, float | None]) -> None:
        self.leader = leader_with(self.leader, number, reached, metrics)

    def _count_failed_jobs(self, more: int) -> None:
        self.tally.failed_jobs += more
        if self.tally.failed_jobs > self.space.budget.max_failed:
            self.lifecycle.too_many_failed()

    def _hand_out(self, job: JobRow) -> Assignment:
        self._under_way[job.id] = job.kind
        if job.kind not in _ASIDE:
            self._search.budget.accounts[job.backbone_index].under_way += 1
        return Assignment(kind=job.kind, configs=job.configs, job=job)

    def _settle(self, job: JobRow) -> None:
        self._confirming.changed()
        if self._under_way.pop(job.id, None) not in (None, *_ASIDE):
            self._search.budget.accounts[job.backbone_index].under_way -= 1

    def _end(self, job: JobRow, failure: Failure) -> None:
        """Fails a job and its trials. Unless it never ran, its backbone gets no more heads."""
        self.store.fail_job(job.id, failure)
        self.tally.failed += len(job.numbers)
        self.tally.running -= len(job.numbers)
        if job.kind in _ASIDE or failure.kind is FailureKind.NOT_RUN:
            return
        self._search.budget.accounts[job.backbone_index].lost = True
        for config in job.configs if failure.kind.blames_configuration else ():
            self._search.observe(job.backbone_index, config, None)

    # -- what comes next ----------------------------------------------------------------------------------------

    def _baseline(self) -> JobRow | None:
        if not self._owes_naive():
            return None
        self._baselines.add("naive")
        head = HeadRequest(config=naive(self.space), role="naive")
        return self.store.record_job("baseline", backbone_index=0, round=0, heads=[head])

    def _owes_naive(self) -> bool:
        return "naive" in self.space.baselines and "naive" not in self._baselines

    def _searched(self) -> JobRow | None:
        searching = any(kind in ("search", RUNG) for kind in self._under_way.values())
        asked = self._search.next(searching=searching, waiting=self.waiting)
        if self.space.ladder:
            self.tally.expect(self._expected())
        if asked is None:
            return None
        kind: JobKind = asked.kind if self._search.is_full(asked.backbone) else RUNG
        role = RUNG if kind == RUNG else "search"
        heads = [
            self._head({**asked.stage1, **params}, role=role, enqueued=number)
            for params, number in itertools.zip_longest(asked.heads, asked.enqueued)
        ]
        return self.store.record_job(kind, backbone_index=asked.backbone, round=asked.round, heads=heads)

    def _expected(self) -> int:
        """Trials in all where schedules differ in length: the search decides how many it needs of each."""
        others = ("naive" in self.space.baselines) + self.space.runs_to_confirm
        return self._search.budget.trials_to_expect() + others

    def _confirmation(self) -> JobRow | None:
        """The next run with another seed; none before the last job of the search, which may change the best."""
        if any(kind not in _ASIDE for kind in self._under_way.values()):
            return None
        due = self._confirming.due(self.store.trials)
        if not due:
            return None
        run = due.pop(0)
        self._confirming.asked()
        return self.store.record_job(
            CONFIRM, backbone_index=run.trial.backbone_index, round=0, heads=[run.head(self.space)]
        )

    def _head(self, params: Mapping[str, Scalar], *, role: str, enqueued: int | None) -> HeadRequest:
        searched = {name: value for name, value in params.items() if name in self.space.searched}
        return HeadRequest(
            config=with_defaults({**self.space.fixed, **params}),
            params=searched,
            distributions={name: self.space.searched[name] for name in searched},
            role=role,
            enqueued=enqueued,
        )
