"""The two-level search: proposals are pure functions of rows and seed, and they get better."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from tuner.sampling import SAMPLERS, Level, Observation, backbone_values, propose_backbone, propose_heads

OUTER = Level(
    {
        "stage1.lr": FloatDistribution(1e-2, 0.2, log=True),
        "stage1.weight_decay": FloatDistribution(1e-4, 1e-1, log=True),
    }
)
INNER = Level(
    {
        "stage2.lr": FloatDistribution(1e-3, 0.1, log=True),
        "stage2.weight_decay": FloatDistribution(1e-4, 0.2, log=True),
    }
)
METHOD: dict[str, BaseDistribution] = {
    "stage2.method": CategoricalDistribution(("weight_balancing", "crt")),
    "stage2.maxnorm_radius": FloatDistribution(0.1, 3.0, log=True),
}


def only_weight_balancing(name: str, params: Mapping[str, Any]) -> bool:
    return name != "stage2.maxnorm_radius" or params.get("stage2.method") == "weight_balancing"


CONDITIONAL = Level(METHOD, only_weight_balancing)


def worth(params: Mapping[str, Any]) -> float:
    """A hill; the best stage-2 weight decay moves with stage 1's."""
    first = math.log10(params["stage1.weight_decay"]) + 2.5
    second = math.log10(params["stage2.weight_decay"]) + 2.0 + 0.5 * first
    return 0.6 - 0.05 * first**2 - 0.05 * second**2 - 0.02 * math.log10(params["stage1.lr"] / 0.05) ** 2


def backbone(rows: Sequence[Observation], index: int, sampler: str = "gp", **more: Any) -> dict[str, Any]:
    return propose_backbone(rows, space=OUTER, sampler=sampler, seed=0, index=index, **more)


def heads(
    rows: Sequence[Observation], index: int, first: Mapping[str, Any], *, sampler: str = "tpe", **more: Any
) -> list[dict[str, Any]]:
    asked = {"space": INNER, "round": 0, "count": 8, "seed": 0, **more}
    return propose_heads(rows, sampler=sampler, backbone=index, stage1_params=first, **asked)


def searched(backbones: int) -> list[Observation]:
    rows: list[Observation] = []
    for index in range(backbones):
        first = backbone(rows, index)
        drawn = heads(rows, index, first)
        rows += [Observation(index, {**first, **one}, worth({**first, **one})) for one in drawn]
    return rows


@pytest.fixture(scope="module")
def rows() -> list[Observation]:
    return searched(6)


def test_the_same_rows_in_any_order_give_the_same_proposals(rows: list[Observation]) -> None:
    mixed = random.Random(0).sample(rows, len(rows))
    assert backbone(rows, 6) == backbone(mixed, 6)
    assert heads(rows, 6, rows[0].params) == heads(mixed, 6, rows[0].params)


def test_another_seed_gives_another_proposal(rows: list[Observation]) -> None:
    first = propose_backbone(rows, space=OUTER, sampler="gp", seed=1, index=6)
    assert first != backbone(rows, 6)


def test_every_proposal_lies_in_its_range(rows: list[Observation]) -> None:
    for row in rows:
        for level in (OUTER, INNER):
            for name, distribution in level.distributions.items():
                assert distribution._contains(distribution.to_internal_repr(row.params[name]))  # type: ignore[arg-type]


def test_the_first_backbones_are_spread_and_do_not_look_at_results(rows: list[Observation]) -> None:
    assert [backbone(rows, index) for index in range(3)] == [backbone([], index) for index in range(3)]
    decays = sorted(math.log10(backbone([], index)["stage1.weight_decay"]) for index in range(4))
    assert decays[-1] - decays[0] > 1.0


def test_workers_side_by_side_do_not_get_the_same_backbone(rows: list[Observation]) -> None:
    first = backbone(rows, 6)
    second = backbone(rows, 7, pending=[first])
    assert max(abs(math.log(first[name] / second[name])) for name in first) > 0.01


def test_a_round_has_no_twins(rows: list[Observation]) -> None:
    drawn = heads(rows, 6, rows[0].params, count=64)
    assert len({tuple(one.items()) for one in drawn}) == 64


def test_rounds_of_a_backbone_go_on_from_each_other(rows: list[Observation]) -> None:
    first = rows[0].params
    again = heads(rows, 0, first, round=1)
    known = {row.params["stage2.lr"] for row in rows}
    assert not known & {one["stage2.lr"] for one in again}


def test_a_backbone_is_worth_the_mean_of_its_best_eighth() -> None:
    rows = [Observation(0, {}, value / 100) for value in range(16)] + [Observation(1, {}, 0.5)]
    assert backbone_values(rows) == pytest.approx({0: 0.145, 1: 0.5})


def test_the_search_finds_the_hill() -> None:
    rows = searched(10)
    assert max(row.value for row in rows) > 0.59
    later = [row for row in rows if row.backbone >= 6]
    earlier = [row for row in rows if row.backbone < 3]
    assert sum(row.value for row in later) / len(later) > sum(row.value for row in earlier) / len(earlier)


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc"])
def test_each_sampler_serves_both_levels(sampler: str, rows: list[Observation]) -> None:
    assert set(backbone(rows, 6, sampler)) == set(OUTER.distributions)
    assert len(heads(rows, 6, rows[0].params, sampler=sampler, count=3)) == 3


def test_qmc_backbones_do_not_look_at_results(rows: list[Observation]) -> None:
    assert [backbone(rows, index, "qmc") for index in range(8)] == [backbone([], index, "qmc") for index in range(8)]


def test_a_conditional_parameter_comes_only_where_it_exists() -> None:
    asked = {"space": CONDITIONAL, "sampler": "tpe", "seed": 0, "backbone": 0, "stage1_params": {}}
    first = propose_heads([], round=0, count=16, **asked)  # type: ignore[arg-type]
    rows = [Observation(0, one, 0.1 * index) for index, one in enumerate(first)]
    for one in first + propose_heads(rows, round=1, count=8, **asked):  # type: ignore[arg-type]
        assert ("stage2.maxnorm_radius" in one) == (one["stage2.method"] == "weight_balancing")


def test_a_grid_is_walked_without_repeats() -> None:
    space = Level({"stage2.lr": CategoricalDistribution((0.1, 0.01)), "stage2.epochs": IntDistribution(5, 15, step=5)})
    rows: list[Observation] = []
    for round_ in range(2):
        drawn = propose_heads(
            rows, space=space, sampler="grid", seed=0, backbone=0, round=round_, count=3, stage1_params={}
        )
        rows += [Observation(0, one, 0.0) for one in drawn]
    assert len({tuple(row.params.items()) for row in rows}) == 6


def test_a_grid_over_a_range_is_refused_with_the_way_out() -> None:
    with pytest.raises(ValueError, match=r"stage1\.lr is a range; use choices or a step"):
        backbone([], 0, "grid")


def test_an_unknown_sampler_names_those_there_are() -> None:
    with pytest.raises(ValueError, match=r"must be one of .*; did you mean 'gp'"):
        backbone([], 0, "gpp")
    assert "tpe" in SAMPLERS


def test_nothing_searched_is_nothing_proposed() -> None:
    empty = Level({})
    assert propose_backbone([], space=empty, sampler="gp", seed=0, index=0) == {}
    asked = propose_heads([], space=empty, sampler="tpe", seed=0, backbone=0, round=0, count=3, stage1_params={})
    assert asked == [{}, {}, {}]
