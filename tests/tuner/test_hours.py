"""The hours of a budget are those of all launches."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from studies.store import Store
from tuner.hours import Hours


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    known = {"space_yaml": "", "space_sha256": "0", "objective": "val.balanced_accuracy"}
    with Store.create_or_open(f"sqlite:///{tmp_path / 'studies.db'}", name="timed", **known) as opened:
        yield opened


def test_a_second_launch_goes_on_where_the_first_one_stopped(store: Store) -> None:
    clock = Clock()
    first = Hours(store, 1.0, clock=clock)
    clock.now += 3000
    assert not first.over
    first.keep()
    clock.now += 5
    first.keep()  # too soon
    assert store.study().spent_seconds == 3000
    first.keep(now=True)
    clock.now += 100_000  # nobody works on it
    second = Hours(store, 1.0, clock=clock)
    assert second.spent == 3005
    clock.now += 600
    assert second.over
    assert not Hours(store, 2.0, clock=clock).over


def test_without_a_budget_they_are_counted_and_never_over(store: Store) -> None:
    clock = Clock()
    hours = Hours(store, None, clock=clock)
    clock.now += 1e9
    hours.keep()
    assert not hours.over
    assert store.study().spent_seconds == 1e9
