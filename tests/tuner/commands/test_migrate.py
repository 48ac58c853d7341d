"""`tuner migrate`: a database of an earlier release is brought to this one, and what needs nothing is left alone."""

from __future__ import annotations

import shutil
from pathlib import Path

from typer.testing import CliRunner

from studies.sql import versions
from studies.store import Store
from tuner.cli import app
from tuner.errors import NotThereError

ASSET = Path(__file__).parents[2] / "studies" / "assets" / "version_1.db"


def test_the_command_that_the_message_names_migrates(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    shutil.copyfile(ASSET, tmp_path / "runs" / "studies.db")
    asked = ["migrate", "--home", str(tmp_path / "runs")]
    assert CliRunner().invoke(app, asked).stdout == f"revision 0001 -> {versions.head()}\n"
    assert CliRunner().invoke(app, asked).stdout == f"revision {versions.head()}: nothing is due\n"
    with Store.open(f"sqlite:///{tmp_path / 'runs' / 'studies.db'}", "tail") as store:
        assert len(store.trials()) == 6


def test_where_no_database_is_none_is_made(tmp_path: Path) -> None:
    missing = CliRunner().invoke(app, ["migrate", "--home", str(tmp_path / "runs")])
    assert isinstance(missing.exception, NotThereError)
    assert not (tmp_path / "runs").exists()
