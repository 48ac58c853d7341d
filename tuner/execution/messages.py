"""What crosses the border to a worker process, and the one codec for it: JSON there, records on both sides.

A message is one text, because Tune copies, flattens and logs whatever structure it sees. Floats come back to the bit,
and so do NaN and infinities.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter
from pydantic_core import to_json

from studies.records import Failure
from trainers.config import Scalar
from trainers.results import JobResult, Progress

_REQUEST, _REPORT = "request", "report"  # the keys in Tune's dictionaries
DONE = "done"  # Tune's own key: the job has ended


@dataclass(frozen=True, kw_only=True)
class WorkerSettings:
    """What every job needs to know about the machine."""

    threads: int
    cache: str
    cache_bytes: int | None = None
    checkpoint_seconds: float = 30.0  # between two checkpoints of stage 1
    gpu: bool = False  # False: not even where there is one


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """One job: heads on one backbone, as whole flat configurations."""

    configs: tuple[dict[str, Scalar], ...]
    read_test: bool
    settings: WorkerSettings
    code: str  # hash of the driver's source code

    def to_tune(self) -> dict[str, Any]:
        """As the config of a Tune trial."""
        return {_REQUEST: _encoded(self)}

    @classmethod
    def from_tune(cls, config: Mapping[str, Any]) -> TrainRequest:
        """Of the config of a Tune trial. Raises KeyError or pydantic's ValidationError for another one."""
        return _REQUESTS.validate_json(config[_REQUEST])


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a worker says: how far it is, what the job gave back, or why it came to nothing."""

    content: Progress | JobResult | Failure
    warnings: tuple[str, ...] = ()  # since the last report; nobody looks at what a worker prints

    def to_tune(self) -> dict[str, Any]:
        """As a result of a Tune trial."""
        return {_REPORT: _encoded(self), DONE: not isinstance(self.content, Progress)}

    @classmethod
    def from_tune(cls, result: Mapping[str, Any] | None) -> Report | None:
        """Of a result of a Tune trial; None where the worker said nothing."""
        text = (result or {}).get(_REPORT)
        return None if text is None else _REPORTS.validate_json(text)


def _encoded(message: TrainRequest | Report) -> str:
    return to_json(message, inf_nan_mode="constants").decode()


_REQUESTS = TypeAdapter(TrainRequest)
_REPORTS = TypeAdapter(Report)
