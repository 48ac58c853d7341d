"""Database URLs: read with words instead of a traceback, and never shown with a secret.

A secret is the password of the URL, and any parameter behind its question mark that is one by its name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote_plus

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from studies.errors import StorageUnavailableError

MASK = "***"
_SECRET = ("passw", "pwd", "secret", "token", "scram_client_key", "scram_server_key", "odbc_connect")  # in a name
_FORMS = "sqlite:///runs/studies.db or postgresql+psycopg://user@host/database"


def parse(url: str) -> URL:
    """Reads a database URL. Raises StorageUnavailableError when it is none; it never repeats the text, which could
    show a password."""
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
    if parsed.get_backend_name() == "sqlite" and (parsed.host or parsed.username):
        raise StorageUnavailableError(
            "storage: an SQLite URL has three slashes before a relative path and four before an absolute one, e.g. "
            "sqlite:///runs/studies.db, but got two"
        )
    return parsed


def masked(url: str) -> str:
    """The URL as it may be shown."""
    parsed = parse(url)
    hidden = {key: MASK if _is_secret(key) else value for key, value in parsed.query.items()}
    shown = parsed.set(query=hidden).render_as_string(hide_password=True)
    return shown.replace(quote_plus(MASK), MASK)


def redacted(text: str, *, url: str) -> str:
    """`text` without the secrets of `url`, however they are quoted or escaped there."""
    for secret in sorted(_secrets(parse(url)), key=len, reverse=True):  # the longest first: one may lie within another
        text = re.sub("".join(map(_spelling, secret)), MASK, text)
    return text


def for_optuna(url: str) -> str:
    """The URL as Optuna takes it, which formats it once."""
    return url.replace("{", "{{").replace("}", "}}")


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


def _is_secret(key: str) -> bool:
    return any(word in key.lower() for word in _SECRET)


def _secrets(url: URL) -> Iterable[str]:
    if url.password:
        yield str(url.password)
    for key, values in url.normalized_query.items():
        if _is_secret(key):
            yield from filter(None, values)


def _spelling(character: str) -> str:
    """A pattern of the character as itself, in per cents (also doubled, as configuration files do), or escaped."""
    forms = ["".join(f"%%?(?i:{byte:02x})" for byte in character.encode("utf-8", "replace"))]
    forms.append(re.escape(character))  # after the per cents, one of which is a "%" itself
    if character == " ":
        forms.append(r"\+")
    if not character.isascii():
        forms += [re.escape(json.dumps(character)[1:-1]), re.escape(ascii(character)[1:-1])]
    return rf"\\*(?:{'|'.join(forms)})"
