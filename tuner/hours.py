"""The hours of a study's budget, over all its launches."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from studies.store import Store

_KEEP_EVERY = 10.0  # seconds; what a killed driver has worked since the last time is not counted


class Hours:
    """A clock that goes on where the launch before it stopped."""

    def __init__(self, store: Store, budget: float | None, *, clock: Callable[[], float] = time.monotonic) -> None:
        """`budget` in hours; None: as long as it takes."""
        self._store, self._clock = store, clock
        self._limit = math.inf if budget is None else 3600 * budget
        self._before = store.study().spent_seconds
        self._began = self._kept = clock()

    @property
    def spent(self) -> float:
        """Seconds of work, this launch's included."""
        return self._before + self._clock() - self._began

    @property
    def over(self) -> bool:
        """Whether the budget is used up."""
        return self.spent > self._limit

    def keep(self, *, now: bool = False) -> None:
        """Writes it down, every ten seconds or now."""
        if now or self._clock() - self._kept > _KEEP_EVERY:
            self._kept = self._clock()
            self._store.set_spent(self.spent)
