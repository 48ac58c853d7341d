"""Jobs without training, for tests that hand out tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.pretend import job_result
from trainers.results import JobResult


@pytest.fixture
def pretend() -> Callable[[Any], JobResult]:
    """The result of a task as it arrives from a worker."""
    return lambda task: job_result(task.configs, read_test=task.kind == "reading")
