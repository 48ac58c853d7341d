"""Scratch folders: locked while their owner lives, swept after, and nothing that is not provably one is touched."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tuner.errors import UsageError
from tuner.execution import ray_session

SIGNED = f"{ray_session.SIGN} 1\n"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's temporary folder, with room for any path; what lies in it is old."""
    monkeypatch.setattr(ray_session.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(ray_session, "LONGEST", 1000)
    monkeypatch.setattr(ray_session, "YOUNG", -1.0)
    return tmp_path


def made(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_dead_owners_folder_is_swept_and_a_living_ones_is_not(temporary: Path) -> None:
    dead = made(temporary / "tuner-deadbeef", {"owner": SIGNED, "ray/session_1/log": "", "tune/x": ""})
    with ray_session.scratch_folder() as scratch:
        assert (scratch / "owner").read_text() == f"{ray_session.SIGN} {os.getpid()}\n"
        assert ray_session.sweep_scratch() == [dead]
        assert scratch.exists()
    assert not list(temporary.iterdir())


def test_nothing_else_is_touched(temporary: Path) -> None:
    others = {
        "tuner-experiments": {"notes.txt": "", "ray/results/mine.csv": ""},
        "tuner-thesis": {"owner": "me", "thesis.tex": ""},
        "tuner-12345678": {"owner": "somebody else", "ray/session_1/x": ""},
        "tuner-87654321": {"ray/results/mine.csv": ""},
        "tuner-abcdefgh": {"ray/session_1/x": "", "notes.txt": ""},
        "elsewhere": {"owner": SIGNED},
    }
    for name, files in others.items():
        made(temporary / name, files)
    (temporary / "tuner-linkedto").symlink_to(temporary / "elsewhere")
    (temporary / "tuner-emptyone").mkdir()
    before = sorted(temporary.rglob("*"))
    assert ray_session.sweep_scratch() == []
    assert sorted(temporary.rglob("*")) == before


def test_what_cannot_be_removed_yet_is_found_by_the_next_sweep(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as writing:
        writing.setattr(ray_session.shutil, "rmtree", lambda folder, ignore_errors: None)
        with ray_session.scratch_folder() as scratch:
            (scratch / "ray").mkdir()
    assert [path.name for path in scratch.iterdir()] != []
    assert ray_session.sweep_scratch() == [scratch]
    assert not scratch.exists()


def test_what_a_dying_ray_made_anew_is_swept(temporary: Path) -> None:
    again = temporary / "tuner-again_23"
    (again / "ray" / "session_1" / "sockets").mkdir(parents=True)
    assert ray_session.sweep_scratch() == [again]


def test_a_scratch_folder_that_was_just_made_is_left_alone(temporary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_session, "YOUNG", 3600.0)
    made(temporary / "tuner-justmade", {"owner": SIGNED})
    assert ray_session.sweep_scratch() == []


def test_a_temporary_folder_too_deep_for_sockets_is_said_and_left_clean(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_session, "LONGEST", 20)
    with pytest.raises(UsageError, match="TMPDIR=/tmp"), ray_session.scratch_folder():
        pass
    assert not list(temporary.iterdir())
