"""Jobs of one process that take turns, so that several train side by side on one GPU.

A job is a generator. It yields a `Turn` wherever another job may continue, and a `Progress` after each epoch. On a GPU
each job asks for its kernels on a stream of its own; the host never waits between two turns of an epoch, so the
kernels of several jobs run at the same time. A job's result is that of running it alone.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from trainers.results import Progress

logger = logging.getLogger(__name__)

T = TypeVar("T")
Clock = Callable[[], float]  # seconds from any start
WAIT_SECONDS = 0.2  # between two looks at what another process is training
_MEMORY_MARGIN = 1.25  # a job's peak is measured in its first epoch; later ones and stage 2 need somewhat more


class Turn(enum.Enum):
    """Where a job lets others continue."""

    STEP = "after a training step"
    WAIT = "while another process trains the same backbone"


Events = Generator[Progress | Turn, None, T]


def alone(events: Events[T]) -> Generator[Progress, None, T]:
    """The same job without turns."""
    with contextlib.closing(events):
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: T = stop.value
                return result
            if event is Turn.WAIT:
                time.sleep(WAIT_SECONDS)
            elif isinstance(event, Progress):
                yield event


class SharedClock:
    """Divides the time of the process equally among the jobs under way, so that their seconds add up to it."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._share, self._last, self._jobs = 0.0, clock(), 1

    def __call__(self) -> float:
        """Seconds of one job."""
        return self._share + (self._clock() - self._last) / self._jobs

    def divide(self, jobs: int) -> None:
        """From now on the time is divided by `jobs`."""
        self._share, self._last, self._jobs = self(), self._clock(), max(1, jobs)


@dataclass
class _Seated:
    """A job that has begun."""

    index: int
    events: Events[object]
    stream: torch.cuda.Stream | None
    last: Progress | Turn | None = None
    epochs: int = 0  # of stage 1, since it began here
    looks_again: float = 0.0  # when, while it waits for another process

    @property
    def waits(self) -> bool:
        """True if it has nothing to do yet."""
        return self.last is Turn.WAIT and time.monotonic() < self.looks_again

    def turn(self) -> Progress | Turn:
        """Its next event. Raises StopIteration with its result, and its errors."""
        with contextlib.nullcontext() if self.stream is None else torch.cuda.stream(self.stream):
            event = next(self.events)
        self.last = event
        if event is Turn.WAIT:
            self.looks_again = time.monotonic() + WAIT_SECONDS
        self.epochs += isinstance(event, Progress) and event.stage == 1 and event.epoch > 0
        return event


@dataclass(frozen=True)
class JobEnd:
    """The end of a job: its result, or the error that ended it."""

    result: object = None
    error: Exception | None = None


@dataclass
class Together:
    """Jobs under way in this process, at most `at_once` at a time; the others begin as seats become free.

    On a GPU a job begins when those before it have finished an epoch and left enough memory. A job that fails does not
    affect the others.
    """

    jobs: Sequence[Callable[[Clock], Events[object]]]  # each makes a job that measures its seconds by this clock
    device: torch.device
    at_once: int
    _seated: list[_Seated] = field(default_factory=list, init=False)
    _begun: int = field(default=0, init=False)
    _clock: SharedClock = field(default_factory=SharedClock, init=False)
    _before: int = field(default=0, init=False)  # bytes in use before the first job
    _needed: int = field(default=0, init=False)  # bytes that the first job needed

    @property
    def over(self) -> bool:
        """True if every job has ended."""
        return not self._seated and self._begun == len(self.jobs)

    def round(self) -> Iterator[tuple[int, Progress | JobEnd]]:
        """One turn of every job; yields its progress or its end, by its index among the jobs."""
        self._seat()
        ready = [seated for seated in self._seated if not seated.waits]
        if self._seated and not ready:
            time.sleep(WAIT_SECONDS)
        for seated in ready:
            yield from self._turn(seated)

    def finish_epochs(self) -> Iterator[tuple[int, Progress | JobEnd]]:
        """Continues each job to the end of its epoch, where it can be stopped without loss; seats no other."""
        self._begun = len(self.jobs)
        for seated in [*self._seated]:
            while seated.last is Turn.STEP and seated in self._seated:
                yield from self._turn(seated)

    def close(self) -> None:
        """Ends all jobs. Those that are at the end of an epoch leave a checkpoint."""
        self._begun = len(self.jobs)
        while self._seated:
            self._seated.pop().events.close()

    def _turn(self, seated: _Seated) -> Iterator[tuple[int, Progress | JobEnd]]:
        try:
            event: Progress | Turn | JobEnd = seated.turn()
        except StopIteration as stop:
            event = JobEnd(result=stop.value)
        except Exception as error:
            event = JobEnd(error=error)
            if isinstance(error, torch.OutOfMemoryError) and len(self._seated) > 1:
                self.at_once = len(self._seated) - 1
                logger.warning("a job ran out of GPU memory; from now on %d train at a time on this GPU", self.at_once)
        if isinstance(event, JobEnd):
            self._seated.remove(seated)
            self._clock.divide(len(self._seated))
        if not isinstance(event, Turn):
            yield seated.index, event

    def _seat(self) -> None:
        """Begins the jobs for which there is room."""
        while self._begun < len(self.jobs) and len(self._seated) < self.at_once and self._has_memory():
            several = self.device.type == "cuda" and self.at_once > 1
            stream = torch.cuda.Stream(self.device) if several else None  # type: ignore[no-untyped-call]
            if stream is not None:
                stream.wait_stream(torch.cuda.current_stream(self.device))
            self._seated.append(_Seated(self._begun, self.jobs[self._begun](self._clock), stream))
            self._begun += 1
            self._clock.divide(len(self._seated))

    def _has_memory(self) -> bool:
        """True if another job fits beside those that run here and whatever else is on the GPU."""
        if self.device.type != "cuda":
            return True
        if not self._seated:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)
            self._before = torch.cuda.memory_reserved(self.device)
            return True
        if not all(seated.epochs for seated in self._seated):
            return False  # it is not known yet how much they need
        if not self._needed:
            self._needed = torch.cuda.max_memory_reserved(self.device) - self._before
        unused = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(self.device)
        return torch.cuda.mem_get_info(self.device)[0] + unused > _MEMORY_MARGIN * self._needed
