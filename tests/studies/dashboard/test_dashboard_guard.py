"""Only the dashboard's own page is answered: names in Host, sites in Origin, forms, and the headers of every answer."""

from __future__ import annotations

import json

import pytest

from studies.dashboard.guard import Guard, hardened, is_host_name

OPEN = "Access-Control-Allow-Origin"
WRITES = ("POST", "PUT", "DELETE", "PATCH", "PROPFIND")


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/html"), (OPEN, "*"), ("x-frame-options", "ALLOWALL")])
    return [b"done"]


def ask(method="GET", path="/api/studies", *, hosts=(), host="127.0.0.1:8080", kind="application/json", **headers):
    """Status, headers and body of one request."""
    environ = {"REQUEST_METHOD": method, "PATH_INFO": path, "CONTENT_TYPE": kind, **headers}
    if host is not None:
        environ["HTTP_HOST"] = host
    told = []
    body = b"".join(Guard(app, hosts=hosts)(environ, lambda status, found, *_: told.append((status, found))))
    ((status, found),) = told
    return int(status.split()[0]), found, body.decode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8080", "localhost:1", "LOCALHOST:65535", "[::1]", "[::1]:8080"]
)
def test_this_machine_is_answered_at_any_port(host):
    assert ask(host=host)[0] == 200
    assert ask("DELETE", host=host, HTTP_ORIGIN=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        None, "", "evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example",
        "evil:1@localhost", "localhost:8080:1", "localhost:8080,evil.example", "[::1].evil.example", "[::2]",
        "localhost/..", " localhost", "localhost\n", "127.0.0.2", "0.0.0.0:8080", "localhost:80 80", "localhost:123456",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", *WRITES])
def test_another_name_is_refused_whatever_is_asked(host, method):
    status, _, body = ask(method, host=host)
    assert status == 403
    assert "--allow-host NAME" in json.loads(body)["reason"]


def test_a_name_can_be_allowed_and_others_stay_refused():
    assert ask(host="gpu-7.lab:8080", hosts=["GPU-7.lab"])[0] == 200
    assert ask(host="localhost", hosts=["gpu-7.lab"])[0] == 200
    assert ask(host="gpu-8.lab", hosts=["gpu-7.lab"])[0] == 403
    assert [is_host_name(name) for name in ("gpu-7.lab", "[fe80::1]", "10.0.0.7")] == [True] * 3
    assert not any(is_host_name(name) for name in ("", "*", "a b", "http://a", "a:80", "a/b", "::1"))


@pytest.mark.parametrize("method", WRITES)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:8081", "http://localhost:8080", "file://",
        "http://127.0.0.1:8080.evil.example", "http://127.0.0.1:8080,http://evil.example", "ftp://127.0.0.1:8080",
    ],
)  # fmt: skip
def test_a_write_of_another_origin_is_refused(method, origin):
    status, _, body = ask(method, HTTP_ORIGIN=origin)
    assert status == 403
    assert repr(origin) in json.loads(body)["reason"]


@pytest.mark.parametrize("method", WRITES)
def test_a_write_of_the_own_page_or_of_a_program_is_answered(method):
    assert ask(method, HTTP_ORIGIN="http://127.0.0.1:8080", HTTP_SEC_FETCH_SITE="same-origin")[0] == 200
    assert ask(method, HTTP_ORIGIN="https://127.0.0.1:8080")[0] == 200  # TLS by a proxy
    assert ask(method)[0] == 200  # curl


@pytest.mark.parametrize("site", ["cross-site", "same-site", "unheard-of"])
def test_another_site_neither_writes_nor_reads_but_may_have_a_link(site):
    for method in ("GET", *WRITES):
        assert ask(method, HTTP_SEC_FETCH_SITE=site)[0] == 403, method
        assert ask(method, HTTP_SEC_FETCH_SITE=site, HTTP_SEC_FETCH_MODE="no-cors")[0] == 403, method
    assert ask(path="/dashboard", HTTP_SEC_FETCH_SITE=site, HTTP_SEC_FETCH_MODE="navigate")[0] == 200
    assert ask("POST", HTTP_SEC_FETCH_SITE=site, HTTP_SEC_FETCH_MODE="navigate")[0] == 403  # a form


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
def test_what_a_form_can_send_is_no_change(kind):
    assert [ask(method, kind=kind)[0] for method in WRITES] == [415] * len(WRITES)
    assert ask("POST", kind="")[0] == 415
    assert ask("POST", kind="application/json; charset=utf-8")[0] == 200
    assert ask("DELETE", kind="")[0] == 200


@pytest.mark.parametrize(("host", "status"), [("localhost", 200), ("evil.example", 403)])
def test_every_answer_is_harmless_to_embed_sniff_and_read(host, status):
    found = ask(host=host)
    headers = [(name.lower(), value) for name, value in found[1]]
    assert found[0] == status
    assert ("x-content-type-options", "nosniff") in headers
    assert [value for name, value in headers if name == "x-frame-options"] == ["DENY"]
    assert ("content-security-policy", "frame-ancestors 'none'") in headers
    assert not any(name.startswith("access-control-") for name, _ in headers)


def test_a_policy_of_the_page_itself_is_kept():
    found = hardened([("Content-Security-Policy", "default-src 'self'")], "/dashboard")
    assert [value for name, value in found if name == "Content-Security-Policy"] == [
        "default-src 'self'",
        "frame-ancestors 'none'",
    ]


def test_a_file_is_downloaded_and_never_a_page_of_the_dashboard():
    headers = dict(hardened([("Content-Type", "text/html"), ("Content-Disposition", "inline")], "/artifacts/1/ab"))
    assert headers["Content-Disposition"] == "attachment"
    assert headers["Content-Security-Policy"].startswith("sandbox;")


def test_a_person_is_told_in_plain_text():
    _, headers, body = ask(path="/dashboard", host="evil.example")
    assert ("Content-Type", "text/plain; charset=utf-8") in headers
    assert body.startswith("the dashboard answers under 127.0.0.1, localhost, [::1]")
