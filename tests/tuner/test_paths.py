"""The folder of all output: whatever it is called, its database lies in it, and nobody else reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from studies.store import Store
from studies.urls import sqlite_file
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


def test_a_tilde_of_nobody_is_a_name() -> None:
    assert Home.choose(Path("~no-such-user/x")).root == Path("~no-such-user/x")
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
