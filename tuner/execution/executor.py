"""The executors: workers of a private Ray, or this process."""

from __future__ import annotations

import contextlib
import itertools
from types import TracebackType
from typing import Protocol, Self

from trainers.results import Progress
from tuner.errors import UnreachableError
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.job_run import JobRun
from tuner.execution.slots import Slots
from tuner.retrain.threads import threads


class Executor(Protocol):
    """Runs tasks; started and ended by its `with` block."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    def run(self, dispatcher: Dispatcher) -> None:
        """Runs tasks until the dispatcher is finished.

        Raises the error that broke the launch; the next launch can adopt the running jobs.
        """


class RayExecutor:
    """Runs jobs in worker processes of a private Ray on this machine; a worker's death affects only its own job."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._last = contextlib.ExitStack()

    def __enter__(self) -> Self:
        from tuner.execution.ray_session import ray_session

        session = ray_session(cpus=self._slots.workers * self._slots.cpus_each, gpus=self._slots.gpus)
        self._scratch = self._last.enter_context(session)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._last.__exit__(kind, error, at)

    def run(self, dispatcher: Dispatcher) -> None:
        """Runs tasks until the dispatcher is finished. Also raises UnreachableError if Ray died."""
        from tuner.execution.bridge import run_tune

        run_tune(dispatcher, slots=self._slots, scratch=self._scratch)


class InlineExecutor:
    """Runs jobs one after another in this process, for a debugger; a crash of a job ends the launch."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to end."""

    def run(self, dispatcher: Dispatcher) -> None:
        """Runs tasks until the dispatcher is finished. Also raises UnreachableError if the GPU is broken."""
        for key in map(str, itertools.count()):
            if not _ran_one(dispatcher, key):
                break
        dispatcher.raise_error()


def _ran_one(dispatcher: Dispatcher, key: str) -> bool:
    """Runs one task; False if none is left."""
    request = dispatcher.hand_out(key)
    if request is None:
        return False
    with threads(request.settings.threads), contextlib.closing(JobRun(request)) as job:
        try:
            while isinstance(content := job.advance(), Progress):
                dispatcher.progressed(key, content)
                if dispatcher.ends_jobs():
                    break
        except RuntimeError as error:  # no later job can succeed in this process
            raise UnreachableError(
                f"{error}; go on in a new process from the last checkpoints with: "
                f"tuner resume {dispatcher.planner.space.name}"
            ) from error
    dispatcher.take_back(key, None if isinstance(content, Progress) else content)
    return True
