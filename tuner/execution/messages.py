"""The messages between driver and worker, and their one codec: records on both sides, JSON between them.

A message is one string, because Tune copies, flattens and logs any structure. Floats, NaN and infinities survive bit
by bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from studies.records import Failure
from trainers.config import Scalar, StepWay
from trainers.results import JobResult, Progress

Content = Progress | JobResult | Failure  # news of a job
_REQUEST, _REPORT = "request", "report"  # the keys in Tune's dictionaries
DONE = "done"  # Tune's own key: True if the trial has ended


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """Settings of the machine that every job needs."""

    threads: int
    cache: str
    cache_bytes: int | None = None
    checkpoint_seconds: float = 30.0  # between two checkpoints of stage 1
    gpu: bool = False  # False: use the CPU even if there is a GPU
    way: StepWay = "recorded"  # of computing a training step


@dataclass(frozen=True, kw_only=True)
class JobRequest:
    """One job: heads on one backbone, as whole flat configurations."""

    configs: tuple[dict[str, Scalar], ...]
    read_test: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """The jobs that one worker runs at the same time."""

    jobs: tuple[JobRequest, ...]
    settings: WorkerSettings
    code: str  # hash of the driver's source code

    def to_tune(self) -> dict[str, Any]:
        """Encodes it as the config of a Tune trial."""
        return {_REQUEST: _to_line(self)}

    @classmethod
    def from_tune(cls, config: Mapping[str, Any]) -> TrainRequest:
        """Decodes the config of a Tune trial. Raises KeyError or pydantic's ValidationError for any other config."""
        return _REQUESTS.validate_json(config[_REQUEST])


@dataclass(frozen=True, kw_only=True)
class Report:
    """A worker's report: by each job's place in the request its newest progress, its result, or its failure."""

    contents: dict[int, Content]
    over: bool = False  # every job has ended
    warnings: tuple[str, ...] = ()  # since the last report; nobody sees a worker's output

    def to_tune(self) -> dict[str, Any]:
        """Encodes it as a result of a Tune trial."""
        return {_REPORT: _to_line(self), DONE: self.over}

    @classmethod
    def from_tune(cls, result: Mapping[str, Any] | None) -> Report | None:
        """Decodes a result of a Tune trial; None if it holds no report."""
        text = (result or {}).get(_REPORT)
        return None if text is None else _REPORTS.validate_json(text)


def _to_line(message: TrainRequest | Report) -> str:
    return to_json(message, inf_nan_mode="constants").decode()


_REQUESTS = TypeAdapter(TrainRequest)
_REPORTS = TypeAdapter(Report)
