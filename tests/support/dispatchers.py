"""A dispatcher over a study of its own, without an executor and without anybody who watches."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from search_spaces import Space
from studies.store import Store
from tuner.execution.dispatcher import Dispatcher
from tuner.execution.messages import WorkerSettings
from tuner.search.planner import Planner


@contextlib.contextmanager
def dispatcher_of(space: Space, folder: Path, *, at_once: int = 1) -> Iterator[Dispatcher]:
    """Hands out a new study's tasks, `at_once` in a request."""
    with Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}",
        name=space.name,
        space_yaml=space.to_yaml(),
        space_sha256=space.sha256,
        objective=space.objective,
    ) as store:
        silent = SimpleNamespace(started=lambda *_: None, progressed=lambda *_: None, ended=lambda *_, **__: None)
        settings = WorkerSettings(threads=1, cache=str(folder))
        yield Dispatcher(Planner(space, store), silent, settings, lambda: None, at_once=at_once)
