"""The search tries known points first; what a point leaves out, the sampler fills in."""

from __future__ import annotations

import pytest

from search_spaces import Space, loads
from tuner.search.asking import Proposal, Search

TEXT = """version: 1
name: known
task: {dataset: digits-lt}
stage1: {lr: {low: 1e-2, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
stage2: {lr: {low: 1e-3, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1, log: true}}
budget: {backbones: 4, heads_per_backbone: 3, rounds: 1}
sampler: {stage1: SAMPLER, stage2: SAMPLER, seed: 3}
"""


def proposals(start: str, *, sampler: str = "gp", count: int = 4) -> list[Proposal]:
    text = TEXT.replace("SAMPLER", sampler) + (f"start: {start}\n" if start else "")
    search = Search(loads(text))
    found = [search.next(searching=True) for _ in range(count)]
    return [one for one in found if one is not None]


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc"])
def test_points_come_first_and_the_sampler_fills_the_rest(sampler: str) -> None:
    points = "[{stage1.lr: 0.05, stage1.weight_decay: 5e-3, stage2.lr: 0.2}, {stage1.weight_decay: 2e-3}]"
    first, second, *others = proposals(points, sampler=sampler)
    assert first.stage1 == {"stage1.lr": 0.05, "stage1.weight_decay": 5e-3}
    assert first.heads[0]["stage2.lr"] == 0.2
    assert all(head["stage2.lr"] != 0.2 for head in first.heads[1:])
    assert len(first.heads) == 3
    assert second.stage1["stage1.weight_decay"] == 2e-3
    assert 1e-2 <= float(str(second.stage1["stage1.lr"])) <= 1
    assert len(others) == 2


def test_after_them_the_search_begins_as_without_them() -> None:
    plain = proposals("")
    started = proposals("[{stage1.lr: 0.05, stage1.weight_decay: 5e-3}]")
    assert [one.stage1 for one in started[1:]] == [one.stage1 for one in plain[:3]]  # the middle, then an even spread


def test_the_same_point_twice_is_tried_once() -> None:
    twice = proposals("[{stage1.lr: 0.05, stage1.weight_decay: 5e-3}, {stage1.lr: 0.05, stage1.weight_decay: 5e-3}]")
    assert len({str(one.stage1) for one in twice}) == 4


def test_a_point_on_a_conditional_parameter_leaves_out_what_does_not_exist() -> None:
    text = TEXT.replace("SAMPLER", "qmc").replace(
        "stage2: {lr: {low: 1e-3, high: 1, log: true},",
        "stage2: {method: {choices: [weight_balancing, crt]}, lr: {low: 1e-3, high: 1, log: true}, "
        "maxnorm_radius: {low: 0.1, high: 3, when: {stage2.method: weight_balancing}},",
    )
    space: Space = loads(text + "start: [{stage2.method: crt, stage2.maxnorm_radius: 1, stage2.lr: 0.3}]\n")
    asked = Search(space).next(searching=True)
    assert asked is not None
    first = asked.heads[0]
    assert (first["stage2.method"], first["stage2.lr"]) == ("crt", 0.3)
    assert "stage2.maxnorm_radius" not in first
