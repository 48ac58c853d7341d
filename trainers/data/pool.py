"""The result of a source: images with checked labels for each of its splits, and class names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from trainers.config import TaskConfig
from trainers.data.images import Images
from trainers.errors import DataError
from trainers.long_tail import IntArray

SplitName = Literal["train", "val", "test"]
Normalization = tuple[tuple[float, ...], tuple[float, ...]]  # mean and standard deviation per channel, of [0, 1]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Images and their labels."""

    images: Images
    labels: IntArray  # (N,), in [0, C)
    rank: IntArray | None = None  # (N,) position in the class's published draw, if the pool is part of a larger one
    groups: Sequence[object] | None = None  # (N,) of the column task.group, None where it is empty

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True, eq=False)
class RawPool:
    """Images and their labels as found: integers or text."""

    images: Images
    labels: Sequence[object]
    rank: IntArray | None = None
    groups: Sequence[object] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Source:
    """A whole data set. `val` and `test` are None if they must be cut from `train`."""

    train: Pool
    val: Pool | None
    test: Pool | None
    class_names: tuple[str, ...]
    natural: bool = True  # photographs, which may be mirrored
    max_count: int | None = None  # the customary size of the largest class, if below the pool's
    normalization: Normalization | None = None  # None: computed from the training images
    notes: tuple[str, ...] = ()


def build_source(
    pools: Mapping[SplitName, RawPool],
    class_names: Sequence[str] | None,
    *,
    normalization: Normalization | None = None,
    notes: tuple[str, ...] = (),
) -> Source:
    """Checks and numbers the labels. Text labels are numbered in alphabetical order unless `class_names` orders them.

    Raises DataError for a label that is missing, negative or no class, and for a class without training images.
    """
    for pool in pools.values():
        _check_kind(pool)
    if isinstance(pools["train"].labels[0], str):
        names = tuple(class_names or sorted({str(label) for label in pools["train"].labels}))
        labels = {split: _number_text(pool, names) for split, pool in pools.items()}
    else:
        labels = {split: _number_int(pool, class_names) for split, pool in pools.items()}
        highest = _highest(pools, labels)
        names = tuple(class_names or map(str, range(highest + 1)))
    _check_classes(labels["train"], names)
    checked = {
        split: Pool(images=pool.images, labels=labels[split], rank=pool.rank, groups=pool.groups)
        for split, pool in pools.items()
        if len(pool.labels)
    }
    return Source(
        train=checked["train"],
        val=checked.get("val"),
        test=checked.get("test"),
        class_names=names,
        normalization=normalization,
        notes=notes,
    )


def _check_kind(pool: RawPool) -> None:
    """Raises DataError unless all labels are integers or all are text."""
    for index, label in enumerate(pool.labels):
        if isinstance(label, bool) or not isinstance(label, (int, np.integer, str)):
            shown = "missing" if label is None else repr(label)
            raise DataError(f"{pool.images.name(index)}: a label is a class number or text, but this one is {shown}")
        if isinstance(label, str) != isinstance(pool.labels[0], str):
            raise DataError(f"{pool.images.name(index)}: label {label!r} is mixed with labels of another kind")


def _number_text(pool: RawPool, names: tuple[str, ...]) -> IntArray:
    number = {name: k for k, name in enumerate(names)}
    for index, label in enumerate(pool.labels):
        if label not in number:
            alike = [name for name in names if name.casefold() == str(label).casefold()]
            mend = f"call it {alike[0]!r}" if alike else "add images of it to training"
            raise DataError(
                f"{pool.images.name(index)}: class {label!r} has no training images; the classes are "
                f"{_shortened(names)}; {mend}, or leave it out"
            )
    return np.array([number[str(label)] for label in pool.labels], dtype=np.int64)


def _number_int(pool: RawPool, names: Sequence[str] | None) -> IntArray:
    limit = None if names is None else len(names)
    for index, label in enumerate(pool.labels):
        if not isinstance(label, (int, np.integer)):
            raise DataError(f"{pool.images.name(index)}: label {label!r} is text, but the training labels are numbers")
        if label < 0 or (limit is not None and label >= limit):
            allowed = "0 or more" if limit is None else f"in [0, {limit - 1}] ({limit} class names)"
            raise DataError(f"{pool.images.name(index)}: a label must be {allowed}, but got {label}")
        if label >= np.iinfo(np.int64).max:
            raise DataError(f"{pool.images.name(index)}: label {label} is no class number")
    return np.array(pool.labels, dtype=np.int64)


def _highest(pools: Mapping[SplitName, RawPool], labels: Mapping[SplitName, IntArray]) -> int:
    """The highest label. Raises DataError if nearly all classes below it are empty: then it is probably a mistake."""
    split: SplitName = max(labels, key=lambda name: int(labels[name].max(initial=0)))
    at = int(labels[split].argmax())
    highest, distinct = int(labels[split][at]), len(np.unique(labels["train"]))
    if highest + 1 > 2 * distinct + 1000:
        raise DataError(
            f"{pools[split].images.name(at)}: label {highest} with only {distinct} different training labels; number "
            "the classes from 0 without gaps, or give labels as text"
        )
    return highest


def _check_classes(labels: IntArray, names: tuple[str, ...]) -> None:
    if len(names) < 2:
        raise DataError(f"at least 2 classes are needed, but there is only {_shortened(names)}")
    empty = [name for name, n in zip(names, np.bincount(labels, minlength=len(names)), strict=True) if n == 0]
    if empty:
        raise DataError(
            f"{len(empty)} of {len(names)} classes have no training images: {_shortened(empty)}; add images or leave "
            "these classes out"
        )


def _shortened(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more


def data_path(task: TaskConfig) -> Path:
    """The path of the user's data. Raises DataError when it is not given or does not exist."""
    if task.data is None:
        raise DataError(f"{task.dataset} needs its images: give their folder with --data DIR (task.data=DIR)")
    path = Path(task.data).expanduser()
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder; give the right one with --data DIR (task.data=DIR)")
    return path
