"""From a TaskConfig to trainable images: source, long-tailed cut, validation, fingerprint."""

from __future__ import annotations

import functools
import hashlib
import json
import pkgutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from trainers.config import READERS, DatasetName, TaskConfig
from trainers.data.images import Images, pixels
from trainers.data.pool import Normalization, Pool, Source, SplitName
from trainers.data.splits import Augment, MemorySplit, Split, StreamedSplit, pixel_statistics
from trainers.errors import ConfigError
from trainers.long_tail import IntArray, cut_pool, stratified_holdout

MEMORY_LIMIT = 2 * 1024**3  # bytes of uint8 pixels; larger sets are streamed
SMALL_SIZE = 64  # images of one common size up to this are not scaled
LARGE_SIZE = 224  # the default size of photographs
IMAGENET_NORMALIZATION = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # for torchvision's pretrained weights
GREY_NORMALIZATION = ((0.5,), (0.25,))  # for streamed grey images: computing statistics would cost a pass over them


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """Three splits and their description."""

    train: Split
    val: Split
    test: Split
    class_names: tuple[str, ...]
    counts: tuple[int, ...]  # (C,) training images used per class
    fingerprint: str  # of images, labels, split membership and views; not of paths or names
    notes: tuple[str, ...]
    channels: int
    image_size: int
    augment: Augment
    mean: tuple[float, ...]  # per channel, of [0, 1]
    std: tuple[float, ...]

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """The images of one split, in an order that depends only on content."""

    images: Images
    indices: IntArray  # (N,) into `images`
    labels: IntArray  # (N,)
    keys: tuple[bytes, ...]  # (N,)


def load_task(config: TaskConfig) -> Task:
    """Reads, checks and cuts the data, and decodes it if it fits into memory.

    The same images give the same splits, order and fingerprint, whatever their format and file names. Raises
    DataError, or ConfigError if settings do not fit the data.
    """
    return task_of_source(read_source(config), config)


def read_source(config: TaskConfig) -> Source:
    """Reads a whole data set. Raises DataError, or ConfigError for settings that it does not take."""
    _check_natural_lists(config)
    return reader(config.dataset)(config)


def task_of_source(source: Source, config: TaskConfig) -> Task:
    """The task of a source that is read already; raises like `load_task`."""
    parts, notes = _split_images(source, config)
    augment = _augment(config, source)
    image_size, size_notes = _image_size(config, list(parts.values()))
    splits, normalization = _splits(parts, source, config, augment, image_size)
    labels = parts["train"].labels
    description = {
        "augment": augment,
        "channels": source.train.images.channels,
        "image_size": image_size,
        "normalization": normalization,
        "views": type(splits["train"]).__name__,
    }
    return Task(
        train=splits["train"],
        val=splits["val"],
        test=splits["test"],
        class_names=source.class_names,
        counts=tuple(np.bincount(labels, minlength=len(source.class_names)).tolist()),
        fingerprint=_fingerprint(parts, description),
        notes=(*source.notes, *notes, *size_notes, *split_notes(parts, source.class_names)),
        channels=source.train.images.channels,
        image_size=image_size,
        augment=augment,
        mean=normalization[0],
        std=normalization[1],
    )


def reader(dataset: DatasetName) -> Callable[[TaskConfig], Source]:
    """The function that reads a data source, by its name in the catalogue; its file is imported when asked for."""
    found: Callable[[TaskConfig], Source] = pkgutil.resolve_name(f"trainers.data.{READERS[dataset]}")
    return found


def _check_natural_lists(config: TaskConfig) -> None:
    if config.dataset in ("imagenet-lt", "places-lt", "inaturalist18") and config.imbalance_factor is not None:
        raise ConfigError(
            f"task.imbalance_factor: {config.dataset} is long-tailed as it is, but got {config.imbalance_factor:g}; "
            "set it to none"
        )


def _split_images(source: Source, config: TaskConfig) -> tuple[dict[SplitName, _Part], list[str]]:
    """Split membership, by content."""
    pool, num_classes, notes = source.train, len(source.class_names), list[str]()
    by_content = source.test is None or config.imbalance_factor is None
    keys = pool.images.digests(range(len(pool))) if by_content else None
    rest, test = np.arange(len(pool)), None if source.test is None else _whole_pool(source.test)
    if test is None:
        held = stratified_holdout(pool.labels, num_classes, limit=None, seed=config.split_seed, keys=keys)
        rest, test = np.delete(rest, held), _part_of(pool, held, keys)
        notes.append(f"test: no test split was given, so {len(held)} images (a fifth of each class) were set aside")
    cut = cut_pool(
        pool.labels[rest],
        config,
        class_names=source.class_names,
        own_val=source.val is not None,
        max_count=source.max_count,
        rank=None if pool.rank is None else pool.rank[rest],
        keys=None if keys is None else [keys[i] for i in rest.tolist()],
    )
    notes += cut.notes
    val = _part_of(pool, rest[cut.val], keys) if source.val is None else _whole_pool(source.val)
    if config.protocol == "paper_leak":
        val = test
        notes.append("protocol paper_leak: selection is on the TEST split, so these figures are optimistic")
    return {"train": _part_of(pool, rest[cut.train], keys), "val": val, "test": test}, notes


def _whole_pool(pool: Pool) -> _Part:
    return _part_of(pool, np.arange(len(pool)), None)


def _part_of(pool: Pool, indices: IntArray, keys: Sequence[bytes] | None) -> _Part:
    chosen = indices.tolist()
    found = pool.images.digests(chosen) if keys is None else [keys[i] for i in chosen]
    order = sorted(range(len(chosen)), key=lambda row: (int(pool.labels[chosen[row]]), found[row]))
    ordered = indices[np.array(order, dtype=np.int64)]
    return _Part(
        images=pool.images, indices=ordered, labels=pool.labels[ordered], keys=tuple(found[row] for row in order)
    )


def _augment(config: TaskConfig, source: Source) -> Augment:
    if config.augment == "crop_flip" and config.dataset == "digits-lt":
        raise ConfigError("task.augment: a mirrored digit is another digit or none: crop_flip is not allowed; use crop")
    if config.augment != "auto":
        return config.augment
    return "crop_flip" if source.natural and source.train.images.channels == 3 else "crop"


def _image_size(config: TaskConfig, parts: Sequence[_Part]) -> tuple[int, tuple[str, ...]]:
    """The side of scaled images: the configured one, the common one of small images, or 224 for photographs."""
    if config.image_size is not None:
        return config.image_size, ()
    sizes = set()
    for part in parts:
        for index in part.indices.tolist():
            sizes.add(part.images.size(index))
            if len(sizes) > 1 or max(map(max, sizes)) > SMALL_SIZE:
                return _large_size(parts)
    (width, height), *_ = sizes
    return (width, ()) if width == height else _large_size(parts)


def _large_size(parts: Sequence[_Part]) -> tuple[int, tuple[str, ...]]:
    seen = [part.images.size(index) for part in parts for index in part.indices[:: max(1, len(part.indices) // 50)]]
    smallest = min(min(size) for size in seen)
    if smallest >= LARGE_SIZE * 4 // 7:  # smaller images would be enlarged too far
        return LARGE_SIZE, (f"images are scaled to {LARGE_SIZE}x{LARGE_SIZE} (task.image_size)",)
    shown = " and ".join(f"{width}x{height}" for width, height in sorted(set(seen))[:2])
    raise ConfigError(
        f"task.image_size: images are not of one small square size ({shown}), so it must be given, e.g. "
        f"task.image_size={smallest}"
    )


def _splits(
    parts: dict[SplitName, _Part], source: Source, config: TaskConfig, augment: Augment, image_size: int
) -> tuple[dict[SplitName, Split], Normalization]:
    """The splits, in memory if they fit, else streamed; and the normalisation of their pixels."""
    channels = source.train.images.channels
    normalization = IMAGENET_NORMALIZATION if config.pretrained and channels == 3 else source.normalization
    total = sum(len(part.indices) for part in parts.values()) * channels * image_size**2
    make: Callable[[_Part], Split]
    if total > MEMORY_LIMIT:
        normalization = normalization or (IMAGENET_NORMALIZATION if channels == 3 else GREY_NORMALIZATION)
        make = functools.partial(_streamed_split, image_size=image_size, normalization=normalization, augment=augment)
        train = make(parts["train"])
    else:
        stored = pixels(parts["train"].images, parts["train"].indices.tolist(), image_size)
        normalization = normalization or pixel_statistics(stored)
        make = functools.partial(_memory_split, image_size=image_size, normalization=normalization, augment=augment)
        train = MemorySplit(stored, torch.from_numpy(parts["train"].labels), normalization, augment)
    test = make(parts["test"])
    val = test if parts["val"] is parts["test"] else make(parts["val"])
    return {"train": train, "val": val, "test": test}, normalization


def _memory_split(part: _Part, *, image_size: int, normalization: Normalization, augment: Augment) -> Split:
    stored = pixels(part.images, part.indices.tolist(), image_size)
    return MemorySplit(stored, torch.from_numpy(part.labels), normalization, augment)


def _streamed_split(part: _Part, *, image_size: int, normalization: Normalization, augment: Augment) -> Split:
    return StreamedSplit(
        images=part.images,
        indices=part.indices,
        labels=torch.from_numpy(part.labels),
        image_size=image_size,
        normalization=normalization,
        augment=augment,
    )


def split_notes(parts: dict[SplitName, _Part], class_names: Sequence[str]) -> list[str]:
    """Notes for readers: classes missing from a split, and images in two splits."""
    notes = []
    for name in ("val", "test"):
        part = parts["val"] if name == "val" else parts["test"]
        counts = np.bincount(part.labels, minlength=len(class_names))
        lacking = [class_name for class_name, n in zip(class_names, counts, strict=True) if n == 0]
        if lacking:
            notes.append(
                f"{name}: {len(lacking)} of {len(class_names)} classes have no images: {', '.join(lacking[:5])}"
            )
        shared = len(set(part.keys) & set(parts["train"].keys))
        if shared:
            notes.append(f"{name}: {shared} images are in the training images too")
    shared = len(set(parts["val"].keys) & set(parts["test"].keys))
    if shared and parts["val"] is not parts["test"]:  # under paper_leak they are the same, which has a note of its own
        notes.append(f"test: {shared} images are in the validation images too, by which the choice is made")
    return notes


def _fingerprint(parts: dict[SplitName, _Part], description: Mapping[str, object]) -> str:
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, part in sorted(parts.items()):
        found.update(f"{name} {len(part.keys)}".encode())
        for label, key in zip(part.labels.tolist(), part.keys, strict=True):
            found.update(label.to_bytes(8, "little") + key)
    return found.hexdigest()
