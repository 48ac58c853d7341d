"""Of two launches at once the campaign sees which one got the study, and whether the other was refused in words."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import bounds
from benchmarks.bounds import busy, two_at_once
from benchmarks.launches import Sqlite
from benchmarks.witness import Sight
from tests.support.processes import descendants

REFUSED = "error: study 'chaos' is already being run by pid=1; wait for it"


def launch(*, code: int | None, said: str = "", log: Path) -> Any:
    """One that has ended with this code, or trains."""
    log.write_text(said)
    return SimpleNamespace(
        running=code is None, driver=SimpleNamespace(poll=lambda: code), log=log, began=0.0, end=lambda: None
    )


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that runs, as long as anybody does."""

    class Witness:
        last = Sight()

        def __init__(self, url: str, name: str) -> None: ...
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *error: object) -> None: ...
        def wait(self, until: Any, *, running: Any) -> bool:
            if running():
                self.last = Sight(trials={0: ("RUNNING",)})
            return until(self.last)

    monkeypatch.setattr(bounds, "Witness", Witness)


@pytest.mark.parametrize(
    ("first", "second", "first_won", "kept"),
    [
        ({"code": None}, {"code": 1, "said": REFUSED}, True, True),
        ({"code": 1, "said": REFUSED}, {"code": None}, False, True),
        ({"code": 1, "said": REFUSED}, {"code": 1, "said": REFUSED}, False, False),  # nobody has it
        ({"code": None}, {"code": 1, "said": f"note: 40 images were set aside first\n{REFUSED}"}, True, True),
        ({"code": None}, {"code": 1, "said": "Traceback"}, True, False),
        ({"code": None}, {"code": 4, "said": "database is locked"}, True, False),
        ({"code": None}, {"code": None}, True, False),  # both have it
    ],
)
def test_one_of_two_at_once_gets_the_study(
    first: dict[str, Any], second: dict[str, Any], first_won: bool, kept: bool,
    seen: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    launches = iter([launch(**first, log=tmp_path / "1"), launch(**second, log=tmp_path / "2")])
    places = list[Any]()
    monkeypatch.setattr(bounds, "Launch", lambda place, space: (places.append(place), next(launches))[1])
    clock = itertools.count(step=50)
    monkeypatch.setattr(bounds, "time", SimpleNamespace(sleep=lambda seconds: None, monotonic=lambda: next(clock)))
    found = two_at_once(Sqlite())
    assert (found["refused"], found["first_won"]) == (kept, first_won)
    assert (found["apart"], found["busy"]) == (0.02, 4)
    assert found["seconds"] > 0
    assert found["before_data"] is ("note: " not in found["said"])
    assert places[0].url == places[1].url
    assert places[0].scratch != places[1].scratch, "each is ended by its own"


def test_a_busy_machine_is_quiet_again() -> None:
    before = descendants(os.getpid())
    with busy(2):
        assert len(descendants(os.getpid())) == len(before) + 2
    assert len(descendants(os.getpid())) == len(before)
