"""Between planner and executor: which worker holds which task, and how the task ended."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from studies.records import Failure
from trainers.results import JobResult, Progress
from tuner.errors import UnreachableError
from tuner.execution.messages import Content, JobRequest, TrainRequest, WorkerSettings
from tuner.execution.same_code import code_sha256
from tuner.search.assignment import Assignment
from tuner.search.planner import Planner

logger = logging.getLogger(__name__)


class Watcher(Protocol):
    """Receives the events of jobs; see `tuner.terminal.live`."""

    def started(self, key: str, task: Assignment) -> None: ...
    def progressed(self, key: str, progress: Progress) -> None: ...
    def ended(
        self, key: str, task: Assignment, outcome: JobResult | Failure | None, *, again: bool = False
    ) -> None: ...


@dataclass
class Dispatcher:
    """Hands out tasks and keeps those under way, by the executor's key of their group and their place in it.

    An error in planner, store or watchers breaks the launch, and `tuner.lifecycle` keeps it: an executor would turn it
    into a text, or into the failure of some job.
    """

    planner: Planner
    watcher: Watcher
    settings: WorkerSettings
    attend: Callable[[], None]  # checks budget hours and stop requests, and updates the lifecycle
    at_once: int = 1  # tasks in a group, which one worker runs side by side
    held: dict[str, dict[int, Assignment]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """True if no task is under way and none is left to hand out."""
        return self.planner.finished if self.planner.lifecycle.writes else not any(self.held.values())

    def ends_jobs(self) -> bool:
        """True if jobs end at their next report."""
        lifecycle = self.planner.lifecycle
        if lifecycle.writes:
            with self._breaking():
                self.attend()
        return lifecycle.ends_jobs

    def hand_out(self, key: str) -> TrainRequest | None:
        """The next tasks as a request to a worker; None while there is none."""
        with self._breaking():
            if self.planner.lifecycle.writes:
                self.attend()
                return self._handed_out(key)
        self.held.pop(key, None)  # after an error no worker has them, and the search would wait for them
        return None

    def reported(self, key: str, contents: Mapping[int, Content]) -> None:
        """Forwards the progress of a group's jobs, and records the outcomes of those that have ended."""
        for place, content in contents.items():
            if isinstance(content, Progress):
                if place in self.held.get(key, {}):
                    self.watcher.progressed(_job_key(key, place), content)
            else:
                self._take_back(key, place, content)

    def ended(self, key: str, outcome: Failure | None) -> None:
        """Records the end of a group: its jobs without an outcome get this one; None means stopped in the middle."""
        for place in [*self.held.get(key, {})]:
            self._take_back(key, place, outcome)
        self.held.pop(key, None)

    def raise_error(self) -> None:
        """Raises the error that broke the launch, if any."""
        if self.planner.lifecycle.error is not None:
            raise self.planner.lifecycle.error

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune pickles searcher, callbacks and stopper for a restore that we never do."""
        return {}

    @contextlib.contextmanager
    def _breaking(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self.planner.lifecycle.breaks(error)

    def _handed_out(self, key: str) -> TrainRequest | None:
        task = self.planner.next_task()
        if task is None:
            return None
        group = self.held[key] = {0: task}
        while not task.is_retry and len(group) < self.at_once:  # what failed once may take others along: it runs alone
            task = self.planner.next_task(retries=False)
            if task is None:
                break
            group[len(group)] = task
        for place, held in group.items():
            self.watcher.started(_job_key(key, place), held)
        jobs = tuple(
            JobRequest(configs=tuple(dict(config) for config in held.configs), read_test=held.kind == "reading")
            for held in group.values()
        )
        return TrainRequest(jobs=jobs, settings=self.settings, code=code_sha256())

    def _take_back(self, key: str, place: int, outcome: JobResult | Failure | None) -> None:
        """Records the outcome of a task; ignores unknown ones."""
        task = self.held.get(key, {}).pop(place, None)
        if task is not None and self.planner.lifecycle.writes:
            with self._breaking():
                self._record(_job_key(key, place), task, outcome)

    def _record(self, key: str, task: Assignment, outcome: JobResult | Failure | None) -> None:
        again = False
        match outcome:
            case JobResult():
                if task.job is not None and task.job.round > 0 and not outcome.backbone.cached:
                    limited = self.settings.cache_bytes is not None
                    logger.warning(trained_again(task.job.backbone_index, limited=limited))
                self.planner.complete(task, outcome)
            case Failure() if outcome.kind.ends_launch:
                self.planner.interrupted(task)
                raise UnreachableError(
                    f"{outcome.text}; nothing that was finished is lost: go on with: "
                    f"tuner resume {self.planner.space.name}"
                )
            case Failure():
                again = self.planner.fail(task, outcome)
            case None:
                self.planner.interrupted(task)
        self.watcher.ended(key, task, outcome, again=again)


def _job_key(key: str, place: int) -> str:
    return f"{key}.{place}"


def trained_again(backbone: int, *, limited: bool) -> str:
    """The warning for a backbone that a later round did not find in the cache."""
    said = f"backbone {backbone} was no longer in the cache, so it was trained again"
    if limited:
        return f"{said}; unless somebody deleted its files, the size limit did: raise --cache-gb"
    return f"{said}; this launch has no size limit, so its files were deleted by somebody else"
