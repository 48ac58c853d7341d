"""Which of several objectives a terminal shows."""

from __future__ import annotations

import io

from rich.console import Console

from search_spaces import loads
from tuner.terminal.objectives import first_line, front_table, plan_lines, shown

HEAD = "version: 1\nname: x\ntask: {dataset: digits-lt}\n"


def test_nothing_is_said_about_one_objective() -> None:
    assert first_line(["val.few"]) == plan_lines(loads(HEAD)) == []


def test_the_first_of_several_is_named() -> None:
    names = ("val.few", "-norm.slope")
    assert first_line(names) == ["best on val: val.few, the first of 2 objectives"]
    assert first_line(names, study="s")[0].startswith("best on val of s: val.few")
    assert plan_lines(loads(HEAD + "objective: [val.few, -norm.slope]\n")) == [
        "  objectives: val.few, -norm.slope; of their Pareto front, the first one chooses a trial"
    ]


def test_the_front_is_a_table_with_a_column_for_each() -> None:
    assert (shown("val.few", 0.5), shown("-norm.slope", 0.1234)) == ("50.0 %", "0.123")
    console = Console(width=80, record=True, file=io.StringIO())
    front = [{"number": 7, "val.few": 0.5, "norm.slope": 0.1}, {"number": 3, "val.few": 0.25, "norm.slope": 0.05}]
    console.print(front_table({"objectives": ["val.few", "-norm.slope"], "front": front}))
    title, *lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert title == "the Pareto front, the chosen trial first"
    assert lines == ["trial val.few |norm.slope|", "7 50.0 % 0.1", "3 25.0 % 0.05"]
