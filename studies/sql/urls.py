"""Database URLs: parsed with readable errors, shown without secrets.

Secrets are the URL's password and every query parameter whose name suggests one.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, quote_plus, unquote, unquote_to_bytes

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.util import asbool

from studies.errors import StorageUnavailableError

MASK = "***"
_SECRET = ("passw", "pwd", "secret", "token", "scram_client_key", "scram_server_key", "odbc_connect")  # parts of names
_SQLITE: dict[str, Callable[[Any], object]] = {  # what Python's driver takes from a URL
    "uri": asbool,
    "timeout": float,
    "isolation_level": str,
    "detect_types": int,
    "check_same_thread": asbool,
    "cached_statements": int,
}
_FORMS = "sqlite:///runs/studies.db or postgresql+psycopg://user@host/database"


def parse_url(url: str) -> URL:
    """Parses a database URL. Raises StorageUnavailableError, which never quotes the URL: it may hold a password."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise StorageUnavailableError(f"storage must be a URL such as {_FORMS}, but got something else") from None
    except ValueError:
        raise StorageUnavailableError(
            f"storage must be a URL such as {_FORMS}, but what follows the host's colon is no port number; "
            "in a password write : as %3A, / as %2F and @ as %40"
        ) from None
    if "@" in (parsed.host or ""):
        raise StorageUnavailableError("storage: the password holds an @, which must be written as %40 in a URL")
    if "\0" in unquote(url):
        raise StorageUnavailableError("storage: a URL holds no NUL (%00), for neither paths nor databases know one")
    if parsed.get_backend_name() == "sqlite":
        _check_sqlite(parsed)
    return parsed


def _check_sqlite(url: URL) -> None:
    """Raises StorageUnavailableError for a URL that SQLite would misread."""
    name = url.database or ""
    if url.host or url.username:
        raise StorageUnavailableError(
            "storage: an SQLite URL has three slashes before a relative path and four before an absolute one, e.g. "
            "sqlite:///runs/studies.db, but got two"
        )
    unknown = sorted(set(url.query) - set(_SQLITE))
    if _is_uri(url):
        _uri_path(name)
    elif unknown:
        raise StorageUnavailableError(
            f"storage: SQLite knows {', '.join(unknown)} only in a URI, sqlite:///file:PATH?uri=true; a question mark "
            "of the path is written %3F"
        )
    elif name.startswith("file:"):
        raise StorageUnavailableError(
            "storage: for a URI add uri=true, as in sqlite:///file:PATH?uri=true; a path that begins with file: is "
            "written ./file:"
        )


def _is_uri(url: URL) -> bool:
    """True if SQLite reads the database's name as a URI. Raises StorageUnavailableError if `uri` is no boolean."""
    for name, read in _SQLITE.items():
        try:
            read(url.query.get(name, "0"))
        except (ValueError, TypeError):
            raise StorageUnavailableError(f"storage: {name}={url.query[name]} is no value for SQLite") from None
    return bool(asbool(url.query.get("uri", "0")))


def _uri_path(name: str) -> Path:
    """The path in a URI, as SQLite reads it. Raises StorageUnavailableError for another machine's."""
    path = re.split(r"[?#]", name.removeprefix("file:"), maxsplit=1)[0]
    if path.startswith("//"):
        machine, _, rest = path.removeprefix("//").partition("/")
        if machine not in ("", "localhost"):
            raise StorageUnavailableError(
                f"storage: file://{machine}/ names another machine, and SQLite opens files of this one: write file:PATH"
            )
        path = f"/{rest}"
    return Path(os.fsdecode(unquote_to_bytes(os.fsencode(path))))


def masked(url: str) -> str:
    """The URL without its secrets."""
    parsed = parse_url(url)
    hidden = {key: MASK if _is_secret(key) else value for key, value in parsed.query.items()}
    name = parsed.database  # a path may hold bytes that are not valid text
    shown = parsed.set(query=hidden, database=None if name is None else "").render_as_string(hide_password=True)
    if name:
        place, mark, query = shown.partition("?")
        shown = f"{place}{quote(os.fsencode(name), safe=' +/')}{mark}{query}"
    return shown.replace(quote_plus(MASK), MASK)


def redacted(text: str, *, url: str) -> str:
    """`text` without the secrets of `url`, however it quotes or escapes them."""
    for secret in sorted(_secrets(parse_url(url)), key=len, reverse=True):  # longest first: one may contain another
        text = re.sub("".join(map(_spelling, secret)), MASK, text)
    return text


def for_optuna(url: str) -> str:
    """The URL for Optuna, escaped because Optuna formats it once."""
    return url.replace("{", "{{").replace("}", "}}")


def sqlite_url(file: Path) -> str:
    """The URL of a file, whatever characters its path contains."""
    # Only these are special there; bytes that are not valid text stay as they are: no percent escape fits them
    path = str(file).replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///./{path}" if path.startswith("file:") else f"sqlite:///{path}"


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database; None for one in memory and for any other kind."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite" or in_memory(url):
        return None
    name = parsed.database or ""
    return _uri_path(name) if _is_uri(parsed) else Path(os.path.abspath(name))  # noqa: PTH100  (as SQLAlchemy does)


def in_memory(url: str) -> bool:
    """True for an SQLite database in memory."""
    parsed = parse_url(url)
    if parsed.get_backend_name() != "sqlite":
        return False
    name = parsed.database or ""
    if not _is_uri(parsed):
        return name in ("", ":memory:")
    path, _, query = name.partition("?")
    modes = (parsed.query.get("mode"), *parse_qs(query).get("mode", []))
    return path in ("", "file:", "file::memory:", ":memory:") or "memory" in modes


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET)


def _secrets(url: URL) -> Iterable[str]:
    if url.password:
        yield str(url.password)
    for key, values in url.normalized_query.items():
        if _is_secret(key):
            yield from filter(None, values)


def _spelling(character: str) -> str:
    """A pattern for the character itself, percent-encoded (also doubled, as in configuration files), or escaped."""
    forms = ["".join(f"%%?(?i:{byte:02x})" for byte in character.encode("utf-8", "replace"))]
    forms.append(re.escape(character))  # last, so that "%" does not cut a percent code short
    if character == " ":
        forms.append(r"\+")
    if not character.isascii():
        forms += [re.escape(json.dumps(character)[1:-1]), re.escape(ascii(character)[1:-1])]
    return rf"\\*(?:{'|'.join(forms)})"
