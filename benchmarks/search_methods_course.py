"""One training an epoch at a time for search_methods; what it gave is kept, and a later call goes on from there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.search_methods_found import write
from trainers.config import Scalar
from trainers.results import HeadResult, JobResult, Progress

VALUE, TEST = "val.balanced_accuracy", "test.balanced_accuracy"


class Course:
    """One training, an epoch at a time; what it gave is kept, and it goes on from its checkpoint."""

    def __init__(self, config: Mapping[str, Scalar], home: Path) -> None:
        self.config = dict(config)
        self.epochs = int(self.config["stage1.epochs"] or 0)
        self._home = home
        self._path = home / "courses" / f"{hashlib.sha256(json.dumps(self.config).encode()).hexdigest()[:16]}.json"
        found = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
        self._values: list[float] = found.get("values", [])
        self._head: float | None = found.get("head")
        self._lost: bool = found.get("lost", False)
        self._events: Generator[Progress, None, Any] | None = None

    def at(self, epoch: int) -> tuple[float, bool]:
        """The value after this epoch, and whether it was the last one. A training that diverged ends with 0."""
        while self._head is None and (len(self._values) < epoch or epoch == self.epochs):
            self._advance()
        last = epoch == self.epochs or (self._lost and epoch > len(self._values))
        return (self._head or 0.0, True) if last else (self._values[epoch - 1], False)

    def close(self) -> None:
        """Leaves a checkpoint, if it is under way."""
        if self._events is not None:
            self._events.close()

    def _advance(self) -> None:
        from trainers.errors import DivergedError

        self._events = self._events or job([self.config], home=self._home)
        try:
            progress = next(self._events)
        except StopIteration as end:
            result: JobResult = end.value.result
            self._values = []
            for row in result.backbone.epochs:  # also those that an earlier call or another method trained
                self._measured(row.metrics)
            self._head = value_of(result, VALUE)
        except DivergedError:
            self._lost, self._head = True, 0.0
        else:
            if progress.stage != 1 or progress.epoch != len(self._values) + 1:
                return
            self._measured(progress.metrics)
        write(self._path, {"config": self.config, "values": self._values, "head": self._head, "lost": self._lost})

    def _measured(self, metrics: Mapping[str, float | None]) -> None:
        """An epoch without a validation, as in long schedules, has the value of the one before."""
        self._values.append(float(metrics.get(VALUE) or (self._values[-1] if self._values else 0.0)))


def job(configs: list[Mapping[str, Scalar]], *, home: Path, read_test: bool = False) -> Generator[Progress, None, Any]:
    """Heads on one backbone, on the GPU if there is one."""
    import torch

    from trainers.files.cache import Cache
    from trainers.job import Job, run_job

    torch.set_num_threads(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return run_job(Job.from_flat(configs, read_test=read_test), cache=Cache(home / "cache"), device=device)


def finished(events: Generator[Progress, None, Any]) -> JobResult:
    """The result of a job."""
    try:
        while True:
            next(events)
    except StopIteration as end:
        result: JobResult = end.value.result
        return result


def value_of(result: JobResult, measure: str) -> float:
    """Of a job's only head; 0 if it failed."""
    head = result.heads[0]
    return float(head.metrics.get(measure) or 0.0) if isinstance(head, HeadResult) else 0.0
