"""Publishes a study's report, best.yaml and dashboard, also while it runs."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

from studies.store import Store
from studies.study_data import StudyData
from tuner.paths import Home

log = logging.getLogger(__name__)

_FIRST = 10.0  # seconds until the first publication
_SHORTEST_PAUSE = 30.0  # seconds between two publications, at least
_SHARE_OF_TIME = 0.02  # of the driver's time, at most; workers train meanwhile


class Publisher:
    """Publishes a running study's results in at most 2 % of the driver's time; logs failures and never raises."""

    def __init__(self, store: Store, home: Home, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._due = clock() + _FIRST
        self._shown = 0

    def now_and_then(self, ended: int) -> bool:
        """Publishes if due and if more trials have `ended` than last time; returns whether it did."""
        began = self._clock()
        if began < self._due or ended <= self._shown:
            return False
        self._shown = ended
        published = self.publish()
        now = self._clock()
        self._due = now + max(_SHORTEST_PAUSE, (now - began) / _SHARE_OF_TIME)
        return published

    def publish(self) -> bool:
        from studies.study_data import load_study_data

        try:
            publish_results(self._store, load_study_data(self._store), self._home)
        except Exception as error:  # no error here may end hours of training
            log.warning("report and dashboard were not brought up to date: %s", error)
            return False
        return True


def publish_results(store: Store, data: StudyData, home: Home) -> None:
    """Writes the report and, once a trial is complete, best.yaml; then updates the dashboard."""
    from studies.export.write import dump_config, export_config
    from studies.report.write import write_report

    home.study(store.name).mkdir(parents=True, exist_ok=True)
    write_report(data, home.report(store.name))
    if data.best is not None:
        _replace(home.best(store.name), dump_config(export_config(data, folder=home.study(store.name))))
    show_results(store, data, home)


def show_results(store: Store, data: StudyData, home: Home) -> None:
    """Updates the study's figures, note and downloads on the dashboard."""
    from studies.dashboard.publish import attach, publish

    publish(store, data)
    files = (home.report(store.name), home.best(store.name))
    attach(store, [file for file in files if file.exists()], home.artifacts)


def _replace(path: Path, text: str) -> None:
    """Writes the file atomically: somebody may read it while the study runs."""
    unfinished = path.with_name(f".{path.name}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
