"""WSGI middleware for Optuna's dashboard, which has no login: it answers only the dashboard's own page.

Another site's page can reach 127.0.0.1 through the user's browser in two ways. It sends requests there directly: the
browser then names the site in `Origin` or `Sec-Fetch-Site`. Or the site points its own name at 127.0.0.1 (DNS
rebinding): that name is then in `Host`. A write with neither `Origin` nor `Sec-Fetch-Site` is accepted: browsers send
them with every write, so it comes from a program on this machine, such as curl, which could write the database itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

LOCAL = ("127.0.0.1", "localhost", "[::1]")
READS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:\d{1,5})?")
_OWN_PAGE = ("same-origin", "none")  # of Sec-Fetch-Site; none: typed, or a bookmark
_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
)
_FILE_HEADERS = (  # of a file for download: it must never be a page of the dashboard's own origin
    ("Content-Disposition", "attachment"),
    ("Content-Security-Policy", "sandbox; default-src 'none'; frame-ancestors 'none'"),
)


class Refusal(NamedTuple):
    """Why a request is refused."""

    status: HTTPStatus
    reason: str


def is_host_name(name: str) -> bool:
    """True if a name can be a `Host` without a port."""
    found = _HOST.fullmatch(name.lower())
    return found is not None and found["name"] == name.lower()


class Guard:
    """Passes requests of the dashboard's own page on to `app`, and adds security headers to its answers.

    `hosts` are names besides 127.0.0.1, localhost and [::1] under which the dashboard may be opened.
    """

    def __init__(self, app: WSGIApplication, *, hosts: Iterable[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(name.lower() for name in (*LOCAL, *hosts))

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", ""))
        refusal = refused(environ, self._hosts)
        if refusal is not None:
            return _answer(refusal, path, start_response)

        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Callable[[bytes], object]:
            return start_response(status, hardened(headers, path), *error)

        return self._app(environ, start)


def refused(environ: WSGIEnvironment, hosts: frozenset[str]) -> Refusal | None:
    """Why this request is refused; None when it is allowed."""
    host = str(environ.get("HTTP_HOST", "")).lower()
    found = _HOST.fullmatch(host)
    if found is None or found["name"] not in hosts:
        return Refusal(
            HTTPStatus.FORBIDDEN,
            f"the dashboard answers under {', '.join(LOCAL)} and the names of --allow-host only, but was asked under "
            f"{_shown(host)}; if that is your name for this machine: tuner dashboard --allow-host NAME",
        )
    method = str(environ.get("REQUEST_METHOD", "GET")).upper()
    return _other_site(environ, host, method) or (None if method in READS else _other_form(environ, method))


def _other_site(environ: WSGIEnvironment, host: str, method: str) -> Refusal | None:
    site = str(environ.get("HTTP_SEC_FETCH_SITE", "none")).lower()
    followed = method in READS and environ.get("HTTP_SEC_FETCH_MODE") == "navigate"  # a link to the dashboard
    if site not in _OWN_PAGE and not followed:
        return Refusal(
            HTTPStatus.FORBIDDEN, "the dashboard answers its own page only, and this was sent by another one"
        )
    origin = str(environ.get("HTTP_ORIGIN", "")).lower()
    if method not in READS and origin and origin not in (f"http://{host}", f"https://{host}"):
        return Refusal(
            HTTPStatus.FORBIDDEN,
            f"the dashboard at {_shown(host)} is changed by its own page only, but this was sent by {_shown(origin)}",
        )
    return None


def _other_form(environ: WSGIEnvironment, method: str) -> Refusal | None:
    """Refuses writes that are not JSON: another site's form can send text and fields without preflight, but no JSON."""
    kind = str(environ.get("CONTENT_TYPE", "")).partition(";")[0].strip().lower()
    if kind == "application/json" or (method == "DELETE" and not kind):
        return None
    return Refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"a change is sent as application/json, but got {_shown(kind)}")


def _shown(text: str) -> str:
    return repr(text[:80]) if text else "nothing"


def hardened(headers: Iterable[tuple[str, str]], path: str) -> list[tuple[str, str]]:
    """The headers of an answer with ours added, and without those that let another site read it."""
    files = _FILE_HEADERS if path.startswith("/artifacts") else ()
    ours = (*_HEADERS, *files)
    replaced = {name.lower() for name, _ in ours} - {"content-security-policy"}  # all policies of an answer apply
    kept = [
        (name, value)
        for name, value in headers
        if name.lower() not in replaced and not name.lower().startswith("access-control-")
    ]
    return [*kept, *ours]


def _answer(refusal: Refusal, path: str, start_response: StartResponse) -> list[bytes]:
    """JSON for programs, in the form of the dashboard's own errors; text for people."""
    api = path.startswith("/api/")
    text = json.dumps({"reason": refusal.reason}) if api else f"{refusal.reason}\n"
    body = text.encode()
    kind = "application/json" if api else "text/plain; charset=utf-8"
    headers = [("Content-Type", kind), ("Content-Length", str(len(body)))]
    start_response(f"{refusal.status.value} {refusal.status.phrase}", hardened(headers, path))
    return [body]
