"""Three databases for the contract tests, a PostgreSQL server of their own, and heads and results to put in."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from studies.records import HeadRequest, JobRow
from studies.sql.database import Database
from studies.store import Store
from tests.support.postgres_server import PostgresServer, postgres_programs
from trainers.config import TrialConfig
from trainers.results import BackboneResult, ClassCounts, EpochResult, HeadFailure, HeadResult, JobResult

SPACE = {"space_yaml": "name: tail\n", "space_sha256": "a" * 64, "objective": "val.balanced_accuracy"}
DISTRIBUTIONS = {
    "stage1.lr": FloatDistribution(1e-4, 1.0, log=True),
    "stage2.epochs": IntDistribution(1, 20),
    "stage2.loss": CategoricalDistribution(("ce", "cb_ce", "ldam")),
    "stage2.maxnorm_radius": CategoricalDistribution((None, 0.5, 1.0)),
    "stage2.weight_decay": FloatDistribution(0.0, 0.1, step=0.025),
}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL server; in CI its absence is a failure, elsewhere a skip."""
    programs = postgres_programs()
    if programs is None:
        reason = "PostgreSQL's initdb and postgres are neither on PATH nor in /usr/lib/postgresql"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with tempfile.TemporaryDirectory(prefix="tuner-pg-", dir="/tmp") as folder:
        server = PostgresServer(programs, Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()


KINDS = ["memory", "file", pytest.param("postgres", marks=pytest.mark.postgres)]


@pytest.fixture(scope="session")
def made_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables and no study: copying it is quicker than making one."""
    path = tmp_path_factory.mktemp("made") / "made.db"
    Database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def made_postgres(postgres: PostgresServer) -> str:
    """The same on the PostgreSQL server."""
    url = postgres.new_database()
    Database(url).close()
    return url


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database of each kind with all tables and no study; that in memory lives as long as the test."""
    made_file: Path = request.getfixturevalue("made_file")
    match request.param:
        case "memory":
            name = f"file:{uuid.uuid4().hex}?mode=memory&cache=shared"
            with contextlib.closing(sqlite3.connect(name, uri=True)) as kept:
                with contextlib.closing(sqlite3.connect(made_file)) as made:
                    made.backup(kept)
                yield f"sqlite:///{name}&uri=true"
        case "file":
            shutil.copyfile(made_file, tmp_path / "studies.db")
            yield f"sqlite:///{tmp_path / 'studies.db'}"
        case _:
            server: PostgresServer = request.getfixturevalue("postgres")
            yield server.without_studies(request.getfixturevalue("made_postgres"))


@pytest.fixture(params=KINDS[1:])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database that is not there yet (SQLite) or has no table (PostgreSQL)."""
    if request.param == "file":
        return f"sqlite:///{tmp_path / 'runs' / 'studies.db'}"
    made: str = request.getfixturevalue("postgres").new_database()
    return made


@pytest.fixture
def new_store() -> Iterator[Callable[..., Store]]:
    """Opens studies and closes them again."""
    with contextlib.ExitStack() as stack:

        def open_(url: str, *, name: str = "tail", **other: Any) -> Store:
            return stack.enter_context(Store.create_or_open(url, name=name, **{**SPACE, **other}))

        yield open_


@pytest.fixture
def store(url: str, new_store: Callable[..., Store]) -> Store:
    """The study `tail` in each kind of database."""
    return new_store(url)


@pytest.fixture
def file_url(made_file: Path, tmp_path: Path) -> str:
    """An SQLite file with all tables and no study."""
    shutil.copyfile(made_file, tmp_path / "studies.db")
    return f"sqlite:///{tmp_path / 'studies.db'}"


@pytest.fixture
def ask() -> Callable[..., HeadRequest]:
    """Makes the i-th head."""

    def head(index: int, *, role: str = "search") -> HeadRequest:
        params = {
            "stage1.lr": 0.01,
            "stage2.epochs": 1 + index % 20,
            "stage2.loss": ("ce", "cb_ce", "ldam")[index % 3],
            "stage2.maxnorm_radius": (None, 0.5, 1.0)[index % 3],
            "stage2.weight_decay": 0.025 * (index % 5),
        }
        config = TrialConfig.from_flat(params).to_flat()
        return HeadRequest(config=config, params=params, distributions=DISTRIBUTIONS, role=role)

    return head


@pytest.fixture
def record(ask: Callable[..., HeadRequest]) -> Callable[..., JobRow]:
    """Records a search job of some heads on the k-th backbone."""

    def job(store: Store, *, heads: int = 2, index: int = 0, round: int = 0) -> JobRow:
        asked = [ask(i) for i in range(heads)]
        return store.record_job("search", backbone_index=index, round=round, heads=asked)

    return job


@pytest.fixture
def answer() -> Callable[..., JobResult]:
    """Makes what a job gives back."""
    return _answer


def _answer(job: JobRow, *, values: Mapping[int, float | None] | None = None, broken: Mapping[int, str] | None = None,
            test: bool = False, **backbone: Any) -> JobResult:  # fmt: skip
    values, broken = values or {}, broken or {}
    heads = tuple(
        HeadFailure(config=_stage2(config), reason=broken[i])
        if i in broken
        else _head(_stage2(config), values.get(i, 0.5 + i / 100), test=test)
        for i, config in enumerate(job.configs)
    )
    return JobResult(backbone=_backbone(job.configs[0], **backbone), heads=heads)


def _backbone(config: Mapping[str, Any], **changed: Any) -> BackboneResult:
    made = BackboneResult(
        fingerprint="f" * 64,
        config={k: v for k, v in config.items() if not k.startswith("stage2.")},
        data_fingerprint="d" * 64,
        class_names=("cat", "dog", "eel"),
        train_counts=(100, 20, 2),
        metrics={"val.balanced_accuracy": 0.4, "stage1.fdr": 1.5},
        norms=(2.0, 1.5, 0.5),
        epochs=tuple(EpochResult(epoch=e, metrics={"loss": 1 / e}) for e in (1, 2, 3)),
        posthoc=(_head({"stage2.method": "none"}, 0.4), _head({"stage2.method": "tau_norm", "stage2.tau": 0.5}, 0.45)),
        parameters=3_000_000_000,
        device="cpu",
        threads=1,
        seconds=1.25,
        cached=False,
        notes=("class eel has one validation image",),
    )
    return dataclasses.replace(made, **changed)


def _head(config: dict[str, Any], value: float | None, *, test: bool = False) -> HeadResult:
    counts = ClassCounts(correct=(9, 5, 0), total=(10, 10, 0))
    return HeadResult(
        config=config,
        metrics={
            "val.balanced_accuracy": value,
            "val.many": 0.9,
            "val.medium": 0.5,
            "val.few": None,
            "norm.slope": -0.25,
        },
        classes={"val": counts, "test": counts} if test else {"val": counts},
        norms=(1.0, 0.9, 0.8),
        temperature=1.5,
        epochs=tuple(EpochResult(epoch=e, metrics={"loss": 2 / e}) for e in (1, 2)),
        notes=("radius inactive: no row was ever projected",),
        seconds=0.5,
    )


def _stage2(config: Mapping[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in config.items() if k.startswith("stage2.")}
