"""How a study stands: how many trials of which end, and which is the best so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from studies.records import TrialRow
from studies.study_data import SLOPE, best_confirmed, preference


@dataclass
class Tally:
    """Numbers of trials in the study; `failed_jobs` counts jobs."""

    total: int
    complete: int = 0
    pruned: int = 0
    failed: int = 0
    running: int = 0
    failed_jobs: int = 0

    def add_running(self, trials: int) -> None:
        """Counts trials handed out; a study whose best changed with a larger budget confirms more than its total."""
        self.running += trials
        self.expect(self.total)

    def expect(self, total: int) -> None:
        """Sets the total, but never below the trials that are there."""
        self.total = max(total, self.complete + self.pruned + self.failed + self.running)


@dataclass(frozen=True)
class Leader:
    """The best trial so far, by the (first) objective on validation; with several `runs` by their mean."""

    number: int
    value: float
    few: float | None
    slope: float | None = None
    others: tuple[float, ...] = ()  # its gains by further objectives
    runs: int = 1

    @property
    def preference(self) -> tuple[float, ...]:
        """The sort key by which the report chooses the best trial, too."""
        return preference(self.value, self.slope, self.number, *self.others)


def leader_by_mean(rows: Sequence[TrialRow]) -> Leader | None:
    """The chosen trial, if the choice is by the mean over seeds."""
    found = best_confirmed(rows)
    if found is None:
        return None
    few, slope = found.mean("val.few"), found.mean(SLOPE)
    return Leader(found.trial.number, found.value.mean, few, slope, runs=len(found.runs))


def leader_with(
    leader: Leader | None, number: int, reached: tuple[float, ...], metrics: Mapping[str, float | None]
) -> Leader:
    """The better of the leader and a trial with these gains; a mean over seeds is never overtaken by one run."""
    if leader is not None and leader.runs > 1:
        return leader
    value, *others = reached
    found = Leader(number, value, metrics.get("val.few"), metrics.get(SLOPE), tuple(others))
    return found if leader is None or found.preference > leader.preference else leader
