"""Random images in the trainers' own split and task: time does not depend on what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from trainers.data.splits import MemorySplit
from trainers.data.task import Task

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


@dataclass(frozen=True)
class Noise:
    """Three splits of random images."""

    train: MemorySplit
    val: MemorySplit
    test: MemorySplit

    @classmethod
    def draw(cls, counts: Sequence[int], *, val: int, test: int, seed: int = 0, size: int = 32) -> Noise:
        """`counts` training images a class, and `val` and `test` of each."""
        generator = torch.Generator().manual_seed(seed)
        by_class = (counts, [val] * len(counts), [test] * len(counts))
        return cls(*(noise_split(part, generator, size=size) for part in by_class))

    @property
    def task(self) -> Task:
        """As the trainers load one."""
        counts = tuple(torch.bincount(self.train.labels).tolist())
        return Task(
            train=self.train, val=self.val, test=self.test, class_names=tuple(map(str, range(len(counts)))),
            counts=counts, fingerprint=f"noise {counts}", notes=(), channels=3,
            image_size=self.train.images.shape[-1], augment="crop_flip", mean=MEAN, std=STD,
        )  # fmt: skip


def noise_split(counts: Sequence[int], generator: torch.Generator, *, size: int = 32) -> MemorySplit:
    """A split with that many images a class, cropped and mirrored like CIFAR's."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.randint(0, 256, (len(labels), 3, size, size), dtype=torch.uint8, generator=generator)
    return MemorySplit(images, labels, (MEAN, STD), "crop_flip")
