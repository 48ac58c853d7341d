"""The folder of all output: whatever it is called, its database lies in it, and nobody else reads it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from studies.locks.study_lock import study_lock
from studies.sql.urls import sqlite_file
from studies.store import Store
from tuner.paths import Home

Command = Callable[..., tuple[int, str]]


@pytest.mark.parametrize(("one", "other"), [("a b", "a%20b"), ("x?1", "x?2"), ("x#1", "x#2")])
def test_homes_of_other_names_have_other_databases(
    one: str, other: str, tmp_path: Path, studies_in: Callable[[Path], list[str]]
) -> None:
    url = Home(tmp_path / one).storage_url
    Store.create_or_open(url, name="kept", space_yaml="", space_sha256="0", objective="x").close()
    assert (tmp_path / one / "studies.db").exists()
    assert studies_in(tmp_path / one) == ["kept"]
    assert studies_in(tmp_path / other) == []


def test_a_home_above_a_link_is_where_the_system_says(tmp_path: Path) -> None:
    (tmp_path / "far" / "away").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "away")
    assert sqlite_file(Home(tmp_path / "link" / ".." / "runs").storage_url) == tmp_path / "far" / "runs" / "studies.db"


def test_a_tilde_is_the_folder_of_the_user() -> None:
    assert Home.choose(Path("~/x")).root == Path.home() / "x"


@pytest.mark.parametrize("option", ["--home", "--storage"])
@pytest.mark.parametrize("command_line", [("status",), ("trials", "kept"), ("migrate",), ("launch", "--space", "x")])
def test_a_nul_is_refused_in_words(option: str, command_line: tuple[str, ...], command: Command) -> None:
    code, _ = command(*command_line, option, "sqlite:///a\0b" if option == "--storage" else "a\0b")
    assert code in (2, 3)  # 3: the space is looked for first


@pytest.mark.parametrize(
    "url", ["sqlite:///a%00b", "sqlite:///file://localhost/x/s.db", "sqlite:///file://far/x/s.db?uri=true"]
)
def test_a_url_that_cannot_be_is_refused_in_words_and_makes_nothing(
    url: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("status", "--storage", url)[0] == 4
    monkeypatch.setenv("TUNER_STORAGE", url)
    assert command("status")[0] == 4
    assert list(tmp_path.iterdir()) == []


def opened(home: Home) -> dict[str, int]:
    """The modes of all that a driver makes in a home before it trains."""
    home.make("tail")
    space = {"space_yaml": "", "space_sha256": "0", "objective": "x"}
    url = home.storage_url
    with home.sharing(), study_lock(url, "tail"), Store.create_or_open(url, name="tail", **space) as store:
        store.set_state("running")
        (home.cache / "backbone").write_text("")  # as a worker would
        return {path.name: stat.S_IMODE(path.stat().st_mode) for path in (home.root, *home.root.rglob("*"))}


@pytest.fixture
def usual() -> Iterator[None]:
    """The umask that lets everybody read."""
    before = os.umask(0o022)
    yield
    os.umask(before)


FILES = ("studies.db", "studies.db-wal", "studies.db-shm", "studies.db.tail.lock")
FOLDERS = ("cache", "artifacts", "tail")


@pytest.mark.usefixtures("usual")
def test_what_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    modes = opened(Home(tmp_path / "new" / "runs"))
    assert {name: modes[name] for name in FILES} == dict.fromkeys(FILES, 0o600)
    assert {name: modes[name] for name in (*FOLDERS, "runs")} == dict.fromkeys((*FOLDERS, "runs"), 0o700)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700


@pytest.mark.usefixtures("usual")
def test_a_home_that_is_there_keeps_its_mode_and_so_does_its_database(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "studies.db").touch(0o644)
    modes = opened(Home(tmp_path))
    assert modes[tmp_path.name] == 0o755
    assert [modes[name] for name in FILES] == [0o644, 0o644, 0o644, 0o600]
    assert [modes[name] for name in FOLDERS] == [0o700] * 3


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("mode", [0o2770, 0o2775, 0o770])
def test_in_a_home_of_a_group_all_is_the_groups(mode: int, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    modes = opened(Home(tmp_path))
    assert modes[tmp_path.name] == mode
    assert {name: modes[name] for name in (*FILES, "backbone")} == dict.fromkeys((*FILES, "backbone"), 0o660)
    assert [modes[name] for name in FOLDERS] == [0o2770] * 3
    assert os.umask(0o022) == 0o022


@pytest.mark.usefixtures("usual")
@pytest.mark.parametrize("mode", [0o1777, 0o2755, 0o755])
def test_a_folder_that_no_group_was_given_is_no_groups(mode: int, tmp_path: Path) -> None:
    tmp_path.chmod(mode)
    modes = opened(Home(tmp_path))
    assert {name: modes[name] for name in FILES} == dict.fromkeys(FILES, 0o600)
