"""Recorded heads are the heads: on a GPU for real, elsewhere with a recorder that plays the steps again."""

from __future__ import annotations

import dataclasses
import logging
import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from trainers.config import LossName, Stage2Config, TrainedMethod
from trainers.features import FeatureBank, LabelledFeatures
from trainers.results import HeadFailure
from trainers.stage2 import chunks, heads, recorded
from trainers.stage2.chunks import LIKE_LOGITS, ChunkNeed, even_size, in_chunks
from trainers.stage2.head_gradients import StackedLosses
from trainers.stage2.heads import train_heads
from trainers.stage2.history import History
from trainers.stage2.learnt import Rows, Scales
from trainers.stage2.one_head import TrainedHead
from trainers.stage2.recipe import Recalls, epoch_orders, stage2_loss
from trainers.stage2.recorded import BlockRecorder, Replay, never
from trainers.stage2.steps import Blocks, HeadStep, block_size
from trainers.weight_balance import LinearHead, row_norms

COUNTS = (90, 50, 20, 10)  # 170 images: 21 batches of 8 and one of 2
BASE = Stage2Config(epochs=4, batch_size=8, lr=0.05)
CPU = torch.device("cpu")


class Player:
    """Stands for CUDA: recording computes nothing, and each replay asks for the work again."""

    def __init__(self, spoilt: Callable[[Replay], Replay] = lambda replay: replay) -> None:
        self.spoilt, self.warmed, self.recordings, self.replays = spoilt, 0, 0, 0

    def __call__(self, device: torch.device) -> BlockRecorder:
        return self

    def warm_up(self, work: Callable[[], None]) -> None:
        self.warmed += 1
        work()

    def record(self, work: Callable[[], None]) -> Replay:
        self.recordings += 1
        spoilt = self.spoilt(work)

        def replay() -> None:
            self.replays += 1
            spoilt()

        return replay


def _bank(device: torch.device | str = CPU) -> tuple[FeatureBank, LinearHead]:
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(4, 16, generator=generator)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    val_labels = torch.arange(200) % 4
    bank = FeatureBank(
        train=means[labels] + torch.randn(2, len(labels), 16, generator=generator),
        labels=labels,
        order_seed=5,
        splits={"val": LabelledFeatures(means[val_labels] + torch.randn(200, 16, generator=generator), val_labels)},
    )
    norms = torch.tensor([2.0, 1.5, 1.0, 0.7]).unsqueeze(1)
    start = LinearHead(norms * torch.randn(4, 16, generator=generator), 0.1 * torch.randn(4, generator=generator))
    return bank.to(device), start.to(device)


def _variants(method: str = "weight_balancing", loss: str = "cb_bce_softmax") -> list[Stage2Config]:
    base = dataclasses.replace(BASE, method=method, loss=loss, scale=3.0)
    return [
        base,
        dataclasses.replace(base, maxnorm_radius=None, lr=0.2, weight_decay=0.0),
        dataclasses.replace(base, maxnorm_radius=0.5, projection="epoch", momentum=0.5, beta=0.9),
        dataclasses.replace(base, maxnorm_radius=0.1, radius_unit="norm_span", tau=0.5, gamma=1.0, max_margin=0.2),
        dataclasses.replace(base, epoch_rule="best", lr=0.5, weight_decay=0.1, schedule="cosine_ahead"),
    ]


def _without_time(found: TrainedHead | HeadFailure) -> Any:
    if isinstance(found, HeadFailure):
        return found
    epochs = [{**epoch.metrics, "seconds": 0.0} for epoch in found.epochs]
    return found.weight.tolist(), found.bias.tolist(), found.epoch, epochs, found.projected_at_step1, found.notes


def _trained(recorder: Callable[[torch.device], BlockRecorder | None], configs: Sequence[Stage2Config]) -> list[Any]:
    return [_without_time(found) for found in train_heads(*_bank(), configs, COUNTS, recorder_for=recorder)]


@pytest.mark.parametrize("loss", ["ce", "ldam", "cb_bce_softmax", "cb_focal", "cb_sigmoid"])
@pytest.mark.parametrize("method", get_args(TrainedMethod))
def test_recorded_heads_are_the_heads_bitwise(method: str, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    player = Player()
    assert _trained(player, _variants(method, loss)) == _trained(never, _variants(method, loss))
    blocks = 21 // block_size(21)
    assert (player.warmed, player.recordings) == (1, 1)
    assert player.replays == 4 * blocks - 1 + 1  # the first block warms up; one replay is compared
    assert not caplog.records


def test_a_head_that_overflows_beside_others_does_not_stop_the_recording(caplog: pytest.LogCaptureFixture) -> None:
    configs = _variants()
    configs.append(dataclasses.replace(configs[0], lr=1e30, weight_decay=1e10))
    configs.append(dataclasses.replace(configs[0], lr=50.0, weight_decay=1.0))
    player = Player()
    found = _trained(player, configs)
    assert found == _trained(never, configs)
    assert isinstance(found[5], HeadFailure)
    assert player.recordings == 1
    assert not caplog.records


def _step_of(work: Replay) -> Blocks:
    return work.__self__  # type: ignore[attr-defined, no-any-return]


def _baked_rate(work: Replay) -> Replay:
    blocks = _step_of(work)
    rates = blocks.step.heads.descent.clone()

    def replay() -> None:
        kept = blocks.step.heads.descent.clone()
        blocks.step.heads.descent.copy_(rates)
        work()
        blocks.step.heads.descent.copy_(kept)

    return replay


def _baked_batch(work: Replay) -> Replay:
    blocks = _step_of(work)
    x, y = blocks.x.clone(), blocks.y.clone()

    def replay() -> None:
        kept = blocks.x.clone(), blocks.y.clone()
        blocks.x.copy_(x), blocks.y.copy_(y)
        work()
        blocks.x.copy_(kept[0]), blocks.y.copy_(kept[1])

    return replay


def _always_the_same_block(work: Replay) -> Replay:
    blocks, at = _step_of(work), _step_of(work).next.clone()

    def replay() -> None:
        kept = blocks.next.clone()
        blocks.next.copy_(at)
        work()
        blocks.next.copy_(kept + 1)

    return replay


def _losses_forgotten(work: Replay) -> Replay:
    blocks = _step_of(work)

    def replay() -> None:
        kept = blocks.step.loss_sum.clone()
        work()
        blocks.step.loss_sum.copy_(kept)

    return replay


def _rows_forgotten(work: Replay) -> Replay:
    blocks = _step_of(work)

    def replay() -> None:
        work()
        blocks.step.touched.zero_()

    return replay


def _counter_forgotten(work: Replay) -> Replay:
    blocks = _step_of(work)

    def replay() -> None:
        work()
        blocks.next.sub_(1)

    return replay


@pytest.mark.parametrize("loss", ["cb_ce", "cb_bce_softmax"])
@pytest.mark.parametrize(
    ("spoilt", "what"),
    [
        (_baked_rate, "weights"),
        (_baked_batch, "weights"),
        (_always_the_same_block, "weights"),
        (_losses_forgotten, "losses"),
        (_rows_forgotten, "rows that MaxNorm shrank"),
        (_counter_forgotten, "counter"),
    ],
)
def test_a_recording_that_does_something_else_is_not_used(
    spoilt: Callable[[Replay], Replay], what: str, loss: str, caplog: pytest.LogCaptureFixture
) -> None:
    player = Player(spoilt)
    assert _trained(player, _variants(loss=loss)) == _trained(never, _variants(loss=loss))
    assert player.replays == 1
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"changes the {what} differently" in record.getMessage()


def test_a_head_of_lws_with_a_rate_baked_in_is_found(caplog: pytest.LogCaptureFixture) -> None:
    configs = _variants("lws", "ce")
    assert _trained(Player(_baked_rate), configs) == _trained(never, configs)
    assert "changes the scales differently" in caplog.text


def test_where_nothing_can_be_recorded_training_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(work: Replay) -> Replay:
        raise RuntimeError("operation not permitted when stream is capturing")

    assert _trained(Player(refuse), _variants()) == _trained(never, _variants())
    assert caplog.text.count("not recorded as a CUDA graph") == 1


def test_a_training_too_short_to_repay_a_recording_is_not_recorded() -> None:
    player = Player()
    short = [dataclasses.replace(BASE, epochs=2, batch_size=64)]
    assert _trained(player, short) == _trained(never, short)
    assert player.recordings == 0


@pytest.mark.parametrize(("steps", "size"), [(0, 0), (5, 5), (8, 8), (169, 13), (160, 16), (17, 16), (21, 10)])
def test_blocks_leave_few_steps_over(steps: int, size: int) -> None:
    assert block_size(steps) == size


# Memory


def test_out_of_memory_halves_the_chunks_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    sizes: list[int] = []
    trained = heads.HeadChunk.train

    def limited(chunk: heads.HeadChunk, *args: Any) -> Any:
        sizes.append(len(chunk.configs))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return trained(chunk, *args)

    wanted = [_without_time(head) for head in train_heads(*_bank(), _variants() * 2, COUNTS, chunk=2)]
    monkeypatch.setattr(heads.HeadChunk, "train", limited)
    assert [_without_time(head) for head in train_heads(*_bank(), _variants() * 2, COUNTS)] == wanted
    assert sizes == [10, 5, 3, 2, 2, 2, 2, 2]
    (record,) = caplog.records
    assert "10 heads at once did not fit the GPU's memory, so 5 are trained" in record.getMessage()


def test_no_room_for_one_head_is_an_error() -> None:
    def work(items: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        list(in_chunks([1, 2], 2, work))


def test_memory_that_runs_out_while_recording_halves_the_chunk(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[None] = []

    def run_out_once(work: Replay) -> Replay:
        asked.append(None)
        if len(asked) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work

    found = train_heads(*_bank(), [BASE] * 4, COUNTS, recorder_for=Player(run_out_once))
    assert len(asked) == 3
    assert all(isinstance(head, TrainedHead) for head in found)
    assert "so 2 are trained" in caplog.text


def test_chunks_are_even_and_fit_the_memory() -> None:
    assert [even_size(256, most) for most in (68, 100, 256, 1000, 1)] == [64, 86, 256, 256, 1]
    bank, start = _bank()
    small = ChunkNeed.of(start.weight, bank, BASE, "softmax")
    assert small.fits(0) == 1
    assert small.fits(2 * small.fixed + 100 * small.each) >= 80
    assert small.fits(2**60) == small.largest
    large = ChunkNeed.of(torch.empty(1000, 2048, device="meta"), bank, BASE, "softmax")
    assert large.largest == (2**31 - 1) // (1000 * 2048)


def test_a_gpu_plans_with_the_memory_that_others_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    bank, start = _bank()
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6_000, 80_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 3_000)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1_000)
    assert chunks.free_bytes(torch.device("cuda")) == 8_000
    on_gpu = LinearHead(torch.empty(4, 16, device="meta"), start.bias)
    assert heads.chunk_size(bank, on_gpu, BASE, stage2_loss(BASE, COUNTS), 256) == 1


class _Peak(TorchDispatchMode):
    """The most bytes that tensors made within hold at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, int] = {}
        self.most = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), named: Mapping[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(named or {}))
        for each in out if isinstance(out, tuple) else (out,):
            if isinstance(each, Tensor) and (key := each.untyped_storage()._cdata) not in self.held:
                self.held[key] = each.untyped_storage().nbytes()
                weakref.finalize(each.untyped_storage(), self.held.pop, key)
        self.most = max(self.most, sum(self.held.values()))
        return out


@pytest.mark.parametrize("loss", get_args(LossName))
def test_the_memory_of_a_loss_is_estimated_from_above(loss: str) -> None:
    configs = [dataclasses.replace(BASE, loss=loss, tau=1.0, gamma=0.5)] * 16
    counts = [100] * 50
    stacked = StackedLosses.of([stage2_loss(config, counts) for config in configs], CPU)
    logits, labels = torch.randn(32, 16, 50), torch.arange(32)
    with _Peak() as peak:
        stacked.value_and_gradient(logits.clone(), labels)
    assert 0.5 < peak.most / logits.nbytes / LIKE_LOGITS[stacked.kind] <= 1


# Nothing of the host


def _blocks(method: str, loss: str) -> Blocks:
    bank, start = _bank()
    configs = _variants(method, loss)
    made = heads.HeadChunk(
        bank, start, configs, COUNTS, [stage2_loss(c, COUNTS) for c in configs], [1.0] * len(configs)
    )
    made.step.first_touched = made.step.touched
    return Blocks(bank, made.step, epoch_orders(bank, BASE), BASE, None)


def _as_on_a_gpu(value: Any, mode: FakeTensorMode) -> Any:
    """`value` with its tensors on a GPU that computes shapes alone; changes objects in place."""
    if isinstance(value, Tensor):
        with mode:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")
    if isinstance(value, Blocks | HeadStep | Rows | Scales | Recalls) or dataclasses.is_dataclass(value):
        for name, part in vars(value).items():
            if isinstance(part, dict):
                part.update({key: _as_on_a_gpu(each, mode) for key, each in part.items()})
            object.__setattr__(value, name, _as_on_a_gpu(part, mode))
    return value


def test_a_gpu_that_computes_shapes_alone_notices_questions_of_the_host() -> None:
    with FakeTensorMode():
        there = torch.zeros(3, device="cuda")
        with pytest.raises(DataDependentOutputException):
            bool(there.any())
        with pytest.raises(RuntimeError, match="same device"):
            there + torch.zeros(3)


@pytest.mark.parametrize("loss", get_args(LossName))
@pytest.mark.parametrize("method", get_args(TrainedMethod))
def test_a_block_on_a_gpu_asks_the_host_for_nothing(method: str, loss: str) -> None:
    mode = FakeTensorMode()
    blocks = _as_on_a_gpu(_blocks(method, loss), mode)
    with mode:
        blocks.to_record()
        blocks.step.begin_epoch(blocks.step.loss_sum)


def test_measures_after_an_epoch_on_a_gpu_ask_the_host_for_nothing() -> None:
    mode = FakeTensorMode()
    bank, _ = _bank()
    history = History(bank, _variants(), COUNTS)
    history.recalls, history.counts = (_as_on_a_gpu(part, mode) for part in (history.recalls, history.counts))
    history.bank = _as_on_a_gpu(dataclasses.replace(bank, splits={"val": bank.splits["val"]}), mode)
    with mode:
        linear = torch.empty(5, 4, 16, device="cuda"), torch.empty(5, 4, device="cuda")
        touched = torch.zeros(5, 4, dtype=torch.bool, device="cuda")
        for epoch in range(2):
            history.measure(epoch, torch.empty(5, device="cuda"), touched, linear)


# The rule of the epoch


class _Told:
    """Stands for `Recalls`: values as told."""

    def __init__(self, values: Tensor) -> None:
        self.values = iter(values)

    def mean(self, weight: Tensor, bias: Tensor, features: Tensor) -> Tensor:
        return next(self.values)


def _old_rule(values: Sequence[float]) -> int:
    """As decided on the host: the first epoch, or a later one that is above the one kept."""
    kept: tuple[float, int] | None = None
    for epoch, value in enumerate(values, 1):
        if kept is None or value > kept[0]:
            kept = value, epoch
    assert kept is not None
    return kept[1]


def test_the_best_epoch_is_that_of_the_rule_on_the_host() -> None:
    bank, _ = _bank()
    values = (torch.rand(6, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 4).round() / 4
    values[0, 0] = values[1:, 1] = values[:, 2] = values[3, 3] = math.nan
    history = History(bank, [dataclasses.replace(BASE, epoch_rule="best")] * 40, COUNTS)
    history.recalls = _Told(values)  # type: ignore[assignment]
    weights = torch.ones(6, 1, 1, 1) * torch.arange(1, 7).view(-1, 1, 1, 1) * torch.ones(6, 40, 4, 16)
    for epoch in range(6):
        linear = weights[epoch], weights[epoch, :, :, 0]
        history.measure(epoch, torch.ones(40), torch.zeros(40, 4, dtype=torch.bool), linear)
    for b, found in enumerate(history.read(linear)):
        assert not isinstance(found, str)
        assert found[1].epoch == _old_rule(values[:, b].tolist())
        assert found[1].weight.unique().tolist() == found[1].bias.unique().tolist() == [found[1].epoch]


def test_the_first_failure_is_the_reason_even_if_a_head_is_finite_again() -> None:
    bank, start = _bank()
    history = History(dataclasses.replace(bank, splits={}), [BASE, BASE], COUNTS)
    weight, bias = torch.stack([start.weight] * 2), torch.stack([start.bias] * 2)
    for epoch, loss in enumerate([1.0, math.inf, math.nan, 2.0]):
        history.measure(epoch, torch.tensor([loss, 1.0]), torch.zeros(2, 4, dtype=torch.bool), (weight, bias))
    failed, fine = history.read((weight, bias))
    assert isinstance(failed, str)
    assert "the loss is inf after epoch 2" in failed
    assert not isinstance(fine, str)
    assert [epoch.metrics["loss"] for epoch in fine[0]] == [1.0] * 4
    assert fine[1].epoch == 4


# On a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("loss", get_args(LossName))
@pytest.mark.parametrize("method", get_args(TrainedMethod))
def test_on_a_gpu_recorded_and_plain_heads_agree(method: str, loss: str, caplog: pytest.LogCaptureFixture) -> None:
    replays: list[None] = []

    class Counted(recorded.CudaGraphs):
        def record(self, work: Callable[[], None]) -> Replay:
            graph = super().record(work)

            def replay() -> None:
                replays.append(None)
                graph()

            return replay

    bank, start = _bank("cuda")
    configs = _variants(method, loss)
    played = train_heads(bank, start, configs, COUNTS, recorder_for=lambda device: Counted())
    plain = train_heads(bank, start, configs, COUNTS, recorder_for=never)
    assert not caplog.records
    assert len(replays) == 4 * (21 // block_size(21))
    for one, other in zip(played, plain, strict=True):
        assert isinstance(one, TrainedHead)
        assert isinstance(other, TrainedHead)
        torch.testing.assert_close(one.weight, other.weight, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one.bias, other.bias, rtol=1e-4, atol=1e-5)
        assert one.projected_at_step1 == other.projected_at_step1
        losses = [[epoch.metrics["loss"] for epoch in head.epochs] for head in (one, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_a_baked_rate_is_found(caplog: pytest.LogCaptureFixture) -> None:
    class Baked(recorded.CudaGraphs):
        def record(self, work: Callable[[], None]) -> Replay:
            blocks = _step_of(work)
            graph, rates = super().record(work), blocks.step.heads.descent.clone()

            def replay() -> None:
                blocks.step.heads.descent.copy_(rates)
                graph()

            return replay

    bank, start = _bank("cuda")
    train_heads(bank, start, _variants(), COUNTS, recorder_for=lambda device: Baked())
    assert "changes the weights differently" in caplog.text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_heads_are_those_of_the_processor() -> None:
    bank, start = _bank()
    on_gpu, wanted = (train_heads(bank.to(where), start, _variants(loss="cb_ce"), COUNTS) for where in ("cuda", "cpu"))
    for one, other in zip(on_gpu, wanted, strict=True):
        assert isinstance(one, TrainedHead)
        assert isinstance(other, TrainedHead)
        torch.testing.assert_close(one.weight.cpu(), other.weight, rtol=1e-4, atol=1e-4)
        assert row_norms(one.weight).isfinite().all()
