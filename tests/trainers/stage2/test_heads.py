from __future__ import annotations

import dataclasses
from typing import get_args

import pytest
import torch

from trainers.config import LossName, Stage2Config, TrainedMethod
from trainers.features import FeatureBank, LabelledFeatures
from trainers.results import EpochResult, HeadFailure
from trainers.stage2.heads import default_chunk, flat_config, train_heads
from trainers.stage2.one_head import TrainedHead, train_head
from trainers.weight_balance import LinearHead

COUNTS = (60, 25, 8, 4)
BASE = Stage2Config(epochs=3, batch_size=16, lr=0.05)


def _bank(*, replay: bool = False, dtype: torch.dtype = torch.float32) -> tuple[FeatureBank, LinearHead]:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(4, 6, generator=generator)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    val_labels = torch.arange(200) % 4
    val = means[val_labels] + torch.randn(3, 200, 6, generator=generator)
    bank = FeatureBank(
        train=(means[labels] + torch.randn(3, len(labels), 6, generator=generator)).to(dtype),
        labels=labels,
        order_seed=5,
        splits={"val": LabelledFeatures(val[2].to(dtype), val_labels)},
        replay={"val": val.to(dtype)} if replay else {},
        replay_batch_size=16 if replay else None,
    )
    norms = torch.tensor([2.0, 1.5, 1.0, 0.7]).unsqueeze(1)
    return bank, LinearHead(norms * torch.randn(4, 6, generator=generator), 0.1 * torch.randn(4, generator=generator))


def _variants(method: str, loss: str) -> list[Stage2Config]:
    """Heads that share a loss's form and differ in all that may differ within a batch."""
    base = dataclasses.replace(BASE, method=method, loss=loss, scale=3.0)
    return [
        base,
        dataclasses.replace(base, maxnorm_radius=None, lr=0.2, weight_decay=0.0),
        dataclasses.replace(base, maxnorm_radius=0.5, projection="epoch", momentum=0.5, beta=0.9),
        dataclasses.replace(base, maxnorm_radius=0.1, radius_unit="norm_span", tau=0.5, gamma=1.0, max_margin=0.2),
        dataclasses.replace(base, maxnorm_radius=9.0, radius_unit="absolute", schedule="cosine_ahead"),
        dataclasses.replace(base, epoch_rule="best", lr=0.5, weight_decay=0.1),
    ]


def _timeless(result: EpochResult) -> dict[str, float | None]:
    return {name: value for name, value in result.metrics.items() if name != "seconds"}


def _assert_same(batched: TrainedHead | HeadFailure, alone: TrainedHead, bank: FeatureBank) -> None:
    assert isinstance(batched, TrainedHead)
    torch.testing.assert_close(batched.weight, alone.weight, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(batched.bias, alone.bias, rtol=1e-5, atol=1e-5)
    x = bank.splits["val"].features.float()
    assert torch.equal(batched.head.logits(x).argmax(1), alone.head.logits(x).argmax(1))
    assert (batched.epoch, batched.projected_at_step1, batched.notes, batched.forgetting) == (
        alone.epoch, alone.projected_at_step1, alone.notes, alone.forgetting,
    )  # fmt: skip
    for mine, theirs in zip(batched.epochs, alone.epochs, strict=True):
        assert _timeless(mine) == pytest.approx(_timeless(theirs), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("loss", get_args(LossName))
@pytest.mark.parametrize("method", get_args(TrainedMethod))
def test_batched_equals_one_by_one(method: str, loss: str) -> None:
    bank, start = _bank()
    configs = _variants(method, loss)
    for config, batched in zip(configs, train_heads(bank, start, configs, COUNTS), strict=True):
        _assert_same(batched, train_head(bank, start, config, COUNTS), bank)


def test_batched_equals_one_by_one_on_a_replay_and_on_bf16_features() -> None:
    configs = _variants("weight_balancing", "cb_bce_softmax")
    for bank, start in (_bank(replay=True), _bank(dtype=torch.bfloat16)):
        for config, batched in zip(configs, train_heads(bank, start, configs, COUNTS), strict=True):
            _assert_same(batched, train_head(bank, start, config, COUNTS), bank)


def test_heads_of_every_kind_come_back_in_the_order_asked() -> None:
    bank, start = _bank()
    configs = [c for method in get_args(TrainedMethod) for loss in ("ce", "cb_focal") for c in _variants(method, loss)]
    configs += [dataclasses.replace(BASE, epochs=2), dataclasses.replace(BASE, batch_size=7, seed=3)]
    configs = configs[::3] + configs[1::3] + configs[2::3]
    for config, batched in zip(configs, train_heads(bank, start, configs, COUNTS), strict=True):
        _assert_same(batched, train_head(bank, start, config, COUNTS), bank)


@pytest.mark.parametrize("chunk", [1, 4, None])
def test_chunks_do_not_matter(chunk: int | None) -> None:
    bank, start = _bank()
    configs = _variants("weight_balancing", "cb_ce")
    for whole, part in zip(
        train_heads(bank, start, configs, COUNTS, chunk=64), train_heads(bank, start, configs, COUNTS, chunk=chunk),
        strict=True,
    ):  # fmt: skip
        assert isinstance(whole, TrainedHead)
        _assert_same(part, whole, bank)


def test_training_is_bitwise_repeatable() -> None:
    bank, start = _bank()
    configs = _variants("weight_balancing", "cb_bce_softmax")
    for first, second in zip(*(train_heads(bank, start, configs, COUNTS) for _ in range(2)), strict=True):
        assert isinstance(first, TrainedHead)
        assert isinstance(second, TrainedHead)
        assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize("loss", ["cb_ce", "cb_bce_softmax", "cb_focal", "cb_sigmoid"])
def test_a_head_that_diverges_fails_alone(loss: str) -> None:
    bank, start = _bank()
    healthy = _variants("weight_balancing", loss)
    broken = dataclasses.replace(healthy[2], lr=1e30, weight_decay=1e10)
    with_neighbour = [*healthy[:2], broken, *healthy[3:]]
    expected, found = (train_heads(bank, start, configs, COUNTS) for configs in (healthy, with_neighbour))
    failure = found[2]
    assert isinstance(failure, HeadFailure)
    assert "lower stage2.lr (1e+30)" in failure.reason
    assert failure.config == flat_config(broken)
    for i in (0, 1, 3, 4, 5):
        assert torch.equal(found[i].weight, expected[i].weight)  # bitwise


def test_a_head_that_cannot_be_trained_fails_alone() -> None:
    bank, start = _bank(replay=True)
    found = train_heads(bank, start, [dataclasses.replace(BASE, batch_size=8), BASE], COUNTS)
    assert isinstance(found[0], HeadFailure)
    assert "batches of 16, but got 8" in found[0].reason
    assert isinstance(found[1], TrainedHead)


def test_no_heads_are_no_results() -> None:
    assert train_heads(*_bank(), [], COUNTS) == []


def test_default_chunk_shrinks_with_the_head() -> None:
    sizes = [default_chunk(torch.zeros(shape)) for shape in ((10, 64), (100, 512), (1000, 2048))]
    assert sizes == [64, 17, 4]
