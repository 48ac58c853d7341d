"""What to run first on a GPU, beside tests/trainers/stage1/test_recorded.py: `pytest -m gpu`. See benchmarks/PAPER.md.

The same relations are tested on the processor, where they are easy, so that nothing but the GPU is new there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from benchmarks import paper_table
from benchmarks.noise import Noise
from benchmarks.paper_backbones import Backbone, toy_scale
from benchmarks.paper_heads import released_heads
from benchmarks.paper_lines import read_lines
from trainers.config import Stage1Config, Stage2Config
from trainers.features import FeatureBank, FeatureMode, LabelledFeatures, extract_bank
from trainers.job import Job, run_job
from trainers.results import HeadFailure, HeadResult, Progress
from trainers.stage1 import loop
from trainers.stage1.models import build_model
from trainers.stage1.step import Stage1State
from trainers.stage2.heads import train_heads
from trainers.turns import Clock, Events, JobEnd, Together, Turn
from trainers.weight_balance import LinearHead

CPU = torch.device("cpu")
GPU = pytest.param(
    torch.device("cuda"),
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")],
    id="cuda",
)
on_both = pytest.mark.parametrize("device", [pytest.param(CPU, id="cpu"), GPU])
COUNTS = (60, 20, 8, 4)
HEADS = [
    Stage2Config(lr=0.05, epochs=4),
    Stage2Config(lr=0.5, epochs=4, loss="cb_bce_softmax", projection="epoch"),
    Stage2Config(lr=0.05, epochs=4, loss="logit_adjusted", maxnorm_radius=None),
    Stage2Config(lr=0.05, epochs=4, method="crt", loss="ce"),
    Stage2Config(lr=0.05, epochs=4, method="lws"),
]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """No TF32, or float32 would not be what it says."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def _bank(width: int = 16) -> FeatureBank:
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(len(COUNTS)), torch.tensor(COUNTS))
    means = torch.randn(len(COUNTS), width, generator=generator)

    def draw(of: Tensor) -> Tensor:
        return means[of] + torch.randn(len(of), width, generator=generator)

    seen = torch.arange(80) % len(COUNTS)
    views = torch.stack([draw(labels) for _ in range(4)])
    return FeatureBank(train=views, labels=labels, order_seed=0, splits={"val": LabelledFeatures(draw(seen), seen)})


@on_both
def test_heads_are_those_of_the_processor(device: torch.device) -> None:
    bank = _bank()
    start = LinearHead(torch.randn(4, 16, generator=torch.Generator().manual_seed(1)), torch.zeros(4))
    wanted, found = (train_heads(bank.to(where), start, HEADS, COUNTS) for where in (CPU, device))
    for one, other in zip(wanted, found, strict=True):
        assert not isinstance(one, HeadFailure)
        assert not isinstance(other, HeadFailure)
        scale = float(one.weight.abs().max())
        torch.testing.assert_close(other.weight.cpu(), one.weight, rtol=0, atol=1e-4 * scale)
        torch.testing.assert_close(other.bias.cpu(), one.bias, rtol=0, atol=1e-4 * scale)


@on_both
@pytest.mark.parametrize("mode", ["default", "replay"])
@pytest.mark.parametrize(("precision", "apart"), [("fp32", 1e-3), ("bf16", 0.05)])
def test_features_are_those_of_the_processor(
    device: torch.device, mode: FeatureMode, precision: Any, apart: float
) -> None:
    noise = Noise.draw(COUNTS, val=5, test=1, size=16)
    model = build_model("cnn-small", len(COUNTS), in_channels=3, image_size=16)

    def extract(where: torch.device, precision: Any) -> FeatureBank:
        return extract_bank(
            model.to(where), noise.task, mode=mode, epochs=2, batch_size=32, seed=0, splits=("val",), device=where,
            precision=precision, mirrored=("val",),
        ).to(CPU)  # fmt: skip

    found, wanted = extract(device, precision), extract(CPU, "fp32")
    assert torch.equal(found.labels, wanted.labels)
    for ours, theirs in ((found.train, wanted.train), (found.splits["val"].features, wanted.splits["val"].features)):
        assert float((ours.float() - theirs).norm() / theirs.norm()) < apart


@on_both
@pytest.mark.parametrize("protocol", ["paper_leak", "honest"])
def test_a_whole_job_with_the_released_heads(
    device: torch.device, protocol: Any, caplog: pytest.LogCaptureFixture
) -> None:
    backbone = Backbone.of(protocol, toy_scale().task, Stage1Config(epochs=3, lr=0.05))
    heads = (*released_heads(protocol, 0).values(), Stage2Config(method="ncm"))
    job = Job(task=backbone.task, stage1=backbone.stage1, heads=heads, read_test=True)
    events = run_job(job, cache=None, device=device)
    while True:
        try:
            next(events)
        except StopIteration as end:
            trained = end.value
            break
    assert "not recorded" not in caplog.text
    assert len(trained.result.backbone.epochs) == 3
    assert all(parameter.device.type == device.type for parameter in trained.model.parameters())
    for head in trained.result.heads:
        assert isinstance(head, HeadResult)
        assert 0 <= (head.metrics["test.balanced_accuracy"] or 0.0) <= 1
        assert all(math.isfinite(norm) for norm in head.norms)


def _two_epochs(seed: int, device: torch.device, clock: Clock) -> Events[Stage1State]:
    """A training in turns, across an epoch's end and its smaller batch."""
    task = Noise.draw(COUNTS, val=1, test=1, size=16).task
    config = Stage1Config(epochs=2, batch_size=16, lr=0.02, precision="fp32", seed=seed)
    state = loop.start(task, config, model="cnn-small", pretrained=False, device=device)
    for event in loop.turns(loop.Run(state, task, config, device=device, way="recorded", clock=clock)):
        yield event if isinstance(event, Turn) else Progress(stage=1, epoch=event.epoch, epochs=2, metrics={})
    return state


def _trained_together(device: torch.device, seeds: Sequence[int]) -> dict[int, Stage1State]:
    """The trainings of several seeds, side by side."""
    together = Together([partial(_two_epochs, seed, device) for seed in seeds], device, at_once=len(seeds))
    found: dict[int, Stage1State] = {}
    while not together.over:
        for index, event in together.round():
            if isinstance(event, JobEnd):
                assert event.error is None
                found[seeds[index]] = cast(Stage1State, event.result)
    return found


def _weights(state: Stage1State) -> Tensor:
    return torch.cat([parameter.detach().flatten().cpu() for parameter in state.model.parameters()])


@on_both
def test_two_trainings_in_turn_are_each_alone(device: torch.device) -> None:
    together = _trained_together(device, (0, 1))
    for seed in (0, 1):
        alone = _weights(_trained_together(device, (seed,))[seed])
        moved = float((alone - _weights(together[1 - seed])).norm())
        assert float((_weights(together[seed]) - alone).norm()) <= (0.02 * moved if device.type == "cuda" else 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_the_papers_table_at_toy_scale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--toy", "--seed", "0", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert paper_table.main(arguments) == 0
    assert paper_table.main([*arguments, "--final"]) == 0
    assert "Failed" not in capsys.readouterr().out
    assert {line["piece"] for line in read_lines(tmp_path / "out")} == {"stage1", "heads", "rows", "pack", "final"}
    assert all(line["hardware"]["gpu"] for line in read_lines(tmp_path / "out"))
