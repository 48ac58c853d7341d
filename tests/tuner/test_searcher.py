"""Reasons of dead workers are what a person can use of Ray's reports; the rest of the searcher is in test_outage.py."""

from __future__ import annotations

import pytest

from tuner.searcher import _error_line, _trained_again


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR End of file. "
         "Some common causes include: (1) the process was killed by the OOM killer, (2) ray stop --force was called.",
         "Worker exit type: SYSTEM_ERROR End of file."),
        ("Traceback\n  File \"x.py\"\nModuleNotFoundError: no module x\nsee above", "ModuleNotFoundError: no module x"),
        ("The actor died.\nThe actor never ran - it was cancelled.", "it was ended before it took the job"),
        ("", "no reason given"),
        ("y" * 400, "y" * 300),
    ],
)  # fmt: skip
def test_the_reason_is_one_line_of_what_was_seen(report: str, reason: str) -> None:
    assert _error_line(report) == reason


def test_the_size_limit_is_blamed_only_where_there_is_one() -> None:
    """The files may also have been deleted, and without a limit they must have been."""
    assert "deleted" in _trained_again(3, limited=True)
    assert "--cache-gb" in _trained_again(3, limited=True)
    assert "--cache-gb" not in _trained_again(3, limited=False)
