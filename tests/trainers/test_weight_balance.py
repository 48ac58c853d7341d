from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from trainers.errors import ConfigError
from trainers.weight_balance import (
    LinearHead,
    maxnorm_radius,
    norm_balance,
    norm_balances,
    project_maxnorm,
    row_norms,
    tau_normalize,
)


def _weight(classes: int = 6, width: int = 5, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(classes, width, generator=generator) * torch.linspace(1, 3, classes).unsqueeze(1)


def test_radius_in_each_unit() -> None:
    weight = torch.diag(torch.tensor([1.0, 2.0, 4.0, 5.0]))
    assert maxnorm_radius(weight, 0.7, "absolute") == 0.7
    assert maxnorm_radius(weight, 0.5, "median_norm") == 1.5  # median of an even number: the mean of the middle two
    assert maxnorm_radius(weight, 0.1, "norm_span") == pytest.approx(1.4)


@pytest.mark.parametrize(
    ("value", "unit", "text"), [(1.0, "median", "did you mean 'median_norm'"), (-1, "absolute", "-1")]
)
def test_impossible_radius_is_an_error(value: float, unit: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        maxnorm_radius(_weight(), value, unit)


@settings(deadline=None)  # the first call of torch takes its time
@given(st.integers(0, 1000), st.floats(1e-3, 10))
def test_projection_is_idempotent_and_never_grows_a_norm(seed: int, radius: float) -> None:
    weight = _weight(seed=seed)
    once = project_maxnorm(weight, radius)
    assert (row_norms(once) <= row_norms(weight)).all()
    assert (row_norms(once) <= radius * (1 + 1e-6)).all()
    torch.testing.assert_close(project_maxnorm(once, radius), once, rtol=1e-6, atol=1e-30)


def test_projection_leaves_rows_within_the_radius_bitwise_and_keeps_directions() -> None:
    weight = _weight()
    radius = row_norms(weight).median().item()
    projected = project_maxnorm(weight, radius)
    inside = row_norms(weight) <= radius
    assert torch.equal(projected[inside], weight[inside])
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(projected, weight), torch.ones(6))


def test_projection_survives_rows_of_zeros() -> None:
    weight = _weight()
    weight[2] = 0
    assert torch.equal(project_maxnorm(weight, 0.5)[2], torch.zeros(5))
    assert torch.equal(tau_normalize(weight, 2.0)[2], torch.zeros(5))


def test_tau_normalisation_takes_norms_to_the_power_one_minus_tau() -> None:
    weight = _weight()
    for tau in (0.0, 0.5, 1.0, 1.9):
        torch.testing.assert_close(row_norms(tau_normalize(weight, tau)), row_norms(weight) ** (1 - tau))


def test_norm_balance_agrees_with_numpy() -> None:
    counts = [500, 120, 60, 60, 9, 5]
    weight = _weight()
    r, n = row_norms(weight.double()).numpy(), np.array(counts)
    balance = norm_balance(weight, counts)
    assert balance["cv"] == pytest.approx(r.std() / r.mean())
    assert balance["max_min"] == pytest.approx(r.max() / r.min())
    assert balance["gini"] == pytest.approx(np.abs(r[:, None] - r).sum() / (2 * 36 * r.mean()))
    assert balance["pearson"] == pytest.approx(np.corrcoef(r, np.log(n))[0, 1])
    assert balance["slope"] == pytest.approx(np.polyfit(np.log(n), np.log(r), 1)[0])
    ranks = np.array([6, 5, 3.5, 3.5, 2, 1])
    assert balance["spearman"] == pytest.approx(np.corrcoef(r.argsort().argsort(), ranks)[0, 1])


def test_norm_balances_of_many_heads_are_those_of_each_bitwise() -> None:
    generator = torch.Generator().manual_seed(0)
    heads = torch.randn(5, 37, 11, generator=generator)
    heads[1], heads[2], heads[3, 4] = 0.0, 1.0, torch.nan
    for counts in (list(range(100, 63, -1)), [7] * 37):
        each = [norm_balance(head, counts) for head in heads]
        assert str(norm_balances(heads, counts)) == str(each)
    assert set(each[1].values()) == {None}


def test_norm_balance_is_free_of_scale_and_signed() -> None:
    counts = torch.tensor([400.0, 100.0, 20.0, 4.0])
    weight = counts.sqrt().diag()
    balance = norm_balance(weight, counts)
    assert balance["slope"] == pytest.approx(0.5)
    assert balance["spearman"] == pytest.approx(1)
    assert norm_balance(1e-4 * weight, counts) == pytest.approx(balance)
    assert norm_balance(tau_normalize(weight, 2), counts)["slope"] == pytest.approx(-0.5)


def test_what_is_not_defined_is_none() -> None:
    equal_counts = norm_balance(_weight(4), [7] * 4)
    assert [equal_counts[name] for name in ("pearson", "spearman", "slope")] == [None] * 3
    assert set(norm_balance(torch.zeros(4, 3), [4, 3, 2, 1]).values()) == {None}


def test_norms_that_differ_by_rounding_are_ties() -> None:
    counts = [400, 100, 20, 4]
    for noise in (0.0, 1e-7):  # what MaxNorm leaves of float32
        rows = torch.diag(1 + noise * torch.tensor([2.0, -1.0, 1.0, -2.0]))
        found = norm_balance(rows, counts)
        assert [found["pearson"], found["spearman"]] == [0, 0]
        assert found["slope"] == pytest.approx(0, abs=1e-6)
    clear = norm_balance(torch.diag(1 + 1e-3 * torch.tensor([2.0, -1.0, 1.0, -2.0])), counts)
    assert clear["spearman"] == pytest.approx(0.8)  # ranks 4, 2, 3, 1 against 4, 3, 2, 1


def test_ranks_are_those_of_the_groups_that_tie() -> None:
    counts = [400, 100, 20, 4]
    noisy = norm_balance(torch.diag(torch.tensor([1.0, 1.0 + 2e-7, 1.0 - 1e-7, 0.5])), counts)
    exact = norm_balance(torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.5])), counts)
    assert noisy["spearman"] == pytest.approx(exact["spearman"])
    assert exact["spearman"] == pytest.approx(np.corrcoef([3, 3, 3, 1], [4, 3, 2, 1])[0, 1])


def test_a_crowd_of_near_norms_is_no_chain_of_ties() -> None:
    count = 5000  # neighbours are nearer than a tie is wide, the ends are 2 % apart
    counts = torch.arange(count, 0, -1).double()
    weight = torch.linspace(1.02, 1.0, count, dtype=torch.float64).unsqueeze(1)
    assert norm_balance(weight, counts)["spearman"] == pytest.approx(1, abs=1e-6)


def test_linear_head_applies_weight_and_bias() -> None:
    head = LinearHead(_weight(), torch.arange(6.0))
    x = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(head.logits(x), x @ head.weight.T + head.bias)
