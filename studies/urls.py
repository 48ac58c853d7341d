"""Database URLs: read with words instead of a traceback, and never shown with a password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from studies.errors import StorageUnavailableError


def parse(url: str) -> URL:
    """Reads a database URL. Raises StorageUnavailableError when it is none."""
    try:
        return make_url(url)
    except ArgumentError:  # says nothing a user could use, and repeating the text could show a password
        raise StorageUnavailableError(
            "storage must be a database URL such as sqlite:///runs/studies.db or "
            "postgresql+psycopg://user@host/database, but got something else"
        ) from None


def masked(url: str) -> str:
    """The URL as it may be shown."""
    return parse(url).render_as_string(hide_password=True)


def redacted(text: str, *, url: str) -> str:
    """`text` without the password of `url`, however it is quoted there."""
    password = parse(url).password
    if not password:
        return text
    for spelling in {str(password), quote(str(password), safe=""), quote_plus(str(password))}:
        text = text.replace(spelling, "***")
    return text


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one in memory and for any other kind."""
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite" or in_memory(url):
        return None
    name = parsed.database or ""
    return Path(name.removeprefix("file:").partition("?")[0])


def in_memory(url: str) -> bool:
    """Whether this is an SQLite database that lives in memory."""
    parsed = parse(url)
    if parsed.get_backend_name() != "sqlite":
        return False
    name = parsed.database or ""
    return name in ("", ":memory:", "file::memory:") or parsed.query.get("mode") == "memory"
