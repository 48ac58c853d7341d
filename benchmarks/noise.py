"""Random images in the shape of a task: time does not depend on what is in them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from trainers.augment import random_crop_flip


@dataclass(frozen=True)
class Noise:
    """A split of random images, as the trainers see one."""

    images: Tensor  # (N, 3, 32, 32) uint8
    labels: Tensor  # (N,)

    def __len__(self) -> int:
        return len(self.labels)

    def batches(
        self, order: Tensor | None, *, batch_size: int, device: torch.device, generator: torch.Generator | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Cropped and flipped when a generator is given, then normalised."""
        order = torch.arange(len(self)) if order is None else order
        for index in order.split(batch_size):
            images = self.images[index]
            if generator is not None:
                images = random_crop_flip(images, padding=4, flip=True, generator=generator)
            yield images.to(device).float().div_(255).sub_(0.5).div_(0.25), self.labels[index].to(device)


@dataclass(frozen=True)
class NoiseTask:
    """Just enough of a task."""

    train: Noise
    val: Noise
    channels: int = 3
    image_size: int = 32
    num_classes: int = 10

    @property
    def counts(self) -> tuple[int, ...]:
        """Training images a class."""
        return tuple(torch.bincount(self.train.labels, minlength=self.num_classes).tolist())


def noise_split(counts: list[int], generator: torch.Generator, *, size: int = 32) -> Noise:
    """A split with that many images a class."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    images = torch.randint(0, 256, (len(labels), 3, size, size), dtype=torch.uint8, generator=generator)
    return Noise(images, labels)


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
