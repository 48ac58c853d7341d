from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from trainers.config import Stage2Config
from trainers.errors import ConfigError, DivergedError
from trainers.features import FeatureBank, LabelledFeatures
from trainers.schedule import learning_rate
from trainers.stage2.one_head import train_head
from trainers.stage2.recipe import (
    class_balanced_order,
    epoch_batches,
    forgetting,
    initial_head,
)
from trainers.weight_balance import LinearHead, row_norms

COUNTS = (60, 25, 8, 4)
PLAIN = Stage2Config(loss="ce", maxnorm_radius=None, epochs=3, batch_size=16, lr=0.1)


def make_bank(views: int = 3, seed: int = 0) -> tuple[FeatureBank, LinearHead]:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(4, 6, generator=generator)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    val_labels = torch.arange(40) % 4
    bank = FeatureBank(
        train=means[labels] + torch.randn(views, len(labels), 6, generator=generator),
        labels=labels,
        order_seed=5,
        splits={"val": LabelledFeatures(means[val_labels] + torch.randn(40, 6, generator=generator), val_labels)},
    )
    norms = torch.tensor([2.0, 1.5, 1.0, 0.7]).unsqueeze(1)
    return bank, LinearHead(norms * torch.randn(4, 6, generator=generator), torch.zeros(4))


def _trained_by_torch(bank: FeatureBank, start: LinearHead, config: Stage2Config) -> nn.Linear:
    layer = nn.Linear(6, 4)
    layer.load_state_dict({"weight": start.weight, "bias": start.bias})
    optimizer = torch.optim.SGD(
        layer.parameters(), lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=config.epochs)
    for epoch in range(config.epochs):
        for index in epoch_batches(bank, config, epoch):
            optimizer.zero_grad()
            F.cross_entropy(layer(bank.view(epoch)[index]), bank.labels[index]).backward()
            optimizer.step()
        schedule.step()
    return layer


def test_equals_plain_torch_when_everything_special_is_off() -> None:
    bank, start = make_bank()
    trained, layer = train_head(bank, start, PLAIN, COUNTS), _trained_by_torch(bank, start, PLAIN)
    torch.testing.assert_close(trained.weight, layer.weight.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(trained.bias, layer.bias.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method", ["weight_balancing", "crt", "lws"])
def test_training_is_bitwise_repeatable_and_leaves_the_start(method: str) -> None:
    bank, start = make_bank()
    before = start.weight.clone()
    first, second = (train_head(bank, start, dataclasses.replace(PLAIN, method=method), COUNTS) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(start.weight, before)
    assert not first.weight.requires_grad


def test_projection_per_step_bounds_every_norm_and_counts_rows() -> None:
    bank, start = make_bank()
    config = dataclasses.replace(PLAIN, maxnorm_radius=1.2, radius_unit="absolute", weight_decay=0.0)
    trained = train_head(bank, start, config, COUNTS)
    assert (row_norms(trained.weight) <= 1.2 * (1 + 1e-6)).all()
    assert trained.projected_at_step1 == int((row_norms(start.weight) > 1.2).sum())
    assert trained.epochs[0].metrics["projected_rows"] >= trained.projected_at_step1
    assert trained.notes == ()


def test_projection_per_epoch_acts_after_the_pass_only() -> None:
    bank, start = make_bank()
    config = dataclasses.replace(PLAIN, maxnorm_radius=0.5, radius_unit="absolute", projection="epoch")
    trained = train_head(bank, start, config, COUNTS)
    assert trained.projected_at_step1 == 0
    assert (row_norms(trained.weight) <= 0.5 * (1 + 1e-6)).all()
    by_step = train_head(bank, start, dataclasses.replace(config, projection="step"), COUNTS)
    assert not torch.allclose(trained.weight, by_step.weight)


@pytest.mark.parametrize("projection", ["step", "epoch"])
def test_a_radius_that_never_acts_says_so_and_changes_nothing(projection: str) -> None:
    bank, start = make_bank()
    wide = dataclasses.replace(PLAIN, maxnorm_radius=1e6, radius_unit="absolute", projection=projection)
    trained = train_head(bank, start, wide, COUNTS)
    assert trained.notes == ("radius inactive: no row was ever projected",)
    assert torch.equal(trained.weight, train_head(bank, start, PLAIN, COUNTS).weight)


def test_lws_only_scales_rows() -> None:
    bank, start = make_bank()
    trained = train_head(bank, start, dataclasses.replace(PLAIN, method="lws"), COUNTS)
    torch.testing.assert_close(F.cosine_similarity(trained.weight, start.weight).abs(), torch.ones(4))
    assert torch.equal(trained.bias, start.bias)
    assert not torch.allclose(trained.weight, start.weight)


def test_crt_forgets_the_stage1_classifier() -> None:
    bank, start = make_bank()
    config = dataclasses.replace(PLAIN, method="crt")
    other = LinearHead(-start.weight, start.bias + 1)
    assert torch.equal(train_head(bank, start, config, COUNTS).weight, train_head(bank, other, config, COUNTS).weight)
    again = initial_head(start, dataclasses.replace(config, seed=1))
    assert not torch.equal(initial_head(start, config).weight, again.weight)
    assert again.weight.abs().max() <= 6**-0.5


def test_class_balanced_order_draws_classes_equally_and_images_of_their_class() -> None:
    labels = torch.repeat_interleave(torch.tensor([0, 2, 3]), torch.tensor([6000, 60, 6]))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    order = class_balanced_order(labels, seed=0, epoch=0)
    drawn = torch.bincount(labels[order], minlength=4)
    assert len(order) == len(labels)
    assert drawn[1] == 0
    assert (drawn[[0, 2, 3]] / len(labels)).tolist() == pytest.approx([1 / 3] * 3, abs=0.03)
    assert order[labels[order] == 3].unique().numel() == 6
    assert not torch.equal(order, class_balanced_order(labels, seed=0, epoch=1))


def test_schedules_are_the_two_cosines() -> None:
    config = dataclasses.replace(PLAIN, epochs=10, lr=2.0)
    ahead = dataclasses.replace(config, schedule="cosine_ahead")
    assert learning_rate(config, 0) == 2.0
    assert learning_rate(config, 9) > 0
    assert learning_rate(ahead, 9) == pytest.approx(0)
    assert [learning_rate(ahead, e) for e in range(9)] == pytest.approx(
        [learning_rate(config, e + 1) for e in range(9)]
    )


def test_the_last_epoch_of_cosine_ahead_changes_no_weight() -> None:
    bank, start = make_bank()
    config = dataclasses.replace(PLAIN, schedule="cosine_ahead")
    results = train_head(bank, start, config, COUNTS).epochs
    assert results[-1].metrics["norm.cv"] == results[-2].metrics["norm.cv"]


def test_forgetting_of_the_released_stage2() -> None:
    config = Stage2Config(lr=0.01, weight_decay=0.1, momentum=0.9, epochs=10, schedule="cosine_ahead")
    assert forgetting(config, images=10847) == pytest.approx(7.7, abs=0.1)


def test_best_epoch_is_the_one_with_the_best_validation() -> None:
    bank, start = make_bank()
    config = dataclasses.replace(PLAIN, lr=3.0, epochs=6, epoch_rule="best")
    best = train_head(bank, start, config, COUNTS)
    values = [result.metrics["val.balanced_accuracy"] for result in best.epochs]
    assert best.epoch == values.index(max(values)) + 1
    assert train_head(bank, start, dataclasses.replace(config, epoch_rule="last"), COUNTS).epoch == 6


def test_divergence_is_an_error_that_names_the_way_out() -> None:
    bank, start = make_bank()
    with pytest.raises(DivergedError, match=r"after epoch 1; lower stage2.lr \(1e\+30\)"):
        train_head(bank, start, dataclasses.replace(PLAIN, lr=1e30, weight_decay=1e10), COUNTS)


def test_a_replay_serves_only_its_own_batches() -> None:
    bank, start = make_bank()
    replay = dataclasses.replace(bank, replay_batch_size=16)
    other_seed = dataclasses.replace(PLAIN, seed=9)
    assert torch.equal(
        train_head(replay, start, PLAIN, COUNTS).weight, train_head(replay, start, other_seed, COUNTS).weight
    )
    with pytest.raises(ConfigError, match="batches of 16, but got 32"):
        train_head(replay, start, dataclasses.replace(PLAIN, batch_size=32), COUNTS)
    with pytest.raises(ConfigError, match="replay 3 epochs, but got 4"):
        train_head(replay, start, dataclasses.replace(PLAIN, epochs=4), COUNTS)


def test_what_cannot_be_trained_is_an_error() -> None:
    bank, start = make_bank()
    with pytest.raises(ConfigError, match="posthoc_head"):
        train_head(bank, start, dataclasses.replace(PLAIN, method="ncm"), COUNTS)
    with pytest.raises(ConfigError, match="needs features of the split 'val'"):
        train_head(dataclasses.replace(bank, splits={}), start, dataclasses.replace(PLAIN, epoch_rule="best"), COUNTS)


def test_epochs_hold_finite_measures() -> None:
    bank, start = make_bank()
    results = train_head(bank, start, Stage2Config(epochs=2), COUNTS).epochs
    names = {"loss", "lr", "seconds", "projected_rows", "norm.cv", "norm.slope", "val.balanced_accuracy"}
    assert [result.epoch for result in results] == [1, 2]
    assert all(set(result.metrics) == names for result in results)
    assert all(math.isfinite(value) for result in results for value in result.metrics.values())
