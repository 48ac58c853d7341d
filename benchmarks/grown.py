"""A study that is killed and then resumed with a wider space, and killed again.

Its first launch is struck once there is a result. Whatever follows is `tuner resume` with wider ranges and one more
choice, so that a strike may fall between the change of the space and its first trial. Where a study grows depends on
when it was struck, so that only its earlier trials are those of a study that nobody touched.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.counts import GrowCount
from benchmarks.endings import Ending, differences, shape
from benchmarks.killed import Killed
from benchmarks.launches import NAME, SPACE, Launch
from benchmarks.strikes import DRIVER, Strike
from benchmarks.witness import Sight
from studies.store import Store

SMALLER = SPACE.replace("backbones: 4", "backbones: 3")  # so that something is left for the wider space
WIDER = (
    "stage1.weight_decay.high=1e-1",
    "stage2.maxnorm_radius.low=0.05",
    "stage2.loss={choices: [cb_ce, logit_adjusted]}",
    "budget.backbones=4",
)
STRIKES = tuple(Strike(moment, DRIVER) for moment in ("results", "any", "commit", "checkpoint", "backbone"))
FEW_STRIKES = STRIKES[:1]


class Grown(Killed):
    """Every strike ends a launch; the first one of a study waits for a result, as every other one does."""

    count: GrowCount

    def _holds_fire(self, wanted: Strike, struck: int) -> bool:
        return struck == 0 or super()._holds_fire(wanted, struck)

    def _started(self) -> Launch:
        if self._survived:
            return Launch(self.place, parallel=self.count.parallel, wider=WIDER)
        return Launch(self.place, parallel=self.count.parallel, space=SMALLER)

    def _is_exact(self, sight: Sight) -> bool:
        """Readings are left out: a first launch that was killed amid them has read another choice."""
        return not self._survived or shape(sight)[:2] == shape(self.reference.sight)[:2]

    def _compare(self, ending: Ending) -> None:
        if not self._survived:
            return  # it ended before it was struck
        with Store.open(self.place.url, NAME) as store:
            spaces, trials = store.spaces(), store.trials()
        self.count.ungrown += len(spaces) != 2
        self.count.from_wider += sum(row.space > 1 for row in trials)
        first = spaces[-1].first_trial
        self._add_differences(differences(_until(ending, first), _until(self.reference, first)))
        self.count.weights_compared += len(ending.weights.keys() & self.reference.weights.keys())


def _until(ending: Ending, trial: int) -> Ending:
    """Only the trials before this one."""
    trials = {number: row for number, row in ending.sight.trials.items() if number < trial}
    return Ending(replace(ending.sight, trials=trials, readings=()), ending.weights)
