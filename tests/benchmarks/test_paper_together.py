"""Several backbones of the paper's table at once: each as alone, stopped and continued, one failing alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import paper_campaign, paper_table
from benchmarks.paper_backbones import Backbone, toy_scale
from benchmarks.paper_campaign import Campaign, MinutesOverError
from benchmarks.paper_lines import read_lines
from trainers.config import Stage1Config
from trainers.turns import JobEnd

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module", autouse=True)
def on_the_processor() -> Iterator[None]:
    """Where the same training gives the same weights."""
    with pytest.MonkeyPatch.context() as context:
        context.setattr(torch.cuda, "is_available", lambda: False)
        yield


def _backbone(seed: int, lr: float = 0.01) -> Backbone:
    return Backbone.of("paper_leak", toy_scale().task, Stage1Config(epochs=3, lr=lr, seed=seed))


def _campaign(folder: Path, *, minutes: float = 5, at_once: int = 3) -> Campaign:
    return Campaign(toy_scale(), out=folder / "out", cache=folder / "cache", minutes=minutes, at_once=at_once)


def _stage1(folder: Path) -> dict[int, Mapping[str, Any]]:
    return {line["seed"]: line for line in read_lines(folder / "out") if line["piece"] == "stage1"}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three backbones, one after the other."""
    folder = tmp_path_factory.mktemp("alone")
    _campaign(folder, at_once=1).run([_backbone(seed) for seed in SEEDS])
    return folder


def test_several_at_once_are_each_as_alone(alone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--toy", "--protocol", "paper_leak", "--weight-decay", "5e-3", "--at-once", "2"]
    where = ["--out", str(tmp_path / "out"), "--cache", str(tmp_path / "cache")]
    assert paper_table.main([*arguments, *where]) == 0
    assert "Failed" not in capsys.readouterr().out
    wanted, found = _stage1(alone), _stage1(tmp_path)
    assert [line["at_once"] for line in found.values()] == [2, 2, 1]
    assert all(line["at_once"] == 1 for line in wanted.values())
    for seed in SEEDS:
        assert found[seed]["weights"] == wanted[seed]["weights"]
        assert found[seed]["curve"] == wanted[seed]["curve"]
    pieces = [(line["seed"], line["piece"]) for line in read_lines(tmp_path / "out")]
    assert pieces[:2] == [(0, "stage1"), (1, "stage1")]
    assert sorted(pieces) == sorted((seed, piece) for seed in SEEDS for piece in ("stage1", "heads", "rows"))


def test_out_of_time_all_leave_checkpoints_and_go_on(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbones = [_backbone(seed) for seed in SEEDS]
    clock = iter(range(10_000))
    with monkeypatch.context() as context:
        # a second passes with each look at the clock, so that of six, each gets as far as its first or second epoch
        context.setattr(paper_campaign.time, "monotonic", lambda: float(next(clock)))
        with pytest.raises(MinutesOverError):
            _campaign(tmp_path, minutes=0.1).run(backbones)
    assert not read_lines(tmp_path / "out")
    kept = [json.loads(path.read_text())["manifest"] for path in (tmp_path / "cache").glob("*/checkpoint.json")]
    assert len(kept) == 3
    _campaign(tmp_path).run(backbones)
    assert not [*(tmp_path / "cache").glob("*/checkpoint.json")]
    wanted, found = _stage1(alone), _stage1(tmp_path)
    assert {seed: line["weights"] for seed, line in found.items()} == {s: line["weights"] for s, line in wanted.items()}


def test_one_that_diverges_fails_alone(alone: Path, tmp_path: Path) -> None:
    _campaign(tmp_path).run([_backbone(0), _backbone(1, lr=1e30), _backbone(2)])
    found = _stage1(tmp_path)
    assert "lower stage1.lr" in found[1]["failed"]
    assert {found[seed]["weights"] for seed in (0, 2)} == {_stage1(alone)[seed]["weights"] for seed in (0, 2)}
    assert [line["seed"] for line in read_lines(tmp_path / "out") if line["piece"] == "rows"] == [0, 2]


def test_one_without_room_on_the_gpu_is_trained_with_fewer_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, crowds = paper_campaign.train_together, list[int]()

    def crowded(jobs: Any, **settings: Any) -> Iterator[tuple[int, JobEnd]]:
        crowds.append(len(jobs))
        ends = together(jobs, **settings)
        yield from ends if len(jobs) < 3 else [(index, JobEnd(error=torch.OutOfMemoryError())) for index, _ in ends][:1]

    monkeypatch.setattr(paper_campaign, "train_together", crowded)
    _campaign(tmp_path).run([_backbone(seed) for seed in SEEDS])
    assert crowds == [3, 2]
    assert sorted(_stage1(tmp_path)) == [0, 1, 2]


def test_an_error_that_is_not_the_trainers_ends_the_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(jobs: Any, **settings: Any) -> Iterator[tuple[int, JobEnd]]:
        yield 0, JobEnd(error=OSError("no space left on device"))

    monkeypatch.setattr(paper_campaign, "train_together", broken)
    with pytest.raises(OSError, match="no space left"):
        _campaign(tmp_path).run([_backbone(seed) for seed in SEEDS])
    assert not read_lines(tmp_path / "out")


def test_what_several_at_once_take_is_kept_by_precision(alone: Path) -> None:
    campaign = Campaign(toy_scale(), out=alone / "out", cache=alone / "cache", minutes=1)
    seen = campaign.minutes(_backbone(9), "stage1")
    assert seen == max(line["seconds"] for line in _stage1(alone).values()) / 60
    other = Backbone.of("paper_leak", toy_scale().task, Stage1Config(epochs=320, lr=0.01, precision="fp32"))
    assert campaign.minutes(other, "stage1") == toy_scale().minutes["stage1"]  # no line has it
