"""How a machine is cut into workers, and which wishes it cannot meet."""

from __future__ import annotations

import pytest

from tuner.errors import UsageError
from tuner.execution.slots import Resources, Slots, cut_slots


@pytest.mark.parametrize(
    ("asked", "cpus", "gpus", "expected"),
    [
        (Resources(), 8, 0, (8, 1, 0.0, 0)),
        (Resources(parallel=2), 8, 0, (2, 4, 0.0, 0)),
        (Resources(parallel=20), 8, 0, (8, 1, 0.0, 0)),
        (Resources(), 16, 1, (1, 16, 1.0, 1)),
        (Resources(), 16, 4, (4, 4, 1.0, 4)),
        (Resources(parallel=4), 16, 1, (4, 4, 0.25, 1)),  # four at a time on one GPU
        (Resources(parallel=2), 16, 4, (2, 8, 1.0, 4)),
        (Resources(parallel=3), 12, 2, (3, 4, 0.5, 2)),  # each whole on one GPU
        (Resources(gpus_per_trial=0.4), 16, 2, (4, 4, 0.4, 2)),  # two fit on each, not five on both
        (Resources(gpus_per_trial=2), 16, 4, (2, 8, 2.0, 4)),
        (Resources(gpus_per_trial=0), 16, 1, (16, 1, 0.0, 0)),  # the GPU is left alone
        (Resources(gpus_per_trial=0.1), 4, 1, (4, 1, 0.1, 1)),  # a CPU each
        (Resources(gpus_per_trial=0), 4, 0, (4, 1, 0.0, 0)),
    ],
)
def test_slots(asked: Resources, cpus: int, gpus: int, expected: tuple[int, int, float, int]) -> None:
    slots = cut_slots(asked, cpus=cpus, gpus=gpus)
    workers, cpus_each, gpus_each, total = expected
    assert slots == Slots(workers=workers, cpus_each=cpus_each, gpus_each=pytest.approx(gpus_each), gpus=total)
    assert slots.workers * slots.cpus_each <= cpus


@pytest.mark.parametrize("share", [2, 1.5, -0.5])
def test_a_share_that_no_worker_can_have_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="--gpus-per-trial"):
        cut_slots(Resources(gpus_per_trial=share), cpus=8, gpus=1)
    with pytest.raises(UsageError, match="whole number"):
        cut_slots(Resources(gpus_per_trial=1.5), cpus=8, gpus=4)
