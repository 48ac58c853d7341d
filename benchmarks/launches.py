"""Real launches of a small study, and the databases they write, for the kill campaign."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from benchmarks.postgres_server import PostgresServer, postgres_programs
from benchmarks.processes import Process, descendants

SPACE = """
version: 1
name: chaos
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 8
  lr: {low: 2e-2, high: 1e-1, log: true}
  weight_decay: {low: 1e-3, high: 5e-2, log: true}
stage2:
  epochs: 4
  weight_decay: {low: 1e-3, high: 1e-1, log: true}
  maxnorm_radius: {low: 0.1, high: 2.0, log: true}
budget: {backbones: 4, heads_per_backbone: 4, rounds: 2, max_retries: 1000}
baselines: [naive, weight_decay, tau_norm]
"""

Trials = dict[int, tuple[Any, ...]]


class Storage(Protocol):
    """A kind of study database: makes empty ones, and sees commits."""

    def new(self, home: Path) -> str: ...
    def commits(self, url: str, home: Path) -> contextlib.AbstractContextManager[Callable[[], bool]]: ...


class Sqlite:
    """A file in the study's home; a commit begins when its log changes."""

    def new(self, home: Path) -> str:
        """The URL of a database that is not there yet."""
        return f"sqlite:///{home / 'studies.db'}"

    @contextlib.contextmanager
    def commits(self, url: str, home: Path) -> Iterator[Callable[[], bool]]:
        """Whether something is being written."""
        log = home / "studies.db-wal"

        def state() -> tuple[int, int]:
            with contextlib.suppress(FileNotFoundError):
                found = log.stat()
                return found.st_size, found.st_mtime_ns
            return 0, 0

        before = state()
        yield lambda: state() != before


class Postgres:
    """A database on a server of our own; a commit is under way while a connection is in a writing transaction."""

    def __init__(self, server: PostgresServer) -> None:
        self.server = server

    def new(self, home: Path) -> str:
        """The URL of an empty database."""
        return self.server.new_database()

    @contextlib.contextmanager
    def commits(self, url: str, home: Path) -> Iterator[Callable[[], bool]]:
        """Whether something is being written."""
        name = url.rpartition("/db_")[2].partition("?")[0]
        question = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_xid IS NOT NULL"  # has written
        with self.server.connect() as connection:
            yield lambda: bool(connection.execute(question, (f"db_{name}",)).fetchone()[0])  # type: ignore[index]


class Launch:
    """One `tuner launch`, in a temporary folder and home of its own."""

    def __init__(self, folder: Path, home: Path, url: str, *, parallel: int, name: str = "chaos") -> None:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
        own = {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "t"), "TUNER_CHECKPOINT_SECONDS": "0"}
        (folder / "t").mkdir(exist_ok=True)
        (folder / "chaos.yaml").write_text(SPACE)
        self.log = folder / "log"
        with self.log.open("w") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "tuner", "launch", "--space", str(folder / "chaos.yaml"), "--name", name,
                 "--home", str(home), "--storage", url, "--parallel", str(parallel)],
                env={**kept, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether the driver has not ended."""
        return self.driver.poll() is None

    def workers(self) -> list[Process]:
        """The processes that run jobs now."""
        return [process for process in descendants(self.driver.pid) if process.title.startswith("ray::JobTrainable")]

    def kill(self) -> list[Process]:
        """SIGKILL to the driver; returns the processes that it had."""
        family = descendants(self.driver.pid)
        self.driver.kill()
        self.driver.wait()
        return family

    def finish(self) -> None:
        """Waits for its end. Raises RuntimeError when it did not end well."""
        if self.driver.wait() != 0:
            raise RuntimeError(f"a launch ended with exit code {self.driver.returncode}:\n{self.log.read_text()}")


def trials(url: str, name: str = "chaos") -> Trials:
    """The study's trials by number: state, role, parameters, value, and all measures; none when it is not there."""
    from studies.errors import StudyNotFoundError
    from studies.store import Store

    try:
        with Store.open(url, name) as store:
            rows = store.trials()
    except StudyNotFoundError:
        return {}
    return {row.number: (row.state, row.role, dict(row.params), row.value, dict(row.metrics)) for row in rows}


@contextlib.contextmanager
def server() -> Iterator[PostgresServer | None]:
    """A running PostgreSQL; None, with a word, when the machine has no programs for it."""
    programs = postgres_programs()
    if programs is None:
        print("no PostgreSQL on this machine: neither on PATH nor in /usr/lib/postgresql; only SQLite is tried")
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="chaos-pg-", dir="/tmp") as folder:
        made = PostgresServer(programs, Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()
