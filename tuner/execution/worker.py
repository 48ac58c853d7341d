"""The Ray actor that runs one job after another."""

from __future__ import annotations

import logging
from typing import Any

from ray import tune

from studies.records import Failure, FailureKind
from trainers.results import JobResult, Progress
from tuner.execution.job_run import JobRun
from tuner.execution.messages import Report, TrainRequest
from tuner.execution.same_code import difference


class JobTrainable(tune.Trainable):
    """One job. Its errors come back as failures; Tune sees an error only if the process dies or becomes unusable."""

    def setup(self, config: dict[str, Any]) -> None:
        """Starts a job, unless this process's code differs from the driver's."""
        self._warnings = _heard_warnings()
        request = TrainRequest.from_tune(config)
        self._foreign = difference(request.code)
        self._job = JobRun(request) if self._foreign is None else None

    def step(self) -> dict[str, Any]:
        """Runs the job for about half a second; the last step returns the whole result."""
        if self._job is None:
            content: Progress | JobResult | Failure = Failure(FailureKind.OTHER_CODE, self._foreign or "")
        else:
            content = self._job.advance()
        return Report(content=content, warnings=self._said()).to_tune()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next job in the same process, so that start-up and data loading happen once."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Closes the job, which leaves a checkpoint if it was stopped in the middle."""
        if self._job is not None:
            self._job.close()

    def _said(self) -> tuple[str, ...]:
        messages = tuple(dict.fromkeys(self._warnings.messages))
        self._warnings.messages.clear()
        return messages


class _Heard(logging.Handler):
    """Keeps log messages."""

    def __init__(self) -> None:
        super().__init__(level=logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _heard_warnings() -> _Heard:
    """This process's one handler of the trainer's warnings."""
    trainer = logging.getLogger("trainers")
    known = next((handler for handler in trainer.handlers if isinstance(handler, _Heard)), None)
    if known is None:
        known = _Heard()
        trainer.addHandler(known)
    return known
