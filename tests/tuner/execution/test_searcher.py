"""Reasons of dead workers are what a person can use of Ray's reports; the rest of the searcher is in test_outage.py."""

from __future__ import annotations

import pytest

from tuner.execution.deaths import cause, oom_kills
from tuner.execution.dispatcher import trained_again

KILLED = (
    "The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR End of file. "
    "Some common causes include: (1) the process was killed by the OOM killer, (2) ray stop --force was called."
)
MONITOR = (  # as Ray 2.60 writes it
    "Failure # 1\n1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 127.0.0.1, "
    "ID: b3) was 22.70GB used / 23.54GB limit (0.96)\nOOM kill reason: Memory usage exceeded threshold\n"
    "Refer to the documentation on how to address the out of memory issue: https://docs.ray.io/en/latest"
)


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        (KILLED, "it was killed or crashed silently (SIGKILL, or a fault in C++)"),
        (MONITOR, "Ray killed it because the machine was nearly out of memory (22.70GB of 23.54GB used); fewer jobs at "
                  "a time (--parallel) need less"),
        ("Traceback\n  File \"x.py\"\nModuleNotFoundError: no module x\nsee above", "ModuleNotFoundError: no module x"),
        ("The actor died.\nThe actor never ran - it was cancelled.", "it was ended before it took the job"),
        ("", "no reason given"),
        ("y" * 400, "y" * 300),
    ],
)  # fmt: skip
def test_the_reason_is_one_line_of_what_was_seen(report: str, reason: str) -> None:
    assert cause(report, oom_killed=False) == reason


def test_want_of_memory_is_said_where_the_kernel_counted_a_kill() -> None:
    assert "for lack of memory; fewer jobs" in cause(KILLED, oom_killed=True)
    assert oom_kills() >= 0


def test_the_size_limit_is_blamed_only_where_there_is_one() -> None:
    """The files may also have been deleted, and without a limit they must have been."""
    assert "deleted" in trained_again(3, limited=True)
    assert "--cache-gb" in trained_again(3, limited=True)
    assert "--cache-gb" not in trained_again(3, limited=False)
