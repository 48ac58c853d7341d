"""The two-level search: proposals are pure functions of rows and seed, and they get better."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from trainers.errors import ConfigError
from tuner.search.sampling import (
    SAMPLERS,
    Level,
    Observation,
    backbone_values,
    propose_backbone,
    propose_heads,
)

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


def searched(backbones: int, *, outer: str = "gp", inner: str = "tpe") -> list[Observation]:
    rows: list[Observation] = []
    for index in range(backbones):
        first = backbone(rows, index, outer)
        drawn = heads(rows, index, first, sampler=inner)
        rows += [Observation(index, {**first, **one}, worth({**first, **one})) for one in drawn]
    return rows


@pytest.fixture(scope="module")
def rows() -> list[Observation]:
    return searched(6)


def test_the_same_rows_in_any_order_give_the_same_proposals(rows: list[Observation]) -> None:
    mixed = random.Random(0).sample(rows, len(rows))
    under_way = [{"stage1.lr": 0.02, "stage1.weight_decay": 1e-3}, {"stage1.lr": 0.1, "stage1.weight_decay": 1e-2}]
    assert backbone(rows, 6) == backbone(mixed, 6)
    assert backbone(rows, 6, pending=under_way) == backbone(mixed, 6, pending=under_way[::-1])
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


def test_a_second_round_under_way_does_not_count_its_backbone_twice(rows: list[Observation]) -> None:
    first = {name: rows[0].params[name] for name in OUTER.distributions}
    assert backbone(rows, 6, pending=[first]) == backbone(rows, 6)


def test_the_first_backbone_is_the_middle_of_the_ranges() -> None:
    assert backbone([], 0) == pytest.approx({"stage1.lr": math.sqrt(0.002), "stage1.weight_decay": math.sqrt(1e-5)})


def test_many_workers_start_on_different_backbones() -> None:
    asked: list[dict[str, Any]] = []
    for index in range(12):
        asked.append(backbone([], index, pending=asked))
    assert len({OUTER.place(params) for params in asked}) == 12


def test_failed_backbones_are_avoided(rows: list[Observation]) -> None:
    wanted = backbone(rows, 6)
    failed = [Observation(6, {**wanted, **INNER.middle({})}, None)]
    assert math.dist(OUTER.place(backbone([*rows, *failed], 7)), OUTER.place(wanted)) > 0.01


def test_a_failed_head_teaches_as_the_worst_and_a_failed_backbone_teaches_no_heads(rows: list[Observation]) -> None:
    first = rows[0].params
    known = [row for row in rows if row.backbone == 0]
    worst = min(row.value or 0.0 for row in known)
    failed, low = ([*known, Observation(0, {**first, **INNER.middle({})}, value)] for value in (None, worst))
    assert heads(failed, 0, first, round=1) == heads(low, 0, first, round=1)
    lost = [Observation(9, {**first, **INNER.middle({})}, None)]
    assert heads([*rows, *lost], 6, first) == heads(rows, 6, first)


def test_heads_believe_a_twin_backbone_rather_than_a_distant_one() -> None:
    first = {"stage1.lr": 0.05, "stage1.weight_decay": 3e-3}
    distant = {"stage1.lr": 0.011, "stage1.weight_decay": 9e-2}

    def taught(backbone: int, stage1: Mapping[str, Any], best: float, *, less: float = 0.0) -> list[Observation]:
        drawn = heads([], backbone, stage1, count=64)
        off = [abs(math.log10(one["stage2.weight_decay"]) - best) for one in drawn]
        return [Observation(backbone, {**stage1, **one}, -o - less) for one, o in zip(drawn, off, strict=True)]

    def missed(rows: list[Observation], best: float) -> float:
        asked = heads(rows, 9, first, count=64)
        return sum(abs(math.log10(one["stage2.weight_decay"]) - best) for one in asked) / 64

    poor = taught(2, distant, -2.0, less=9.0) + taught(
        3, distant, -2.0, less=9.0
    )  # so that the others are the better half
    twin, other = taught(0, first, -3.5), taught(1, distant, -1.0)
    assert missed([*twin, *other, *poor], -3.5) < 0.5 * missed([], -3.5)
    assert missed([*twin, *other, *poor], -1.0) > missed([], -1.0)


def test_collapsed_backbones_teach_nothing(rows: list[Observation]) -> None:
    """Their heads are all alike, so each would look as good as the best."""
    first = rows[0].params
    collapsed = [Observation(9, {**first, **one}, 0.1) for one in heads([], 9, first, count=64)]
    few = [row for row in rows if row.backbone < 1]
    assert heads([*few, *collapsed], 6, first) == heads(few, 6, first)


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
    def missed(**samplers: str) -> float:
        return 0.6 - max(row.value or 0.0 for row in searched(10, **samplers))

    assert missed() < 0.5 * missed(outer="random", inner="random")


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


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_finite_space_is_used_up_and_nothing_comes_twice(sampler: str) -> None:
    choices: dict[str, BaseDistribution] = {
        "stage2.loss": CategoricalDistribution(("ce", "cb_ce", None)),
        "stage2.epochs": IntDistribution(5, 10, step=5),
        "stage2.tau": FloatDistribution(0.2, 0.3, step=0.1),
    }
    space = Level(choices)
    rows: list[Observation] = []
    for turn, (count, wanted) in enumerate(((5, 5), (5, 5), (5, 2), (4, 0))):
        drawn = heads(rows, 0, {}, sampler=sampler, space=space, round=turn, count=count)
        assert len(drawn) == wanted
        assert all(type(one["stage2.epochs"]) is int and type(one["stage2.tau"]) is float for one in drawn)
        rows += [Observation(0, one, float(len(rows) + i)) for i, one in enumerate(drawn)]
    assert len({space.place(row.params) for row in rows}) == 12


@pytest.mark.parametrize("sampler", ["gp", "tpe", "random", "qmc"])
def test_backbones_of_a_finite_space_are_not_proposed_twice(sampler: str) -> None:
    space = Level({"stage1.loss": CategoricalDistribution(("ce", "ldam")), "stage1.epochs": IntDistribution(1, 4)})
    rows: list[Observation] = []
    for index in range(8):
        params = propose_backbone(rows, space=space, sampler=sampler, seed=0, index=index)
        assert params is not None
        rows.append(Observation(index, params, -abs(float(params["stage1.epochs"] or 0) - 3)))
    assert len({space.place(row.params) for row in rows}) == 8
    assert propose_backbone(rows, space=space, sampler=sampler, seed=0, index=8) is None


def test_a_backbone_that_was_asked_for_is_not_proposed_again_before_its_first_result() -> None:
    space = Level({"stage1.loss": CategoricalDistribution(("ce", "ldam"))})
    first = propose_backbone([], space=space, sampler="random", seed=0, index=0)
    second = propose_backbone([], space=space, sampler="random", seed=0, index=1, known=[first or {}])
    assert first != second
    known = [first or {}, second or {}]
    assert propose_backbone([], space=space, sampler="random", seed=0, index=2, known=known) is None


def test_a_condition_on_stage_1_reaches_stage_2() -> None:
    space = Level(INNER.distributions, lambda name, params: name != "stage2.lr" or params["stage1.loss"] == "ce")
    for sampler in ("tpe", "gp", "random", "qmc"):
        for loss in ("ce", "ldam"):
            first = {"stage1.loss": loss}
            rows = [Observation(0, {**first, **one}, 0.5) for one in heads([], 0, first, space=space)]
            again = heads(rows, 0, first, space=space, sampler=sampler, round=1, count=3)
            assert all(("stage2.lr" in one) == (loss == "ce") for one in again)


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
    with pytest.raises(ConfigError, match=r"must be one of .*; did you mean 'gp'"):
        backbone([], 0, "gpp")
    assert "tpe" in SAMPLERS


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_where_nothing_is_searched_there_is_one_backbone_and_one_head(sampler: str) -> None:
    empty = Level({})
    assert propose_backbone([], space=empty, sampler=sampler, seed=0, index=0) == {}
    assert propose_backbone([], space=empty, sampler=sampler, seed=0, index=1, known=[{}]) is None
    assert heads([], 0, {}, sampler=sampler, space=empty, round=0, count=3) == [{}]
    assert heads([Observation(0, {}, 0.5)], 0, {}, sampler=sampler, space=empty, round=1, count=3) == []


BELIEVED = Level(OUTER.distributions, priors={"stage1.weight_decay": 2e-2})


def test_a_believed_value_comes_first_and_fades() -> None:
    """The hill lies at 3e-3: a wrong belief decides the first proposal, and no longer the later ones."""
    found: list[Observation] = []
    for index in range(16):
        params = propose_backbone(found, space=BELIEVED, sampler="gp", seed=0, index=index)
        assert params is not None
        found.append(Observation(index, params, worth({**params, "stage2.weight_decay": 1e-2})))
    decays = [float(row.params["stage1.weight_decay"] or 0) for row in found]
    assert decays[0] == 2e-2
    best = max(found, key=lambda row: row.value or 0.0)
    assert 1e-3 < float(best.params["stage1.weight_decay"] or 0) < 1e-2


@pytest.mark.parametrize("sampler", ["gp", "tpe"])
def test_heads_crowd_around_a_believed_value_until_they_know_better(sampler: str) -> None:
    believed = Level(INNER.distributions, priors={"stage2.weight_decay": 1e-3})
    first = heads([], 0, {}, sampler=sampler, space=believed)
    assert first[0]["stage2.weight_decay"] == 1e-3
    rows = [Observation(0, one, 0.5) for one in first]  # all alike: only the belief tells them apart

    def away(space: Level) -> float:
        asked = heads(rows, 0, {}, sampler=sampler, space=space, round=1, count=16)
        return sum(abs(math.log10(one["stage2.weight_decay"] / 1e-3)) for one in asked)

    assert away(believed) < away(INNER)
