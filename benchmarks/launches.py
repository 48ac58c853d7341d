"""Real launches of a small study, and the databases they write, for the kill campaign."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from benchmarks.marked_driver import MARK
from tests.support.postgres_server import PostgresServer, postgres_programs
from tests.support.processes import Process, at_work, descendants, ray_server, read, started_with, survivors

ROOT = Path(__file__).parents[1]
KILLS_PER_STUDY = 10  # then it is let through to its end
NAME = "chaos"
SPACE = f"""
version: 1
name: {NAME}
task: {{dataset: digits-lt, imbalance_factor: 50, model: cnn-small}}
stage1:
  epochs: 8
  lr: {{low: 2e-2, high: 1e-1, log: true}}
  weight_decay: {{low: 1e-3, high: 5e-2, log: true}}
stage2:
  epochs: 4
  weight_decay: {{low: 1e-3, high: 1e-1, log: true}}
  maxnorm_radius: {{low: 0.1, high: 2.0, log: true}}
budget: {{backbones: 4, heads_per_backbone: 4, rounds: 2, max_retries: {KILLS_PER_STUDY}, max_failed: 0}}
baselines: [naive, weight_decay, tau_norm]
"""  # no job can be killed more often than it may be tried again: nothing may fail
RUNGS = f"{SPACE}fidelity: {{epochs: [2, 8]}}\n"
TWO_OBJECTIVES = f"{SPACE}objective: [val.balanced_accuracy, -val.ece]\nrefine: {{top: 1, heads: 4}}\n"


@dataclass(frozen=True)
class Place:
    """Where a study lies: a folder of its own, with a short name for Ray's sockets, a database and a home."""

    folder: Path
    url: str
    home: Path  # the launch's `--home`
    scratch: Path  # its temporary folder, by which its processes are known, too
    space: str = SPACE

    @property
    def mark(self) -> Path:
        """There while results are written; see `benchmarks.marked_driver`."""
        return self.scratch / "writing-results"

    def second(self) -> Place:
        """The same study for another launch beside the first one."""
        return replace(self, scratch=self.folder / "t2")

    def moved(self, home: Path) -> Place:
        """The same where its home, with SQLite in it, has been moved."""
        return replace(self, url=_in_home(home), home=home)

    def weights(self) -> dict[str, str]:
        """SHA-256 of the weights of each backbone that is still in the cache, by fingerprint."""
        found = {}
        for record in (self.home / "cache").glob("*/backbone.json"):
            file = record.with_name(json.loads(record.read_bytes())["file"])
            found[record.parent.name] = hashlib.sha256(file.read_bytes()).hexdigest()
        return found


class Storage(Protocol):
    """A kind of study database: makes empty ones, and sees commits."""

    def new(self, folder: Path) -> Place: ...
    def commits(self, place: Place) -> contextlib.AbstractContextManager[Callable[[], bool]]: ...


class Sqlite:
    """A file in the study's home; a commit begins when its log changes."""

    def new(self, folder: Path) -> Place:
        """A place whose database is not there yet."""
        home = folder / "runs"
        return Place(folder, _in_home(home), home=home, scratch=folder / "t")

    @contextlib.contextmanager
    def commits(self, place: Place) -> Iterator[Callable[[], bool]]:
        """Whether something is being written."""
        log = place.home / "studies.db-wal"

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

    def new(self, folder: Path) -> Place:
        """A place with an empty database."""
        return Place(folder, self.server.new_database(), home=folder / "runs", scratch=folder / "t")

    @contextlib.contextmanager
    def commits(self, place: Place) -> Iterator[Callable[[], bool]]:
        """Whether something is being written."""
        name = place.url.rpartition("/db_")[2].partition("?")[0]
        question = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND backend_xid IS NOT NULL"  # has written
        with self.server.connect() as connection:
            yield lambda: bool(connection.execute(question, (f"db_{name}",)).fetchone()[0])  # type: ignore[index]


def _in_home(home: Path) -> str:
    return f"sqlite:///{home / 'studies.db'}"


class Launch:
    """One `tuner launch`, or `resume`. Its output stays in the place's folder, a file a launch."""

    def __init__(
        self,
        place: Place,
        *,
        parallel: int = 1,
        one_worker: bool = False,
        space: str = "",
        wider: Sequence[str] = (),
    ) -> None:
        """`parallel` jobs at a time, in a worker each or in one; the place's space, or another; with `wider` a resume
        with these changes."""
        place.scratch.mkdir(exist_ok=True)
        place.mark.unlink(missing_ok=True)  # of a driver that was killed
        (place.folder / "chaos.yaml").write_text(space or place.space)
        self.place, self.began = place, time.monotonic()
        self.log = place.folder / f"log-{len(list(place.folder.glob('log-*')))}"
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
        own = {
            "OMP_NUM_THREADS": "1", "TMPDIR": str(place.scratch), "TUNER_CHECKPOINT_SECONDS": "0",
            MARK: str(place.mark), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        begun = ["resume", NAME] if wider else ["launch", "--space", str(place.folder / "chaos.yaml")]
        changes = [part for change in wider for part in ("--set", change)]
        with self.log.open("w") as log:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.marked_driver", *begun, *changes,
                 "--home", str(place.home), "--storage", place.url,
                 "--parallel", str(1 if one_worker else parallel),
                 *(("--backbones-per-gpu", str(parallel)) if one_worker else ())],
                env={**kept, **own}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether the driver has not ended."""
        return self.driver.poll() is None

    @property
    def process(self) -> Process | None:
        """The driver's process; None once it has ended."""
        return read(self.driver.pid)

    def workers(self) -> list[Process]:
        """The processes that work on jobs now."""
        return at_work(descendants(self.driver.pid))

    def ray(self, program: str) -> Process | None:
        """The `raylet` or `gcs_server` of this launch's own Ray; None while it is not up."""
        return ray_server(descendants(self.driver.pid), program, of=self.driver.pid)

    def kill(self) -> None:
        """SIGKILL to the driver."""
        self.driver.kill()
        self.driver.wait()

    def end(self) -> None:
        """SIGKILL to the driver and all that it started, so that the folder can go."""
        self.kill()
        left = started_with("TMPDIR", str(self.place.scratch))
        for process in left:
            process.kill()
        survivors(left, seconds=30)

    def finish(self) -> None:
        """Waits for its end. Raises RuntimeError when it did not end well."""
        if self.driver.wait() != 0:
            raise RuntimeError(f"a launch ended with exit code {self.driver.returncode}:\n{self.log.read_text()}")


def ended(process: Process, *, seconds: float = 30.0) -> bool:
    """Whether a process that was killed is gone after so long."""
    return not survivors([process], seconds=seconds)


@contextlib.contextmanager
def server() -> Iterator[PostgresServer]:
    """A running PostgreSQL. Raises RuntimeError when the machine has no programs for it."""
    programs = postgres_programs()
    if programs is None:
        raise RuntimeError("no PostgreSQL on this machine, neither on PATH nor in /usr/lib/postgresql")
    with tempfile.TemporaryDirectory(prefix="chaos-pg-", dir="/tmp") as folder:
        made = PostgresServer(programs, Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()
