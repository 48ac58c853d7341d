"""What cannot be is refused before the study is opened, and before anything is trained."""

from __future__ import annotations

import pytest
import torch

from search_spaces import Space, loads
from trainers.stage1.models import simplex_etf
from tuner.errors import UsageError
from tuner.preflight import dry_build, refuse_tf32_on_a_cpu


def space(*, task: str = "", stage1: str = "", objective: str = "val.balanced_accuracy") -> Space:
    return loads(
        f"version: 1\nname: p\ntask: {{dataset: digits-lt, imbalance_factor: 50{task}}}\n"
        f"stage1: {{weight_decay: {{low: 1e-4, high: 1e-2}}{stage1}}}\nobjective: {objective}\n"
        "budget: {backbones: 1, heads_per_backbone: 1}\n"
    )


@pytest.mark.parametrize(("group", "task"), [("many", ""), ("few", ", few: 1")])
def test_an_objective_of_an_empty_group_is_refused(group: str, task: str) -> None:
    with pytest.raises(UsageError, match=rf"val.{group} cannot be measured.*val.balanced_accuracy"):
        dry_build(space(task=task, objective=f"val.{group}"))


@pytest.mark.parametrize("objective", ["val.few", "val.medium", "val.balanced_accuracy"])
def test_an_objective_that_can_be_measured_is_not(objective: str) -> None:
    assert dry_build(space(objective=objective)).parameters


def test_a_classifier_that_the_features_are_too_narrow_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dry_build(space(stage1=", classifier: etf")).parameters

    def as_if_of_300_classes(num_classes: int, feature_dim: int, *, generator: torch.Generator) -> torch.Tensor:
        return simplex_etf(30 * num_classes, feature_dim, generator=generator)

    monkeypatch.setattr("trainers.stage1.models.simplex_etf", as_if_of_300_classes)
    assert dry_build(space()).parameters
    with pytest.raises(UsageError, match=r"wider task\.model"):
        dry_build(space(stage1=", classifier: etf"))


@pytest.mark.parametrize("precision", ["tf32", "{choices: [fp32, tf32]}"])
def test_tf32_is_refused_where_no_worker_has_a_gpu(precision: str) -> None:
    asked = space(stage1=f", precision: {precision}")
    assert dry_build(asked).parameters  # `tuner check` may run on another machine than the launch
    with pytest.raises(UsageError, match=r"tf32 needs an NVIDIA GPU .* take fp32"):
        refuse_tf32_on_a_cpu(asked)


def test_other_precisions_need_no_gpu() -> None:
    refuse_tf32_on_a_cpu(space(stage1=", precision: {choices: [auto, fp32, bf16]}"))
