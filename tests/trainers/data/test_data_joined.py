"""Training and validation images as one split, from memory and streamed."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from trainers.config import TaskConfig
from trainers.data.images import ArrayImages
from trainers.data.joined import join_validation
from trainers.data.splits import StreamedSplit
from trainers.data.task import Task, load_task
from trainers.errors import DataError


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskConfig())


def streamed(task: Task, name: str) -> StreamedSplit:
    """The same images, decoded on the way, in another place of their pool."""
    split = getattr(task, name)
    pool = ArrayImages(split.images.numpy()[::-1].copy(), name)
    return StreamedSplit(
        images=pool,
        indices=np.arange(len(split))[::-1].copy(),
        labels=split.labels,
        image_size=8,
        normalization=split.normalization,
        augment="none",
        workers=0,
    )


def test_nothing_is_lost_or_doubled(task: Task) -> None:
    joined = join_validation(task)
    assert len(joined.train) == len(task.train) + len(task.val)
    assert joined.train.labels.bincount().tolist() == list(joined.counts)
    assert joined.counts == tuple(n + 20 for n in task.counts)
    assert joined.test is task.test
    assert joined.fingerprint != task.fingerprint
    assert join_validation(task).fingerprint == joined.fingerprint
    images = [x for split in (task.train, task.val) for x in split.images]
    assert torch.equal(joined.train.images, torch.stack(images))


def test_streamed_splits_join_to_the_same_images(task: Task) -> None:
    lazy = dataclasses.replace(task, train=streamed(task, "train"), val=streamed(task, "val"))
    joined, device = join_validation(lazy).train, torch.device("cpu")
    order = torch.tensor([0, len(task.train) - 1, len(task.train), len(joined) - 1])
    (batch,) = [images for images, _ in joined.batches(order, batch_size=8, device=device, generator=None)]
    parts = [streamed(task, name) for name in ("train", "val")]
    wanted = [
        images
        for split in parts
        for images, _ in split.batches(torch.tensor([0, len(split) - 1]), batch_size=8, device=device, generator=None)
    ]
    assert torch.equal(batch, torch.cat(wanted))


def test_test_images_are_never_trained_on(task: Task) -> None:
    with pytest.raises(DataError, match=r"task\.protocol=honest"):
        join_validation(dataclasses.replace(task, val=task.test))
