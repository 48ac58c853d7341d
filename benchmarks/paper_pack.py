"""A backbone's features in files small enough to be brought back from a borrowed machine, for paper_replay."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.features import FeatureBank
from trainers.weight_balance import LinearHead

MOST = 15 * 2**20  # bytes a file


@dataclass(frozen=True, kw_only=True)
class Pack:
    """All that stage 2 needs of one backbone."""

    name: str
    params: Mapping[str, float]  # stage1.lr, stage1.weight_decay
    seed: int
    setting: Mapping[str, Any]  # what backbones of one search have in common: images, epochs, loss ...
    seconds: float  # that stage 1 took
    counts: tuple[int, ...]
    start: LinearHead
    bank: FeatureBank  # two views, val and test


def write_pack(folder: Path, pack: Pack) -> list[Path]:
    """Writes `<name>.<number>.safetensors`, features as bfloat16; returns the files."""
    tensors = {"start.weight": pack.start.weight, "start.bias": pack.start.bias, **pack.bank.to_tensors()}
    small = {key: _halved(tensor) if "features" in key or key == "train" else tensor for key, tensor in tensors.items()}
    about = {
        "params": dict(pack.params), "seed": pack.seed, "setting": dict(pack.setting), "seconds": pack.seconds,
        "counts": pack.counts,
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, part in enumerate(_parts(small)):
        paths.append(folder / f"{pack.name}.{number}.safetensors")
        save_file(part, paths[-1], metadata={"about": json.dumps(about)})
    return paths


def read_packs(folder: Path) -> list[Pack]:
    """All packs of a folder, by name. Raises KeyError for one that misses a part."""
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        files.setdefault(path.name.rsplit(".", 2)[0], []).append(path)
    return [_read(name, paths) for name, paths in sorted(files.items())]


def _read(name: str, paths: list[Path]) -> Pack:
    pieces: dict[str, dict[int, Tensor]] = {}
    about: dict[str, Any] = {}
    for path in paths:
        with safe_open(path, framework="pt") as file:
            about = json.loads(file.metadata()["about"])
            for key in file.keys():  # noqa: SIM118
                whole, _, number = key.partition("#")
                pieces.setdefault(whole, {})[int(number)] = file.get_tensor(key)
    tensors = {key: torch.cat([part for _, part in sorted(parts.items())]) for key, parts in pieces.items()}
    tensors = {
        key: tensor[0] if key in ("order_seed", "replay_batch_size") else tensor for key, tensor in tensors.items()
    }
    views = len(tensors["train"]) // len(tensors["labels"])
    tensors["train"] = tensors["train"].reshape(views, -1, tensors["train"].shape[1])
    start = LinearHead(tensors.pop("start.weight"), tensors.pop("start.bias"))
    bank = FeatureBank.from_tensors(tensors)
    return Pack(
        name=name, params=about["params"], seed=about["seed"], setting=about["setting"], seconds=about["seconds"],
        counts=tuple(about["counts"]), start=start, bank=bank,
    )  # fmt: skip


def _parts(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Tensors cut along their rows and laid into files of at most MOST bytes."""
    part: dict[str, Tensor] = {}
    left = MOST
    for key, tensor in tensors.items():
        rows = tensor.reshape(1) if tensor.dim() == 0 else tensor.flatten(0, 1) if tensor.dim() == 3 else tensor
        each = max(1, rows[0].numel() * rows.element_size())
        at, number = 0, 0
        while at < len(rows):
            if left < each:
                yield part
                part, left = {}, MOST
            taken = min(len(rows) - at, left // each)
            part[f"{key}#{number}"] = rows[at : at + taken].cpu().clone()  # no two may share memory
            at, number, left = at + taken, number + 1, left - taken * each
    if part:
        yield part


def _halved(features: Tensor) -> Tensor:
    return features.to(torch.bfloat16)
