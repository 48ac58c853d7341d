"""The executors: workers of a private Ray, or this process."""

from __future__ import annotations

import contextlib
import itertools
from types import TracebackType
from typing import Protocol, Self

from tuner.errors import UnreachableError
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.job_group import JobGroup, rates
from tuner.execution.messages import TrainRequest
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

    def measure(self, request: TrainRequest) -> dict[int, float]:
        """Images per second of a worker by number of backbones at once, for the request's first configuration."""


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

    def measure(self, request: TrainRequest) -> dict[int, float]:
        """Measures in a worker. Also raises UnreachableError if Ray died."""
        from tuner.execution.bridge import measure_in_worker

        return measure_in_worker(request, slots=self._slots)


class InlineExecutor:
    """Runs one group of jobs after another in this process, for a debugger; a crash of a job ends the launch."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to end."""

    def run(self, dispatcher: Dispatcher) -> None:
        """Runs tasks until the dispatcher is finished. Also raises UnreachableError if the GPU is broken."""
        for key in map(str, itertools.count()):
            if not _ran_group(dispatcher, key):
                break
        dispatcher.raise_error()

    def measure(self, request: TrainRequest) -> dict[int, float]:
        """Measures in this process."""
        with threads(request.settings.threads):
            return rates(request)


def _ran_group(dispatcher: Dispatcher, key: str) -> bool:
    """Runs the tasks of one request; False if none is left."""
    request = dispatcher.hand_out(key)
    if request is None:
        return False
    with threads(request.settings.threads), contextlib.closing(JobGroup(request)) as jobs:
        try:
            while not jobs.over:
                dispatcher.reported(key, jobs.advance())
                if dispatcher.ends_jobs():
                    jobs.stop()
        except RuntimeError as error:  # no later job can succeed in this process
            raise UnreachableError(
                f"{error}; go on in a new process from the last checkpoints with: "
                f"tuner resume {dispatcher.planner.space.name}"
            ) from error
    dispatcher.ended(key, None)
    return True
