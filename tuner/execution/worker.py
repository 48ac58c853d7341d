"""The Ray actor that runs one group of jobs after another."""

from __future__ import annotations

import logging
from typing import Any

from ray import tune

from studies.records import Failure, FailureKind
from tuner.execution.job_group import JobGroup
from tuner.execution.messages import Report, TrainRequest
from tuner.execution.same_code import difference


class JobTrainable(tune.Trainable):
    """The jobs of one request. Their errors come back as failures.

    Tune sees an error only if the process dies or becomes unusable.
    """

    def setup(self, config: dict[str, Any]) -> None:
        """Starts the jobs, unless this process's code differs from the driver's."""
        self._warnings = _heard_warnings()
        request = TrainRequest.from_tune(config)
        foreign = difference(request.code)
        self._foreign = None if foreign is None else Failure(FailureKind.OTHER_CODE, foreign)
        self._jobs = JobGroup(request) if foreign is None else None

    def step(self) -> dict[str, Any]:
        """Runs the jobs for about half a second and reports their news; the last step has the last result."""
        if self._jobs is not None:
            contents = self._jobs.advance()
            return Report(contents=contents, over=self._jobs.over, warnings=self._said()).to_tune()
        assert self._foreign is not None
        return Report(contents={0: self._foreign}, over=True, warnings=self._said()).to_tune()

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next jobs in the same process, so that start-up and data loading happen once."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Ends the jobs; those that were stopped in the middle leave checkpoints."""
        if self._jobs is not None:
            self._jobs.stop()

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
