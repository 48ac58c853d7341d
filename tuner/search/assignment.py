"""What the planner hands out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from studies.records import JobKind, JobRow
from trainers.config import Scalar
from tuner.search.readings import Reading


@dataclass(frozen=True)
class Assignment:
    """A unit of work for a worker: heads on one backbone. A reading has no job because it is no trial."""

    kind: JobKind | Literal["reading"]
    configs: tuple[Mapping[str, Scalar], ...]
    job: JobRow | None = None
    readings: tuple[Reading, ...] = ()
    attempts: int = 1  # at a reading; the study holds those at a job

    @property
    def is_retry(self) -> bool:
        """True if it failed before."""
        return (self.attempts if self.job is None else self.job.attempts) > 1
