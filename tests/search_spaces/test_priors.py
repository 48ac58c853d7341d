"""Beliefs about where the best value lies: checked like the rest of a space, and no part of spaces that have none."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from search_spaces import Space, SpaceError, json_schema, load, loads

TEXT = """version: 1
name: x
task: {dataset: digits-lt}
stage1: {lr: {low: 0.01, high: 1, log: true}, batch_size: {low: 16, high: 64, step: 16}, epochs: 4}
stage2: {loss: {choices: [cb_ce, vs]}, maxnorm_radius: {choices: [1, 2, null]}}
"""
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "spaces.md").read_text(encoding="utf-8")


def space(**priors: Any) -> Space:
    settings = [f"{name.replace('__', '.')}.prior={value}" for name, value in priors.items()]
    return loads(TEXT, source="s", overrides=settings)


def test_priors_have_the_types_of_their_distributions() -> None:
    made = space(stage1__lr=1, stage1__batch_size="32.0", stage2__loss="vs")
    assert made.priors == {"stage1.lr": 1.0, "stage1.batch_size": 32, "stage2.loss": "vs"}
    assert {name: type(value) for name, value in made.priors.items()} == {
        "stage1.lr": float, "stage1.batch_size": int, "stage2.loss": str,
    }  # fmt: skip
    assert made.searched == space().searched
    assert list(made.priors) == [name for name in made.searched if name in made.priors]


def test_a_prior_is_part_of_the_text_and_of_the_hash() -> None:
    made = space(stage1__lr=0.05, stage2__loss="vs")
    assert "lr: {low: 0.01, high: 1.0, log: true, prior: 0.05}" in made.to_yaml()
    assert "loss: {choices: [cb_ce, vs], prior: vs}" in made.to_yaml()
    assert loads(made.to_yaml()) == made
    assert len({space().sha256, made.sha256, space(stage1__lr=0.06, stage2__loss="vs").sha256}) == 3  # other proposals


def test_a_space_without_priors_is_as_before() -> None:
    assert space().priors == {}
    assert "prior" not in space().to_yaml()
    assert space(stage1__lr="null").sha256 == space().sha256
    assert load("wd_maxnorm").sha256.startswith("a1e64ebf0644c8d6")


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("stage1.lr", "2", "must lie in the range 0.01 to 1, but got 2"),
        ("stage1.lr", "fast", "must be a number, but got 'fast'"),
        ("stage1.lr", "-1", "must be greater than 0, but got -1"),
        ("stage1.batch_size", "40", "must be one of the steps of 16 from 16, but got 40"),
        ("stage1.batch_size", "31.5", "must be a whole number, but got 31.5"),
        ("stage2.loss", "ldam", "must be one of the choices cb_ce, vs, but got 'ldam'"),
        ("stage2.maxnorm_radius", "3", "must be one of the choices 1.0, 2.0, None, but got 3.0"),
    ],
)
def test_a_prior_that_its_parameter_never_has_is_refused_at_its_place(name: str, value: str, complaint: str) -> None:
    part, _, field = name.partition(".")
    text = re.sub(rf"({field}: {{[^}}]*)}}", rf"\1, prior: {value}}}", TEXT)
    with pytest.raises(SpaceError) as caught:
        loads(text, source="s")
    line = next(number for number, line in enumerate(text.splitlines(), 1) if line.startswith(part))
    column = text.splitlines()[line - 1].index(f"prior: {value}") + len("prior: ") + 1
    assert str(caught.value) == f"s:{line}:{column}: error: {name}.prior: {complaint}"


def test_a_range_that_is_wrong_itself_is_what_is_said() -> None:
    with pytest.raises(SpaceError) as caught:
        loads(TEXT.replace("low: 0.01, high: 1,", "low: 1, high: 0.01, prior: 0.1,"))
    assert [problem.message for problem in caught.value.problems] == ["low (1.0) must be below high (0.01)"]


def test_other_words_for_it_are_understood() -> None:
    with pytest.raises(SpaceError, match=r"unknown key 'default'; did you mean 'prior'\?"):
        loads(TEXT.replace("log: true", "log: true, default: 0.1"))


def test_editors_know_it() -> None:
    forms = json_schema()["properties"]["stage1"]["properties"]["lr"]["anyOf"]
    searched = [form["properties"] for form in forms if "properties" in form]
    assert ["prior" in form for form in searched] == [True, True]
    assert "believed" in searched[0]["prior"]["description"]


def test_what_the_page_shows_is_a_space() -> None:
    shown = dict(re.findall(r"`(stage\d\.\w+): (\{[^`]*prior[^`]*\})`", PAGE))
    assert set(shown) == {"stage1.weight_decay", "stage2.loss"}
    made = load("wd_maxnorm", overrides=[f"{name}={value}" for name, value in shown.items()])
    assert made.priors == {"stage1.weight_decay": 5e-3, "stage2.loss": "cb_ce"}
