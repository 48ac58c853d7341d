from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.paper_pack import Pack, read_packs, write_pack
from trainers.features import FeatureBank, LabelledFeatures
from trainers.weight_balance import LinearHead


def test_a_pack_is_cut_into_small_files_and_read_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.paper_pack.MOST", 4000)
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).to(torch.bfloat16)

    bank = FeatureBank(
        train=draw(2, 50, 16), labels=torch.arange(50) % 3, order_seed=7,
        splits={name: LabelledFeatures(draw(30, 16), torch.arange(30) % 3) for name in ("val", "test")},
    )  # fmt: skip
    pack = Pack(
        name="honest-lr0.01-seed0", params={"stage1.lr": 0.01, "stage1.weight_decay": 0.0}, seed=0,
        setting={"epochs": 320, "drw": None}, seconds=12.5, counts=(20, 20, 10),
        start=LinearHead(torch.randn(3, 16), torch.randn(3)), bank=bank,
    )  # fmt: skip
    files = write_pack(tmp_path, pack)
    assert len(files) > 1
    assert all(path.stat().st_size < 6000 for path in files)
    (again,) = read_packs(tmp_path)
    for name in ("name", "params", "seed", "setting", "seconds", "counts"):
        assert getattr(again, name) == getattr(pack, name)
    assert torch.equal(again.start.weight, pack.start.weight)
    theirs = bank.to_tensors()
    assert all(torch.equal(tensor, theirs[key]) for key, tensor in again.bank.to_tensors().items())
