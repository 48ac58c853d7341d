"""Database URLs: no secret of theirs is ever shown, and a bad one is a sentence."""

from __future__ import annotations

import json
import re
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.engine import make_url

from studies.errors import StorageUnavailableError
from studies.urls import masked, parse, redacted

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
        assert parse(url) == make_url(url)
