"""The backbones of the paper's table: on which images, by which stage 1, under which name."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch

from trainers.config import Stage1Config, TaskConfig
from trainers.data.splits import MemorySplit
from trainers.data.task import Task, load_task
from trainers.stage1.backbone import Training

Protocol = Literal["paper_leak", "honest", "final"]
PIECES: Mapping[Protocol, tuple[str, ...]] = {
    "paper_leak": ("stage1", "heads", "rows"),
    "honest": ("stage1", "heads", "rows", "pack"),
    "final": ("stage1", "final"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is: the paper's size, or a toy."""

    task: TaskConfig
    most_epochs: int | None
    heads: int  # drawn per kind, on each backbone
    minutes: Mapping[str, float]  # what a piece takes, until a line says better; of stage 1, 320 epochs
    closing: float  # seconds that stage 1 needs to leave a checkpoint, or to be scored


PAPER_MINUTES = {  # on an H200, 27 November 2026; of float32 and TF32, and of `final`, guesses
    "stage1": 4.3, "stage1 tf32": 5.5, "stage1 fp32": 14, "heads": 0.5, "rows": 0.3, "pack": 0.1, "final": 0.5,
}  # fmt: skip


def paper_scale(data: str) -> Scale:
    """CIFAR-100-LT at factor 100 and ResNet-34, from the folder `data`."""
    task = TaskConfig(dataset="cifar100-lt", data=data, imbalance_factor=100, model="resnet34", flip_average=True)
    return Scale(task=task, most_epochs=None, heads=96, minutes=PAPER_MINUTES, closing=20)


def toy_scale() -> Scale:
    """The embedded digits, for tests of the scripts."""
    minutes = dict.fromkeys(PAPER_MINUTES, 0.01)
    task = TaskConfig(dataset="digits-lt", flip_average=True)
    return Scale(task=task, most_epochs=3, heads=4, minutes=minutes, closing=0.5)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """One stage 1 of the table, and the images it sees."""

    protocol: Protocol
    task: TaskConfig
    stage1: Stage1Config

    @classmethod
    def of(cls, protocol: Protocol, task: TaskConfig, stage1: Stage1Config) -> Backbone:
        """`paper_leak` keeps the epoch that is best on test and steps its schedule ahead, as released."""
        leak = protocol == "paper_leak"
        return cls(
            protocol=protocol,
            task=dataclasses.replace(task, protocol="paper_leak" if leak else "honest"),
            stage1=dataclasses.replace(stage1, schedule="cosine_ahead" if leak else "cosine"),
        )

    def load(self) -> Task:
        """Its images. Raises DataError or ConfigError."""
        return final_task(self.task) if self.protocol == "final" else _load(self.task)

    def fingerprint(self, device: torch.device) -> str:
        """Of all that determines its weights, the images' content included, as the cache knows it."""
        return Training(config=self.task, stage1=self.stage1, task=self.load(), device=device).fingerprint

    def key(self, device: torch.device) -> str:
        """What its lines are found by: readable, and no other backbone's."""
        stage1 = self.stage1
        named = (self.protocol, f"lr{stage1.lr:g}", f"wd{stage1.weight_decay:g}", f"e{stage1.epochs}")
        return "-".join((*named, f"seed{stage1.seed}", self.fingerprint(device)[:8]))

    def described(self) -> dict[str, Any]:
        """What a line says of it; lines of equal `setting` differ in learning rate, weight decay and seed alone."""
        task, stage1, images = self.task, self.stage1, self.load()
        setting = {
            "dataset": task.dataset, "data": images.fingerprint[:8], "images": len(images.train),
            "model": task.model, "epochs": stage1.epochs, "selection": task.selection,
            "val_per_class": task.val_per_class, "precision": stage1.precision, "loss": stage1.loss, "drw": stage1.drw,
            "classifier": stage1.classifier, "feature_regularization": stage1.feature_regularization,
        }  # fmt: skip
        return {
            "protocol": self.protocol, "lr": stage1.lr, "weight_decay": stage1.weight_decay, "seed": stage1.seed,
            "folder": None if task.data is None else Path(task.data).name, "setting": setting,
        }  # fmt: skip


@functools.lru_cache(maxsize=8)
def _load(config: TaskConfig) -> Task:
    """Kept for all protocols and selections of a campaign, since the name of each piece depends on the images."""
    return load_task(config)


def final_task(config: TaskConfig) -> Task:
    """The published long tail whole, as `paper_leak` has it, beside the validation images of `honest`.

    A few of those are among the training images here, and they choose nothing any more.
    """
    published = _load(dataclasses.replace(config, protocol="paper_leak"))
    honest = _load(config)
    train, val = published.train, honest.val
    if not (isinstance(train, MemorySplit) and isinstance(val, MemorySplit)):
        raise TypeError(f"these images must be small enough for memory, but they come as {type(train).__name__}")
    return dataclasses.replace(
        published,
        val=dataclasses.replace(val, normalization=train.normalization),
        fingerprint=hashlib.sha256(f"final {published.fingerprint} {honest.fingerprint}".encode()).hexdigest(),
        notes=(f"trained on all {len(train)} published images; nothing is selected any more",),
    )
