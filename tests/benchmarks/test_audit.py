"""The audit says what it found and what it did not ask, each with an exit code of its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from benchmarks import audit

GOOD = {"name": "packaging", "version": "1", "vulns": []}
BAD = {"name": "jinja2", "version": "2", "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}, {"id": "PYSEC-2"}]}
UNKNOWN = {"name": "idna", "skip_reason": "not found on PyPI"}
Answering = Callable[..., None]


@pytest.fixture
def answering(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answering:
    """Puts a pip-audit in place that gives an answer instead of asking."""

    def put(text: str, *, code: int = 0, error: str = "") -> None:
        folder = tmp_path / "answers"
        folder.mkdir(exist_ok=True)
        lines = (f"print({text!r})", f"print({error!r}, file=sys.stderr)", f"sys.exit({code})")
        (folder / "pip_audit.py").write_text("\n".join(["import sys", *lines]))
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.setenv("PYTHONPATH", str(folder))

    return put


@pytest.fixture
def pins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Constraints that are kept, in an environment that is consistent."""
    monkeypatch.setattr(audit, "is_consistent", lambda: True)
    path = tmp_path / "constraints.txt"
    path.write_text(f"packaging=={version('packaging')}\n")
    return path


def _dependencies(*found: Any) -> str:
    return json.dumps({"dependencies": found, "fixes": []})


def test_all_answered_and_nothing_found(answering: Answering, pins: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answering(_dependencies(GOOD))
    assert audit.main(pins) == 0
    assert "0 in the 1 pins that were looked up" in capfd.readouterr().out


def test_a_known_hole(answering: Answering, pins: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answering(_dependencies(GOOD, BAD), code=1)
    assert audit.main(pins) == 1
    said = capfd.readouterr().out
    assert "jinja2 2: PYSEC-1, mended in 3" in said
    assert "jinja2 2: PYSEC-2, mended in no release yet" in said
    assert "2 in the 2 pins" in said


def test_pins_that_pip_audit_passed_over_are_not_clean(
    answering: Answering, pins: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answering(_dependencies(GOOD, UNKNOWN))
    assert audit.main(pins) == 2
    assert "NOT looked up" in capfd.readouterr().out
    answering(_dependencies(UNKNOWN, BAD), code=1)
    assert audit.main(pins) == 1  # what was found weighs more


@pytest.mark.parametrize("text", ["", "[]", "no network"])
def test_no_network_is_not_a_clean_record(
    answering: Answering, pins: Path, capfd: pytest.CaptureFixture[str], text: str
) -> None:
    answering(text, code=1, error="ERROR: could not connect")
    assert audit.main(pins) == 2
    assert "NOT looked up, of no pin: pip-audit ended with code 1: ERROR: could not connect" in capfd.readouterr().out


def test_no_pip_audit_is_not_a_clean_record(
    pins: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pip_audit", None)
    monkeypatch.setattr(audit.importlib.util, "find_spec", lambda name: None)
    assert audit.main(pins) == 2
    assert "NOT looked up, of no pin: pip-audit is not installed" in capfd.readouterr().out


def test_another_version_than_pinned_is_wrong(
    answering: Answering, pins: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answering(_dependencies(GOOD))
    pins.write_text("packaging==0.0.1\n")
    assert audit.main(pins) == 1
    assert "packaging: pinned 0.0.1" in capfd.readouterr().out


def test_an_inconsistent_environment_is_wrong(
    answering: Answering, pins: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(_dependencies(GOOD))
    monkeypatch.setattr(audit, "is_consistent", lambda: False)
    assert audit.main(pins) == 1


def test_the_pins_hold_what_audits_them() -> None:
    wanted = audit.pins(audit.CONSTRAINTS.read_text())
    assert {"pip_audit", "alembic", "packaging"} <= wanted.keys()
