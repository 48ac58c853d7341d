"""The table of a study's standing: within a terminal of any width no number is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from studies.records import RunningRow
from tuner.terminal.layout import Standing, bars, detail, standings

ROW = Standing(
    study="wd_maxnorm-big", done=257, total=257, running=0, failed=32, best=(0.925, 194), few=0.8667, left="measuring",
    course=tuple(i / 300 for i in range(300)),
)  # fmt: skip
NUMBERS = ("257/257", "32", "92.5 % #194", "86.7 %", "measuring")


def drawn(*rows: Standing, width: int) -> str:
    console = Console(width=width, file=io.StringIO())
    console.print(standings(rows))
    return str(console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [80, 100, 400])
def test_all_of_it_fits_eighty_columns(width: int) -> None:
    text = drawn(ROW, width=width)
    assert all(word in text for word in ("wd_maxnorm-big", *NUMBERS))
    assert "…" not in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "█" in text  # the course has room


@pytest.mark.parametrize("width", [62, 66, 70])
def test_a_narrow_terminal_takes_from_names_and_course_alone(width: int) -> None:
    long = Standing(**{**ROW.__dict__, "study": "a-study-with-a-very-long-name", "total": 9999, "done": 9999})
    text = drawn(ROW, long, width=width)
    assert all(text.count(number) >= 1 for number in ("9999/9999", *NUMBERS))
    assert "a-" in text
    assert "…" in text


def test_a_job_that_reads_test_says_so() -> None:
    reading = RunningRow(what="test of best, tau_norm", reading=True, heads=2, stage=2)
    assert detail(reading) == "reading test · 2 classifiers"
    fresh = RunningRow(what="fresh seed 1", heads=1, stage=1, epoch=3, epochs=40)
    assert detail(fresh) == "stage 1 · epoch 3/40"
    console = Console(width=80, file=io.StringIO())
    console.print(bars([reading, fresh]))
    assert "test of best, tau_norm" in console.file.getvalue()  # type: ignore[attr-defined]
