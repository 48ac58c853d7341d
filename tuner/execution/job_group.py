"""Runs the jobs of a request in this process, in turns; their errors come back as failures."""

from __future__ import annotations

import functools
import gc
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, cast

from studies.records import Failure, FailureKind
from trainers.results import JobResult, Progress
from tuner.errors import DISK_FULL
from tuner.execution.messages import Content, JobRequest, TrainRequest, WorkerSettings

if TYPE_CHECKING:
    import torch

    from trainers.files.cache import Cache
    from trainers.turns import Clock, Events, JobEnd

REPORT_EVERY = 0.5  # seconds between two reports; each costs the driver some milliseconds
_SHORT_OF_MEMORY = ("out of memory", "allocate memory", "enough memory")


class JobGroup:
    """The jobs of a request, under way in this process; on a GPU they train side by side."""

    def __init__(self, request: TrainRequest) -> None:
        import torch

        from trainers.files.cache import Cache
        from trainers.turns import Together

        settings = request.settings
        torch.set_num_threads(settings.threads)
        device = torch.device("cuda" if settings.gpu else "cpu")
        cache = Cache(Path(settings.cache), max_bytes=settings.cache_bytes)
        starts = [functools.partial(_events, one, settings, cache, device) for one in request.jobs]
        self._together = Together(starts, device, at_once=len(starts))

    @property
    def over(self) -> bool:
        """True if every job has ended."""
        return self._together.over

    def advance(self) -> dict[int, Content]:
        """Runs for about half a second, until there is news of a job, or until one has ended; returns the news.

        The news is by the job's place in the request. Raises errors after which no later job can succeed in this
        process.
        """
        until = time.perf_counter() + REPORT_EVERY
        news: dict[int, Content] = {}
        while not self.over:
            ended = False
            for index, event in self._together.round():
                news[index] = _content(event)
                ended |= not isinstance(event, Progress)
            if ended or (news and time.perf_counter() >= until):
                break
        return news

    def stop(self) -> None:
        """Ends the jobs after their current epochs; each that still trains leaves a checkpoint."""
        for _ in self._together.finish_epochs():
            pass  # a job that fails here fails again when it goes on
        self.close()

    def close(self) -> None:
        """Ends the jobs at once. Those that are in the middle of an epoch leave no new checkpoint."""
        self._together.close()


def _events(
    request: JobRequest, settings: WorkerSettings, cache: Cache, device: torch.device, clock: Clock
) -> Events[JobResult]:
    from trainers.job import Job, job_in_turns

    job = Job.from_flat(request.configs, read_test=request.read_test)
    trained = yield from job_in_turns(
        job,
        cache=cache,
        device=device,
        checkpoint_every=settings.checkpoint_seconds,
        way=settings.way,
        clock=clock,
    )
    return trained.result  # without the models, which would fill the memory


def _content(event: Progress | JobEnd) -> Content:
    if isinstance(event, Progress):
        return event
    if event.error is None:
        return cast(JobResult, event.result)
    if _spoils_process(event.error):
        raise event.error
    return failure_of(event.error)


def rates(request: TrainRequest) -> dict[int, float]:
    """Images per second by number of backbones at once in this process, for the request's first configuration."""
    import torch

    from trainers.config import TrialConfig
    from trainers.stage1.rates import measured_rates

    settings = request.settings
    torch.set_num_threads(settings.threads)
    device = torch.device("cuda" if settings.gpu else "cpu")
    return measured_rates(TrialConfig.from_flat(request.jobs[0].configs[0]), device=device, way=settings.way)


def failure_of(error: Exception) -> Failure:
    """The error as a failure, with its kind and a text for people."""
    from trainers.errors import DivergedError, TrainerError

    if isinstance(error, TrainerError):
        kind = FailureKind.DIVERGED if isinstance(error, DivergedError) else FailureKind.REFUSED
        return Failure(kind, str(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    said = f"{type(error).__name__}: {error} ({where})"
    if _is_out_of_memory(error):
        free_memory(error)
        return Failure(FailureKind.OUT_OF_MEMORY, said if "out of memory" in said else f"out of memory: {said}")
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return Failure(FailureKind.DISK_FULL, f"{said}; make space in the folder of --home")
    return Failure(FailureKind.FILE if isinstance(error, OSError) else FailureKind.ERROR, said)


def _is_out_of_memory(error: Exception) -> bool:
    """True for the errors of CUDA, torch's CPU allocator (RuntimeError), numpy, Python and the kernel (ENOMEM)."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _SHORT_OF_MEMORY)


def _spoils_process(error: Exception) -> bool:
    """True if every later call fails too, as after an illegal access or a failed assertion on the device."""
    return "CUDA error" in str(error) and not _is_out_of_memory(error)


def free_memory(error: Exception) -> None:
    """Frees the memory of a failed job, so that a retry in this process has all of it."""
    import torch

    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)  # the frames hold model, features and optimiser
        chain = chain.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
