"""Phases of a launch: which event leads where, and what each phase asks for. No engine, no database, no clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import get_args

import pytest

from tuner.lifecycle import PHASES, STATES, Lifecycle, Phase, Verdict

EVENTS: dict[Phase, Callable[[Lifecycle], None]] = {
    "closing": Lifecycle.hours_are_over,
    "stopping": Lifecycle.stop_is_requested,
    "failing": Lifecycle.too_many_failed,
    "breaking": lambda lifecycle: lifecycle.breaks(OSError("away")),
}


def after(*phases: Phase) -> Lifecycle:
    lifecycle = Lifecycle()
    for phase in phases:
        EVENTS[phase](lifecycle)
    return lifecycle


def test_each_phase_is_described_and_only_the_first_has_no_event() -> None:
    assert (*PHASES,) == get_args(Phase)
    assert all(len(text) > 80 for text in PHASES.values())
    assert {"searching", *EVENTS} == set(PHASES)
    assert set(STATES) == set(get_args(Verdict))


@pytest.mark.parametrize("events", [e for n in range(5) for e in itertools.permutations(EVENTS, n)])
def test_in_any_order_the_last_phase_of_the_list_counts_and_nothing_goes_back(events: tuple[Phase, ...]) -> None:
    order = list(PHASES)
    lifecycle, reached = Lifecycle(), [0]
    for event in events:
        EVENTS[event](lifecycle)
        reached.append(order.index(lifecycle.phase))
    assert reached == sorted(reached)
    assert lifecycle.phase == max(events, key=order.index, default="searching")
    assert lifecycle.phase == after(*events, *events).phase
    assert lifecycle.ends_jobs == bool({"stopping", "breaking"} & set(events))
    assert lifecycle.tries_again == (not {"closing", "failing"} & set(events))
    assert lifecycle.writes == ("breaking" not in events)
    assert (lifecycle.error is None) == lifecycle.writes


@pytest.mark.parametrize(
    ("phase", "hands_out"),
    [("closing", "readings"), ("stopping", "nothing"), ("failing", "nothing"), ("breaking", "nothing")],
)
def test_what_is_handed_out(phase: Phase, hands_out: str) -> None:
    assert Lifecycle().hands_out == "anything"
    assert after(phase).hands_out == hands_out


def test_jobs_that_wait_end_with_the_reason_that_weighs_more() -> None:
    assert Lifecycle().drops_waiting is None
    assert after("stopping").drops_waiting is None
    assert after("closing").drops_waiting == "budget.hours were over"
    assert after("closing", "failing").drops_waiting == "more than budget.max_failed jobs failed"


def test_the_first_error_is_kept() -> None:
    lifecycle = Lifecycle()
    lifecycle.breaks(OSError("first"))
    lifecycle.breaks(OSError("second"))
    assert str(lifecycle.error) == "first"


@pytest.mark.parametrize(
    ("events", "work_left", "complete", "unread", "verdict"),
    [
        ((), False, 5, 0, "done"),
        ((), False, 5, 1, "unread"),
        ((), False, 0, 0, "failed"),
        (("stopping",), True, 5, 0, "stopped"),
        (("stopping",), False, 5, 0, "done"),  # the request came too late to matter
        (("failing",), False, 5, 0, "failed"),
        (("closing",), False, 5, 0, "done"),
        (("closing",), False, 0, 0, "out_of_time"),
        (("closing", "failing"), False, 0, 0, "failed"),
    ],
)
def test_how_a_launch_ends(
    events: tuple[Phase, ...], work_left: bool, complete: int, unread: int, verdict: Verdict
) -> None:
    assert after(*events).verdict(work_left=work_left, complete=complete, unread=unread) == verdict
