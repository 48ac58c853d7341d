"""What runs inside a Ray actor: one job after another, each as a generator that is advanced a little at a time."""

from __future__ import annotations

import dataclasses
import gc
import json
import logging
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

from ray import tune

from tuner.errors import DISK_FULL
from tuner.same_code import difference

REPORT_EVERY = 0.5  # seconds between two results: each costs the driver some milliseconds
CHECKPOINT_SECONDS = 30.0  # between two checkpoints of stage 1
_SHORT_OF_MEMORY = ("out of memory", "allocate memory", "enough memory")


@dataclasses.dataclass(frozen=True)
class Failure:
    """Why a job came to nothing, and whether it is worth another try."""

    reason: str
    transient: bool = False
    ends_launch: bool = False  # no job can succeed before the user has done what the reason says


class JobTrainable(tune.Trainable):
    """One job. What a job can raise comes back as a reason; only what takes the process along is an error to Tune."""

    def setup(self, config: dict[str, Any]) -> None:
        """Starts a job, unless this process has other code than the driver; see `tuner.searcher` for the keys."""
        self._warnings = _heard_warnings()
        self._events: Generator[Any, None, Any] | None = None
        foreign = difference(config["code"])
        self._failure = None if foreign is None else Failure(foreign, ends_launch=True)
        if foreign is None:
            self._start(config)

    def _start(self, config: dict[str, Any]) -> None:
        import torch

        from trainers.cache import Cache
        from trainers.job import Job, run_job

        torch.set_num_threads(config["threads"])
        device = torch.device("cuda" if config["gpu"] else "cpu")
        cache = Cache(Path(config["cache"]), max_bytes=config["cache_bytes"])
        self._started = time.perf_counter()
        try:
            job = Job.from_flat(json.loads(config["configs"]), read_test=config["read_test"])
            every = config.get("checkpoint_seconds", CHECKPOINT_SECONDS)
            self._events = run_job(job, cache=cache, device=device, checkpoint_every=every)
        except Exception as error:
            self._failure = _describe(error)

    def step(self) -> dict[str, Any]:
        """Advances the job for about half a second; the last step carries the whole result."""
        if self._events is None:
            return self._failed()
        until = time.perf_counter() + REPORT_EVERY
        try:
            while True:
                event = next(self._events)
                if time.perf_counter() >= until:
                    return {"progress": json.dumps(dataclasses.asdict(event)), **self._said()}
        except StopIteration as stop:
            self._events = None
            return {"done": True, "outcome": json.dumps(dataclasses.asdict(stop.value.result)), **self._said()}
        except Exception as error:
            self._events = None
            if _spoils_process(error):
                raise
            self._failure = _describe(error)
            return self._failed()

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

    def _failed(self) -> dict[str, Any]:
        failure = self._failure or Failure("the job was stopped", transient=True)
        return {
            "done": True,
            "failure": failure.reason,
            "transient": failure.transient,
            "ends_launch": failure.ends_launch,
            **self._said(),
        }

    def _said(self) -> dict[str, str]:
        """Warnings since the last report, for the driver: nobody looks at what a worker prints."""
        messages = [*dict.fromkeys(self._warnings.messages)]
        self._warnings.messages.clear()
        return {"warnings": json.dumps(messages)} if messages else {}


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
    """A readable reason, and what helps."""
    from trainers.errors import TrainerError

    if isinstance(error, TrainerError):
        return Failure(str(error))
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    said = f"{type(error).__name__}: {error} ({where})"
    if _is_out_of_memory(error):
        _free_memory(error)
        return Failure(said if "out of memory" in said else f"out of memory: {said}", transient=True)
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return Failure(f"{said}; make space in the folder of --home", transient=True, ends_launch=True)
    return Failure(said, transient=isinstance(error, OSError))


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
