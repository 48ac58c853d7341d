"""Runs one job in this process, in steps; its errors come back as failures."""

from __future__ import annotations

import gc
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

from studies.records import Failure, FailureKind
from trainers.results import JobResult, Progress
from tuner.errors import DISK_FULL
from tuner.execution.messages import TrainRequest

if TYPE_CHECKING:
    from trainers.job import Trained

REPORT_EVERY = 0.5  # seconds between two reports; each costs the driver some milliseconds
_SHORT_OF_MEMORY = ("out of memory", "allocate memory", "enough memory")


class JobRun:
    """A job under way. Closing it in the middle leaves a checkpoint of the last finished epoch."""

    def __init__(self, request: TrainRequest) -> None:
        import torch

        from trainers.files.cache import Cache
        from trainers.job import Job, run_job

        settings = request.settings
        torch.set_num_threads(settings.threads)
        device = torch.device("cuda" if settings.gpu else "cpu")
        cache = Cache(Path(settings.cache), max_bytes=settings.cache_bytes)
        self._events: Generator[Progress, None, Trained] | None = None
        self._outcome: JobResult | Failure = Failure(FailureKind.STOPPED, "the job was stopped")
        try:
            job = Job.from_flat(request.configs, read_test=request.read_test)
            self._events = run_job(job, cache=cache, device=device, checkpoint_every=settings.checkpoint_seconds)
        except Exception as error:
            self._outcome = failure_of(error)

    def advance(self) -> Progress | JobResult | Failure:
        """Runs for about half a second and returns the progress, or the outcome at the end.

        Raises errors after which no later job can succeed in this process.
        """
        if self._events is None:
            return self._outcome
        until = time.perf_counter() + REPORT_EVERY
        try:
            while True:
                event = next(self._events)
                if time.perf_counter() >= until:
                    return event
        except StopIteration as stop:
            self._events, self._outcome = None, stop.value.result
        except Exception as error:
            self._events = None  # first: it holds memory that a retry needs
            if _spoils_process(error):
                raise
            self._outcome = failure_of(error)
        return self._outcome

    def close(self) -> None:
        """Ends the job."""
        if self._events is not None:
            self._events.close()
            self._events = None


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
