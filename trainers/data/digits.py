"""Handwritten digits from scikit-learn: 1,797 real 8x8 scans of ten classes, about 180 of each."""

from __future__ import annotations

import numpy as np

from trainers.config import TaskConfig
from trainers.data.images import ArrayImages
from trainers.data.pool import Pool, Source
from trainers.errors import ConfigError
from trainers.long_tail import IntArray, set_aside

TEST_PER_CLASS = 40
MAX_COUNT = 100
_SMALLEST_CLASS = 174  # images of the smallest class


def read_digits(task: TaskConfig) -> Source:
    """The digits as uint8 (N, 1, 8, 8); test and validation images are set aside first, by `task.split_seed`."""
    most = _SMALLEST_CLASS - TEST_PER_CLASS - MAX_COUNT
    if not 1 <= task.val_per_class <= most:
        raise ConfigError(
            f"task.val_per_class: digits-lt can set aside 1 to {most} images per class, but got {task.val_per_class}"
        )
    if task.data is not None:
        raise ConfigError(
            f"task.data: digits-lt comes with the package and reads no data, but got {task.data}; say what it holds "
            "with --dataset, such as image-folder"
        )
    from sklearn.datasets import load_digits  # noqa: PLC0415  (not needed for other data)

    digits = load_digits()
    scanned = np.rint(digits.images * (255 / 16)).astype(np.uint8)[:, None]  # (N, 1, 8, 8), from 0..16
    labels = digits.target.astype(np.int64)
    test, val, train = set_aside(labels, 10, per_class=(TEST_PER_CLASS, task.val_per_class), seed=task.split_seed)

    def part(indices: IntArray) -> Pool:
        return Pool(images=ArrayImages(scanned[indices], "digits"), labels=labels[indices])

    return Source(
        train=part(train),
        val=part(val),
        test=part(test),
        class_names=tuple(map(str, range(10))),
        natural=False,
        max_count=MAX_COUNT,
        notes=(f"{TEST_PER_CLASS} test and {task.val_per_class} validation images per class were set aside first",),
    )
