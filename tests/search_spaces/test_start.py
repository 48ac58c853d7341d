"""Start points: checked like the rest of a space, and no part of spaces that have none."""

from __future__ import annotations

from importlib import resources

import pytest

from search_spaces import Space, SpaceError, load, loads, shipped

TEXT = """version: 1
name: x
task: {dataset: digits-lt}
stage1:
  lr: {low: 0.01, high: 1, log: true}
  batch_size: {low: 16, high: 64, step: 16}
  weight_decay: 1e-3
stage2: {loss: {choices: [cb_ce, vs]}}
"""


def space(start: str) -> Space:
    return loads(f"{TEXT}start: {start}\n", source="s")


def test_points_take_the_types_of_their_ranges_and_leave_fixed_settings_out() -> None:
    made = space("[{stage1.lr: 1, stage1.batch_size: 32, stage1.weight_decay: 0.5}, {stage2.loss: vs}]")
    assert made.start_points == ({"stage1.lr": 1.0, "stage1.batch_size": 32}, {"stage2.loss": "vs"})
    assert isinstance(made.start_points[0]["stage1.lr"], float)
    assert loads(made.to_yaml()) == made
    assert made.sha256 != loads(TEXT).sha256  # other proposals


def test_a_space_without_them_is_as_before() -> None:
    assert "start" not in loads(TEXT).to_yaml()
    assert loads(TEXT).sha256 == space("[]").sha256


@pytest.mark.parametrize(
    ("start", "complaint"),
    [
        ("[{stage1.lrr: 1}]", "s:9:10: error: start.0.stage1.lrr: unknown parameter 'stage1.lrr'; did you mean"),
        ("[{lr: 0.1}]", "start.0.lr: unknown parameter 'lr'; did you mean 'stage1.lr' or 'stage2.lr'?"),
        ("[{task.model: cnn-small}]", "the task is the same for the whole study"),
        ("[{stage1.lr: 2}]", "2 is outside the range 0.01 to 1; widen the range"),
        ("[{stage1.lr: fast}]", "must be a number in the range 0.01 to 1, but got 'fast'"),
        ("[{}, {stage1.batch_size: 20}]", "start.1.stage1.batch_size: 20 is none of the steps of 16 from 16"),
        ("[{stage2.loss: ldam}]", "'ldam' is not among its choices"),
        ("[1]", "s:9:9: error: start: must be a list of points such as [{stage1.lr: 0.01}]"),
        ("1", "s:9:8: error: start: must be a list of points"),
    ],
)
def test_a_point_that_the_space_does_not_hold_is_refused_in_words(start: str, complaint: str) -> None:
    with pytest.raises(SpaceError) as caught:
        space(start)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("name", shipped())
def test_a_space_of_a_published_data_set_has_its_point_or_says_that_none_is_known(name: str) -> None:
    text = resources.files("search_spaces").joinpath(f"{name}.yaml").read_text(encoding="utf-8")
    if name.endswith(("_lt", "18")):
        assert bool(load(name).start) != ("# no start: " in text)
    else:
        assert not load(name).start


def test_the_published_point_of_cifar_ships_with_its_spaces() -> None:
    assert load("cifar10_lt").start_points == ({"stage1.lr": 0.01, "stage1.weight_decay": 5e-3},)
    assert load("cifar100_lt").start_points == ({"stage1.lr": 0.01, "stage1.weight_decay": 5e-3},)
    assert load("cifar100_lt", overrides=["stage1.lr=0.1"]).start_points == ({"stage1.weight_decay": 5e-3},)
