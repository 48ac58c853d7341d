"""Training and validation images as one training split, for a final model after selection."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from trainers.data.images import Images
from trainers.data.pixel_scale import EIGHT_BITS, Content, PixelScale
from trainers.data.splits import MemorySplit, Split, StreamedSplit
from trainers.data.task import Task
from trainers.errors import DataError


def join_validation(task: Task) -> Task:
    """The same task, trained on training and validation images; validation figures are then meaningless.

    Pixels keep the normalisation of the training split. Raises DataError if validation is the test split.
    """
    if task.val is task.test:
        raise DataError(
            "validation is the test split under this protocol, so it cannot be trained on; take task.protocol=honest"
        )
    labels = torch.cat([task.train.labels, task.val.labels])
    return dataclasses.replace(
        task,
        train=_join_splits(task.train, task.val),
        counts=tuple(torch.bincount(labels, minlength=task.num_classes).tolist()),
        fingerprint=hashlib.sha256(f"train+val {task.fingerprint}".encode()).hexdigest(),
        notes=(*task.notes, f"trained on {len(task.train)} training and {len(task.val)} validation images"),
    )


def _join_splits(first: Split, second: Split) -> Split:
    labels = torch.cat([first.labels, second.labels])
    if isinstance(first, MemorySplit) and isinstance(second, MemorySplit):
        images = torch.cat([first.images, second.images])
        return MemorySplit(images, labels, first.normalization, first.augment)
    if isinstance(first, StreamedSplit) and isinstance(second, StreamedSplit):
        indices = np.concatenate([first.indices, second.indices + len(first.images)])
        return dataclasses.replace(
            first, images=_JoinedImages(first.images, second.images), indices=indices, labels=labels
        )
    raise TypeError(f"splits of two kinds cannot be joined: {type(first).__name__} and {type(second).__name__}")


@dataclass(frozen=True, eq=False)
class _JoinedImages:
    """Two sequences of images, concatenated."""

    first: Images
    second: Images

    @property
    def channels(self) -> int:
        return self.first.channels

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def name(self, index: int) -> str:
        images, place = self._at(index)
        return images.name(place)

    def size(self, index: int) -> tuple[int, int]:
        images, place = self._at(index)
        return images.size(place)

    def open(self, index: int, scale: PixelScale = EIGHT_BITS) -> Image.Image:
        images, place = self._at(index)
        return images.open(place, scale)

    def look(self, index: int) -> Content | None:
        images, place = self._at(index)
        return images.look(place)

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        return [images.digests([place])[0] for images, place in map(self._at, indices)]

    def _at(self, index: int) -> tuple[Images, int]:
        inside = index < len(self.first)
        return (self.first, index) if inside else (self.second, index - len(self.first))
