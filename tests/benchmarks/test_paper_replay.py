from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks import paper_replay
from benchmarks.paper_pack import Pack, write_pack
from benchmarks.paper_replay import WAYS, Replay, searched, table
from benchmarks.paper_summary import PLAIN
from trainers.features import FeatureBank, LabelledFeatures
from trainers.weight_balance import LinearHead

CLASSES, WIDTH = 3, 8


def _pack(lr: float, weight_decay: float, *, spread: float, seed: int = 0, epochs: int = 80) -> Pack:
    """Features that are the easier to tell apart, the smaller `spread` is."""
    generator = torch.Generator().manual_seed(int(1000 * lr) + seed)
    means = torch.randn(CLASSES, WIDTH, generator=generator)

    def draw(labels: torch.Tensor) -> torch.Tensor:
        return means[labels] + spread * torch.randn(len(labels), WIDTH, generator=generator)

    labels = torch.repeat_interleave(torch.arange(CLASSES), torch.tensor([40, 15, 5]))
    looked_at = torch.arange(60) % CLASSES
    bank = FeatureBank(
        train=torch.stack([draw(labels) for _ in range(2)]), labels=labels, order_seed=0,
        splits={name: LabelledFeatures(draw(looked_at), looked_at) for name in ("val", "test")},
    )  # fmt: skip
    start = LinearHead(torch.randn(CLASSES, WIDTH, generator=generator), torch.zeros(CLASSES))
    params = {"stage1.lr": lr, "stage1.weight_decay": weight_decay}
    return Pack(
        name=f"honest-lr{lr:g}-wd{weight_decay:g}-e{epochs}-seed{seed}", params=params, seed=seed,
        setting={**PLAIN, "epochs": epochs, "images": 60, "data": "0123abcd"}, seconds=60.0, counts=(40, 15, 5),
        start=start, bank=bank,
    )  # fmt: skip


PACKS = [_pack(lr, decay, spread=1.5 if decay else 3.0) for lr in (0.01, 0.1) for decay in (0.0, 1e-3, 1e-2)]


@pytest.mark.parametrize("way", WAYS)
def test_every_way_uses_each_backbone_once_and_never_gets_worse(way: str) -> None:
    run = Replay(PACKS, heads=4, seed=0)
    WAYS[way](run)
    assert not run.left
    assert [step["minutes"] for step in run.course] == [1, 2, 3, 4, 5, 6]
    values = [step["validation"] for step in run.course]
    assert values == sorted(values)
    assert len(run.rows) == 4 * len(PACKS)


def test_the_same_seed_gives_the_same_course() -> None:
    runs = [Replay(PACKS, heads=4, seed=1) for _ in range(2)]
    for run in runs:
        WAYS["two levels"](run)
    assert runs[0].course == runs[1].course


def test_the_command_reads_packs_and_writes_courses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pack in PACKS[:4]:
        write_pack(tmp_path / "packs", pack)
    assert (
        paper_replay.main([str(tmp_path / "packs"), "--heads", "4", "--seeds", "1", "--out", str(tmp_path / "o")]) == 0
    )
    said = capsys.readouterr().out
    assert "80 epochs, 60 images (0123abcd); 4 backbones, seeds [0], 4 heads each:" in said
    assert all(f"{way}:\n" in said for way in WAYS)
    assert said.count("after 4 backbones (4.0 min of stage 1)") == len(WAYS)
    with pytest.raises(SystemExit):
        paper_replay.main([str(tmp_path / "nowhere")])


def test_a_seed_with_fewer_backbones_does_not_shorten_the_others() -> None:
    packs = [*PACKS[:4], _pack(0.01, 1e-3, spread=1.5, seed=1)]
    found = searched(packs, heads=4, seeds=2)
    assert sorted(map(len, found["random"])) == [1, 1, 4, 4]
    lines = [line for line in table({"random": found["random"]}) if "after" in line]
    assert [line.rpartition("n=")[2] for line in lines] == ["4", "2", "2", "2"]


def test_backbones_of_other_settings_are_searched_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pack in (*PACKS[:2], _pack(0.01, 1e-3, spread=1.5, epochs=320)):
        write_pack(tmp_path, pack)
    assert paper_replay.main([str(tmp_path), "--heads", "4", "--seeds", "1"]) == 0
    said = capsys.readouterr().out
    assert "80 epochs, 60 images (0123abcd); 2 backbones" in said
    assert "320 epochs, 60 images (0123abcd); 1 backbones" in said
    assert said.count("after 2 backbones") == len(WAYS)
