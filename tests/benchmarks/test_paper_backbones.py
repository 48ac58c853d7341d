"""What is trained: images, backbones and heads of the paper's table."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.paper_backbones import Backbone, final_task, paper_scale, toy_scale
from benchmarks.paper_heads import KINDS, asked_digest, drawn_heads, released_heads
from trainers.config import Stage1Config, TaskConfig
from trainers.data.task import load_task
from trainers.long_tail import cut_pool, long_tail_counts

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PUBLISHED = long_tail_counts(100, 500, 100)
HONEST = Backbone.of("honest", toy_scale().task, Stage1Config(epochs=3, lr=0.01))


def _groups(counts: Sequence[int]) -> tuple[int, int, int]:
    return sum(n > 100 for n in counts), sum(20 <= n <= 100 for n in counts), sum(n < 20 for n in counts)


def test_honest_trains_on_the_published_long_tail_but_for_what_validation_takes() -> None:
    """On labels alone, as many as the pool of factor 10 has."""
    pool = long_tail_counts(100, 500, 10)
    labels = np.repeat(np.arange(100), pool)
    rank = np.concatenate([np.arange(n) for n in pool])
    honest = Backbone.of("honest", paper_scale("anywhere").task, Stage1Config())
    cut = cut_pool(labels, honest.task, class_names=list(map(str, range(100))), rank=rank)
    counts = np.bincount(labels[cut.train], minlength=100).tolist()
    _check_honest(counts, np.bincount(labels[cut.val], minlength=100).tolist())


def _check_honest(counts: Sequence[int], validation: Sequence[int]) -> None:
    assert validation == [20] * 100
    assert [counts[k] for k in (0, 1, 2, 99)] == [480, 468, 455, 5]
    assert counts[2:] == PUBLISHED[2:]
    assert _groups(counts) == _groups(PUBLISHED) == (35, 35, 30)
    assert sum(counts) == 10_818
    assert sum(counts) % 64 == 2  # the last batch of an epoch, which PAPER.md names


def test_the_protocols_on_the_original_pixels() -> None:
    folder = SHARED / "cifar100_lt_lossless"
    if not folder.is_dir():
        pytest.skip("the CIFAR-100-LT files are not beside this checkout")
    task = paper_scale(str(folder)).task
    honest, leak = (Backbone.of(protocol, task, Stage1Config()).load() for protocol in ("honest", "paper_leak"))  # type: ignore[arg-type]
    _check_honest(list(honest.counts), torch.bincount(honest.val.labels).tolist())
    assert list(leak.counts) == PUBLISHED
    assert (len(leak.train), len(leak.test)) == (10_847, 10_000)


def test_the_final_images_are_those_of_the_long_tail_and_choose_nothing() -> None:
    config = TaskConfig(dataset="digits-lt")
    final, honest = final_task(config), load_task(config)
    leak = load_task(dataclasses.replace(config, protocol="paper_leak"))
    assert final.counts == leak.counts
    assert torch.equal(final.val.labels, honest.val.labels)
    assert len({final.fingerprint, honest.fingerprint, leak.fingerprint}) == 3
    kept = Backbone.of("final", config, Stage1Config())
    assert (kept.task.protocol, kept.stage1.schedule) == ("honest", "cosine")  # so that the last epoch is kept


def test_precision_is_in_the_key_too() -> None:
    plain, half = (
        dataclasses.replace(HONEST, stage1=dataclasses.replace(HONEST.stage1, precision=precision))
        for precision in ("fp32", "bf16")
    )
    assert plain.key(torch.device("cpu")) != half.key(torch.device("cpu"))


def test_other_heads_are_another_piece() -> None:
    digests = {asked_digest(protocol, count, seed=0) for protocol in ("honest", "paper_leak") for count in (4, 5)}
    assert len(digests) == 4


def test_the_released_head_and_its_twins_differ_in_maxnorm_alone() -> None:
    released, step, without = released_heads("honest", 5).values()
    assert dataclasses.replace(released, projection="step") == step
    assert dataclasses.replace(released, maxnorm_radius=None) == without
    assert (released.projection, released.epoch_rule, released.seed) == ("epoch", "last", 5)
    assert released_heads("paper_leak", 0)["released"].epoch_rule == "best"


def _settings(kind: str, heads: Sequence[tuple[str, Any]]) -> list[Mapping[str, Any]]:
    return [dataclasses.asdict(head) for row, head in heads if row == kind]


def test_parts_of_the_method_are_drawn_with_the_same_numbers() -> None:
    heads = drawn_heads(6, seed=0)
    assert [row for row, _ in heads] == [kind for kind in KINDS for _ in range(6)]
    alone, decay, maxnorm, step, epoch = (_settings(kind, heads) for kind in list(KINDS)[:5])
    assert {head["weight_decay"] for head in (*alone, *maxnorm)} == {0.0}
    assert {head["maxnorm_radius"] for head in (*alone, *decay)} == {None}
    assert [head["lr"] for head in alone] == [head["lr"] for head in step]
    assert [head["weight_decay"] for head in decay] == [head["weight_decay"] for head in step]
    assert [head["maxnorm_radius"] for head in maxnorm] == [head["maxnorm_radius"] for head in step]
    assert [{**head, "projection": "epoch"} for head in step] == epoch
    assert {head["loss"] for head in step} == {"cb_ce", "cb_bce_softmax"}
    assert drawn_heads(6, seed=0) == heads
    assert drawn_heads(6, seed=1) != heads
