"""What runs inside a Ray actor: one job after another, each as a generator that is advanced a little at a time."""

from __future__ import annotations

import gc
import logging
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ray import tune

from studies.records import Failure, FailureKind
from trainers.results import JobResult, Progress
from tuner.errors import DISK_FULL
from tuner.messages import Report, TrainRequest
from tuner.same_code import difference

if TYPE_CHECKING:
    from trainers.job import Trained

REPORT_EVERY = 0.5  # seconds between two results: each costs the driver some milliseconds
_SHORT_OF_MEMORY = ("out of memory", "allocate memory", "enough memory")


class JobTrainable(tune.Trainable):
    """One job. What a job can raise comes back as a failure; only what takes the process along is an error to Tune."""

    def setup(self, config: dict[str, Any]) -> None:
        """Starts a job, unless this process has other code than the driver."""
        self._warnings = _heard_warnings()
        self._events: Generator[Progress, None, Trained] | None = None
        self._failure = Failure(FailureKind.STOPPED, "the job was stopped")
        request = TrainRequest.from_tune(config)
        foreign = difference(request.code)
        if foreign is None:
            self._start(request)
        else:
            self._failure = Failure(FailureKind.OTHER_CODE, foreign)

    def _start(self, request: TrainRequest) -> None:
        import torch

        from trainers.cache import Cache
        from trainers.job import Job, run_job

        settings = request.settings
        torch.set_num_threads(settings.threads)
        device = torch.device("cuda" if settings.gpu else "cpu")
        cache = Cache(Path(settings.cache), max_bytes=settings.cache_bytes)
        try:
            job = Job.from_flat(request.configs, read_test=request.read_test)
            self._events = run_job(job, cache=cache, device=device, checkpoint_every=settings.checkpoint_seconds)
        except Exception as error:
            self._failure = _describe(error)

    def step(self) -> dict[str, Any]:
        """Advances the job for about half a second; the last step carries the whole result."""
        return Report(content=self._content(), warnings=self._said()).to_tune()

    def _content(self) -> Progress | JobResult | Failure:
        if self._events is None:
            return self._failure
        until = time.perf_counter() + REPORT_EVERY
        try:
            while True:
                event = next(self._events)
                if time.perf_counter() >= until:
                    return event
        except StopIteration as stop:
            self._events = None
            result: JobResult = stop.value.result
            return result
        except Exception as error:
            self._events = None
            if _spoils_process(error):
                raise
            self._failure = _describe(error)
            return self._failure

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next job in the same process, so that start-up and data are paid once."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Stopped in the middle: closing the generator leaves a checkpoint at the last finished epoch."""
        if self._events is not None:
            self._events.close()
            self._events = None

    def _said(self) -> tuple[str, ...]:
        messages = tuple(dict.fromkeys(self._warnings.messages))
        self._warnings.messages.clear()
        return messages


class _Heard(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _heard_warnings() -> _Heard:
    """The one listener of this process to the trainer's warnings."""
    trainer = logging.getLogger("trainers")
    known = next((handler for handler in trainer.handlers if isinstance(handler, _Heard)), None)
    if known is None:
        known = _Heard()
        trainer.addHandler(known)
    return known


def _describe(error: Exception) -> Failure:
    """What became of the job, and what helps."""
    from trainers.errors import DivergedError, TrainerError

    if isinstance(error, TrainerError):
        kind = FailureKind.DIVERGED if isinstance(error, DivergedError) else FailureKind.REFUSED
        return Failure(kind, str(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    said = f"{type(error).__name__}: {error} ({where})"
    if _is_out_of_memory(error):
        _free_memory(error)
        return Failure(FailureKind.OUT_OF_MEMORY, said if "out of memory" in said else f"out of memory: {said}")
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return Failure(FailureKind.DISK_FULL, f"{said}; make space in the folder of --home")
    return Failure(FailureKind.FILE if isinstance(error, OSError) else FailureKind.ERROR, said)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether a GPU, torch's allocator of the CPU (a RuntimeError), numpy, Python or the kernel (ENOMEM) says so."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _SHORT_OF_MEMORY)


def _spoils_process(error: Exception) -> bool:
    """Whether every later call would fail, too: an illegal access or a failed assertion on the device is never over."""
    return "CUDA error" in str(error) and not _is_out_of_memory(error)


def _free_memory(error: Exception) -> None:
    """Gives back what the failed job still held, so that another try in this process has all there is."""
    import torch

    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)  # which hold model, features and optimiser
        chain = chain.__context__
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
