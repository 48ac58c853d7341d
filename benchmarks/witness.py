"""What an onlooker sees of a study while it is killed: read without disturbing it, and remembered.

SQLite is opened read-only and anew for every look, so that nobody but the next driver repairs what a killed one left;
PostgreSQL is asked in a transaction that takes no lock in anybody's way.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Engine, create_engine, func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool

from studies.records import FailureKind, JobRow, ReadingRow
from studies.sql import optuna_rows, reads
from studies.sql.tables import JobTable, ReadingTable
from studies.sql.urls import sqlite_file

LOOK_EVERY = 0.03  # seconds; a look at a study in which nothing happened is two small queries

Key = int | tuple[str, str]  # a trial's number, or a reading's role and configuration
Row = tuple[Any, ...]


@dataclass(frozen=True)
class Sight:
    """A study at one moment."""

    trials: dict[int, Row] = field(default_factory=dict)  # number: state, role, parameters, value, all measures
    readings: tuple[tuple[Key, Row], ...] = ()
    jobs: tuple[JobRow, ...] = ()
    reasons: tuple[str, ...] = ()  # of trials that failed

    @property
    def kinds(self) -> set[FailureKind | None]:
        """Why jobs failed."""
        return {job.failure for job in self.jobs if job.state == "failed"}

    def count(self, state: str) -> int:
        """How many trials are in this state."""
        return sum(row[0] == state for row in self.trials.values())

    @property
    def results(self) -> dict[Key, Row]:
        """What must never be lost: completed trials and readings of test data."""
        complete: dict[Key, Row] = {number: row for number, row in self.trials.items() if row[0] == "COMPLETE"}
        return {**complete, **dict(self.readings)}


class Witness:
    """Looks at a study again and again, from a thread of its own while it is a context manager."""

    def __init__(self, url: str, name: str) -> None:
        self.last = Sight()
        self.seen: dict[Key, Row] = {}  # every result that was ever seen
        self.lost: set[Key] = set()  # those that were gone, or another, at a later look
        self.moved = time.monotonic()  # when something had last happened
        self._name, self._engine = name, _onlookers_engine(url)
        self._outline: Any = None
        self._turn, self._ended = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._engine.dispose()

    def look(self) -> Sight:
        """A whole look, now; what was seen before and is not there any more counts as lost. Raises DBAPIError."""
        return self._look(whole=True)

    def wait(self, until: Callable[[Sight], bool], *, running: Callable[[], bool], seconds: float = 300.0) -> bool:
        """Waits for something to be seen; False when the launch ended, or time is up, before it was."""
        deadline = time.monotonic() + seconds
        while not until(self.last):
            if not running() or time.monotonic() > deadline:
                return False
            time.sleep(LOOK_EVERY)
        return True

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Nobody looks meanwhile, for what lies at the database's place is not the study."""
        with self._turn:
            yield

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_EVERY):
            with contextlib.suppress(DBAPIError):  # not there yet, locked, or stopped for a while
                self._look(whole=False)

    def _look(self, *, whole: bool) -> Sight:
        with self._turn, Session(self._engine) as session:
            if self._engine.dialect.name == "sqlite":
                session.execute(text("BEGIN"))  # one snapshot
            study = optuna_rows.find_study_id(session, self._name)
            outline = None if study is None else _outline(session, study)
            if outline != self._outline:
                self._outline, self.moved, whole = outline, time.monotonic(), True
            if whole:
                self.last = Sight() if study is None else _sight(session, study)
                self._remember(self.last.results)
            return self.last

    def _remember(self, now: dict[Key, Row]) -> None:
        self.lost |= {key for key, row in self.seen.items() if now.get(key) != row}
        self.seen = {**now, **self.seen}


def _onlookers_engine(url: str) -> Engine:
    file = sqlite_file(url)
    if file is None:
        return create_engine(url, pool_size=1, isolation_level="REPEATABLE READ")
    return create_engine(f"sqlite:///file:{file}?mode=ro&uri=true", poolclass=NullPool, connect_args={"timeout": 1.0})


def _outline(session: Session, study: int) -> tuple[Any, ...]:
    """What changes with everything that happens in a study, except the view of its progress."""
    jobs = session.execute(
        select(JobTable.job_id, JobTable.state, JobTable.attempts)
        .where(JobTable.study_id == study)
        .order_by(JobTable.job_id)
    )
    readings = session.scalar(select(func.count(ReadingTable.reading_id)).where(ReadingTable.study_id == study))
    return tuple(tuple(row) for row in jobs), readings


def _sight(session: Session, study: int) -> Sight:
    rows = reads.trials(session, study)
    return Sight(
        trials={row.number: (row.state, row.role, dict(row.params), row.value, dict(row.metrics)) for row in rows},
        readings=tuple(_reading(row) for row in reads.readings(session, study)),
        jobs=tuple(reads.jobs(session, study)),
        reasons=tuple(row.reason or "" for row in rows if row.state == "FAIL"),
    )


def _reading(row: ReadingRow) -> tuple[Key, Row]:
    key = row.role, json.dumps(dict(row.config), sort_keys=True)
    return key, (dict(row.metrics), row.classes, row.temperature, row.number, row.backbone)
