"""What Optuna's dashboard shows of a study, kept fresh while it runs, at a small share of the driver's time."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable

from studies.store import Store
from studies.study_data import StudyData
from tuner.paths import Home

log = logging.getLogger(__name__)

_PAUSE = 60.0  # seconds from one publication to the next, at least
_SHARE = 0.02  # of the driver's time, at most; workers train meanwhile


class Publisher:
    """Publishes figures and note of a running study, seldom enough to cost next to nothing.

    The dashboard is a view: when it cannot be written, the reason is logged and the search goes on.
    """

    def __init__(self, store: Store, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._clock = clock
        self._due = clock() + _PAUSE

    def now_and_then(self) -> bool:
        """Publishes when it is due; returns whether it did."""
        began = self._clock()
        if began < self._due:
            return False
        self._due = math.inf
        published = self._publish()
        ended = self._clock()
        self._due = ended + max(_PAUSE, (ended - began) / _SHARE)
        return published

    def _publish(self) -> bool:
        from studies.dashboard import publish
        from studies.study_data import load_study_data

        try:
            publish(self._store, load_study_data(self._store))
        except Exception as error:  # whatever it is, it must not end hours of training
            log.warning("the dashboard was not brought up to date: %s", error)
            return False
        return True


def show_results(store: Store, data: StudyData, home: Home) -> None:
    """Figures, note, and the files of a study that there are, for the dashboard."""
    from studies.dashboard import attach, publish

    publish(store, data)
    files = (home.report(store.name), home.best(store.name))
    attach(store, [file for file in files if file.exists()], home.artifacts)
