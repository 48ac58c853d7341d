"""Several objectives as one value: fair to the whole front, and a function of the rows and the seed alone."""

from __future__ import annotations

import math
import random

import pytest

from search_spaces import loads
from search_spaces.objectives import front
from tuner.search.asking import Proposal, Search
from tuner.search.scalarisation import ranked, scalarised, weights

SPACE = """version: 1
name: two
task: {dataset: digits-lt}
stage1: {lr: {low: 1e-3, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1e-1, log: true}}
stage2: {lr: {low: 1e-3, high: 1, log: true}, weight_decay: {low: 1e-4, high: 1, log: true}}
objective: [val.balanced_accuracy, val.few]
budget: {backbones: 8, heads_per_backbone: 8, rounds: 2}
refine: {top: 2, heads: 4}
"""


def points(count: int, objectives: int, *, seed: int = 0) -> list[tuple[float, ...]]:
    chance = random.Random(seed)
    return [tuple(round(chance.random(), 2) for _ in range(objectives)) for _ in range(count)]


@pytest.mark.parametrize("objectives", [2, 3])
def test_weights_are_positive_add_up_to_one_and_differ(objectives: int) -> None:
    drawn = [weights(objectives, seed=0, of="backbones", index=index) for index in range(32)]
    assert all(math.isclose(sum(one), 1) and min(one) > 0 and len(one) == objectives for one in drawn)
    assert len(set(drawn)) == 32
    assert drawn[5] == weights(objectives, seed=0, of="backbones", index=5)
    assert weights(objectives, seed=1, of="backbones", index=5) != drawn[5]
    assert weights(objectives, seed=0, of="heads of backbone 1", index=5) != drawn[5]


def test_a_few_weights_cover_all_of_them() -> None:
    shares = sorted(weights(2, seed=3, of="backbones", index=index)[0] for index in range(8))
    assert [int(8 * share) for share in shares] == list(range(8))


@pytest.mark.parametrize("objectives", [2, 3])
def test_no_dominated_point_is_the_best(objectives: int) -> None:
    for seed in range(20):
        drawn = points(60, objectives, seed=seed)
        values = scalarised(drawn, weights(objectives, seed=seed, of="backbones", index=seed))
        assert values.index(max(values)) in front(drawn)


@pytest.mark.parametrize("place", [0, 1])
def test_each_end_of_the_front_is_the_best_for_some_weights(place: int) -> None:
    drawn = [(x / 20, 1 - (x / 20) ** 2) for x in range(21)] + points(30, 2)
    weighted = (0.99, 0.01) if place == 0 else (0.01, 0.99)
    values = scalarised(drawn, weighted)
    assert drawn[values.index(max(values))][place] == 1.0


def test_the_middle_of_a_hollow_front_is_reached() -> None:
    hollow = [(0.0, 1.0), (0.4, 0.4), (1.0, 0.0)]  # below the line between its ends, so no weighted sum reaches it
    values = scalarised(hollow, (0.5, 0.5))
    assert values.index(max(values)) == 1


def test_the_order_of_rows_and_the_scale_of_an_objective_change_nothing() -> None:
    drawn, weighted = points(40, 2), (0.3, 0.7)
    by_point = dict(zip(drawn, scalarised(drawn, weighted), strict=True))
    mixed = random.Random(1).sample(drawn, len(drawn))
    assert scalarised(mixed, weighted) == [by_point[point] for point in mixed]
    assert scalarised([(a, 100 * b - 7) for a, b in drawn], weighted) == scalarised(drawn, weighted)
    assert scalarised([], weighted) == []
    assert scalarised([(1.0, 2.0)], weighted) == [0.0]


def test_backbones_with_more_of_the_front_come_first() -> None:
    heads = {4: [(0.9, 0.1), (0.8, 0.2)], 1: [(0.1, 0.9)], 2: [(0.05, 0.8)], 7: [(0.0, 0.7), (0.0, 0.6)]}
    rows = [(backbone, gains) for backbone, found in heads.items() for gains in found]
    found = ranked([backbone for backbone, _ in rows], [gains for _, gains in rows])
    assert sorted(found, key=lambda backbone: -found[backbone]) == [4, 1, 2, 7]


def measured(proposal: Proposal, search: Search) -> list[tuple[int, dict[str, object], tuple[float, float]]]:
    """Two objectives that no place has both of."""
    rows = []
    for head in proposal.heads:
        params = {**proposal.stage1, **head}
        a, b = (math.log10(float(str(params[name]))) for name in ("stage1.weight_decay", "stage2.weight_decay"))
        reached = -((a + 2) ** 2) - (b + 1) ** 2, -((a + 3) ** 2) - (b + 3) ** 2
        rows.append((proposal.backbone, {**search.space.fixed, **params}, reached))
    return rows


def test_a_resumed_search_proposes_what_an_uninterrupted_one_does() -> None:
    space = loads(SPACE)
    first, seen, asked = Search(space), [], []
    while (proposal := first.next(searching=False)) is not None:
        asked.append(proposal)
        for backbone, config, reached in measured(proposal, first):
            first.observe(backbone, config, *reached)
            seen.append((len(asked), backbone, config, reached))
    known = 12  # proposals before the kill
    again = Search(space)
    for proposal in asked[:known]:
        again.budget.accounts.setdefault(
            proposal.backbone, first.budget.accounts[proposal.backbone].__class__(proposal.stage1)
        )
        again.budget.asked(proposal.kind, proposal.backbone, len(proposal.heads), round=proposal.round)
    rows = [row for row in seen if row[0] <= known]
    for _, backbone, config, reached in random.Random(0).sample(rows, len(rows)):
        again.observe(backbone, config, *reached)
    assert again.next(searching=False) == asked[known]
    assert {one.kind for one in asked} == {"search", "refine"}


def test_the_second_objective_moves_the_search() -> None:
    def stage1(objective: str) -> list[object]:
        search = Search(loads(SPACE.replace("[val.balanced_accuracy, val.few]", objective)))
        found = []
        while (proposal := search.next(searching=False)) is not None and proposal.kind == "search":
            found.append(proposal.stage1)
            for backbone, config, reached in measured(proposal, search):
                search.observe(backbone, config, *reached[: len(search.space.objectives)])
        return found

    assert stage1("[val.balanced_accuracy, val.few]") != stage1("val.balanced_accuracy")
