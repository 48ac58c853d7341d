"""Database URLs: no secret of theirs is ever shown, and a bad one is a sentence."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import create_engine
from sqlalchemy.engine import make_url

from studies.errors import StorageUnavailableError
from studies.sql.database import Database
from studies.sql.urls import for_optuna, masked, parse_url, redacted, sqlite_file, sqlite_url
from studies.store import study_names

SECRETS = ("password", "sslpassword", "passwd", "scram_client_key", "oauth_client_secret", "odbc_connect")
passwords = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)


@pytest.mark.parametrize("key", SECRETS)
def test_every_secret_parameter_is_masked_and_redacted(key: str) -> None:
    url = f"postgresql+psycopg://u@h/db?{key}=s3cret%21&sslmode=require"
    assert masked(url) == "postgresql+psycopg://u@h/db?" + "&".join(sorted([f"{key}=***", "sslmode=require"]))
    assert redacted("wrong: s3cret! or s3cret%21", url=url) == "wrong: *** or ***"


def test_what_is_no_secret_is_shown() -> None:
    url = "postgresql+psycopg://u@h:5433/db?passfile=pgpass&sslkey=key.pem&sslmode=require"
    assert masked(url) == url
    assert redacted("pgpass key.pem", url=url) == "pgpass key.pem"


@given(passwords)
def test_no_quoting_brings_a_password_back(password: str) -> None:
    quoted = (quote(password), quote(password, safe=""), quote_plus(password))
    lower = [re.sub("%..", lambda found: found[0].lower(), spelling) for spelling in quoted]
    escaped = (repr(password)[1:-1], ascii(password)[1:-1], json.dumps(password)[1:-1])
    libpq = password.replace("\\", r"\\").replace("'", r"\'")
    for url in (f"postgresql://u:{quoted[1]}@h/db", f"postgresql://h/db?password={quoted[2]}"):
        assert "***" in masked(url)
        for spelling in (password, *quoted, *lower, *escaped, libpq):
            assert redacted(f"\1{spelling}\1", url=url) == "\1***\1", spelling


def test_a_url_without_password_redacts_nothing() -> None:
    assert redacted("all as it was", url="postgresql://u@h/db?password=") == "all as it was"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("notes", "must be a URL"),
        ("postgresql://u:s3cret@h:54x2/db", "no port number"),
        ("postgresql://u:s3cret:s3cret@h:/db:s3cret@h", None),
        ("postgresql://u:half@s3cret@h/db", "%40"),
        ("sqlite://runs/studies.db", "three slashes"),
        ("sqlite://u:s3cret@runs/studies.db", "three slashes"),
    ],
)
def test_a_bad_url_is_a_sentence_that_shows_no_secret(url: str, words: str | None) -> None:
    try:
        shown = masked(url)
    except StorageUnavailableError as error:
        shown = str(error)
    assert words is None or words in shown
    assert "s3cret" not in shown


def test_a_good_url_is_read_as_sqlalchemy_reads_it() -> None:
    for url in ("sqlite://", "sqlite:///a.db", "sqlite:////a/b.db", "postgresql+psycopg://u:p%40@[::1]:5432/db?a=1"):
        assert parse_url(url) == make_url(url)


ODD = ["a%20b", "a b", "x?1", "x#1", "100%", "file:x", "file://localhost/x", "{y}", "käfer \N{SNOWMAN}", "new\nline",
       "~", "a\udcffb", "%00", "$HOME", "'\"", "a&b=c", "+", "@", ":memory:", "a:b@c", "\\", "[x]", "-o"]  # fmt: skip
names = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1, max_size=30)


@pytest.mark.parametrize("name", ODD)
def test_a_database_lies_where_its_path_says_whatever_that_looks_like(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    url = sqlite_url(Path(name) / "studies.db")
    assert sqlite_file(url) == tmp_path / name / "studies.db"
    Database(url).close()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / name / "studies.db"]
    assert study_names(url) == []
    assert "studies.db" in masked(url)


@given(names.filter(lambda name: name not in (".", "..")))
def test_any_path_is_read_from_its_url_as_it_is(name: str) -> None:
    for file in (Path("/home") / name / "studies.db", Path(name) / "studies.db", Path("/runs") / name):
        url = sqlite_url(file)
        assert sqlite_file(url) == file.absolute()
        assert sqlite_file(for_optuna(url).format()) == file.absolute()
        assert sqlite_file(masked(url)) == file.absolute()
        engine = create_engine(url)
        ((opened,), _) = engine.dialect.create_connect_args(engine.url)
        assert Path(opened) == file.absolute()


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///file:a.db?uri=true", "a.db"),
        ("sqlite:///file:/x/a.db?uri=true&mode=rw", "/x/a.db"),
        ("sqlite:///file:///x/a.db?uri=true", "/x/a.db"),
        ("sqlite:///file://localhost/x/a.db?uri=1", "/x/a.db"),
        ("sqlite:///file:/x/a%2520b.db?uri=true", "/x/a b.db"),  # SQLAlchemy reads it once, SQLite once more
    ],
)
def test_a_uri_is_the_file_that_sqlite_opens(url: str, path: str) -> None:
    assert sqlite_file(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite:///file://server/x/a.db?uri=true", "another machine"),
        ("sqlite:///file://localhost/x/a.db", "add uri=true"),
        ("sqlite:///a.db?mode=ro", "knows mode only in a URI"),
        ("sqlite:///a.db?timeout=soon", "timeout=soon is no value"),
        ("sqlite:///a.db?uri=maybe", "uri=maybe is no value"),
        ("sqlite:///a%00.db", "NUL"),
        ("postgresql://u@h/a%00", "NUL"),
        ("sqlite:///a\0.db", "NUL"),
    ],
)
def test_a_url_that_sqlite_would_take_for_something_else_is_refused(url: str, words: str) -> None:
    with pytest.raises(StorageUnavailableError, match=words):
        parse_url(url)


@pytest.mark.parametrize("query", ["", "?mode=memory&cache=shared&uri=true", "?uri=true"])
def test_a_database_in_memory_is_known_for_one(query: str) -> None:
    name = {"": ":memory:", "?uri=true": "file::memory:"}.get(query, "file:some")
    assert sqlite_file(f"sqlite:///{name}{query}") is None
