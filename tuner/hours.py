"""The hours that a study has spent, summed over its launches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from studies.store import Store

_KEEP_EVERY = 10.0  # seconds; time since the last write is lost if the driver is killed


class Hours:
    """A clock that continues where the previous launch stopped."""

    def __init__(self, store: Store, budget: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`budget` is in hours; None sets no limit."""
        self._store, self._clock = store, clock
        self._limit = math.inf if budget is None else 3600 * budget
        self._before = store.study().spent_seconds
        self._began = self._kept = clock()

    @property
    def spent(self) -> float:
        """Seconds over all launches, this one included."""
        return self._before + self._clock() - self._began

    @property
    def over(self) -> bool:
        """Whether the budget is used up."""
        return self.spent > self._limit

    def keep(self, *, now: bool = False) -> None:
        """Stores the spent time, at most every ten seconds unless `now`."""
        if now or self._clock() - self._kept > _KEEP_EVERY:
            self._kept = self._clock()
            self._store.set_spent(self.spent)
