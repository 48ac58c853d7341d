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
from trainers.data.bad_files import SeenImages, look_at_all
from trainers.data.blocks import make_blocks
from trainers.data.duplicates import pixel_ties, straddles
from trainers.data.groups import check_source_of_groups, with_groups
from trainers.data.holdout import holdout_notes, stratified_holdout
from trainers.data.images import pixels
from trainers.data.parts import Part, group_digest, part_of, whole_pool
from trainers.data.pixel_scale import EIGHT_BITS, PixelScale, asked_range
from trainers.data.pool import Normalization, Source, SplitName
from trainers.data.scaled_parts import streamed_notes, with_scale
from trainers.data.split_notes import leak_notes, split_notes
from trainers.data.splits import Augment, MemorySplit, Split, StreamedSplit, pixel_statistics
from trainers.data.table_columns import check_read
from trainers.errors import ConfigError, DataError
from trainers.long_tail import cut_pool

MEMORY_LIMIT = 2 * 1024**3  # bytes of uint8 pixels; larger sets are streamed
SMALL_SIZE = 64  # images of one common size up to this are not scaled
MOST_CUTS = 3  # a further one only if images of equal pixels, which decoding shows, are on both sides of the last
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
    pixel_scale: PixelScale = EIGHT_BITS  # of images of more than 8 bits

    @property
    def num_classes(self) -> int:
        """C."""
        return len(self.class_names)


class _UnseenError(Exception):
    """The images would be streamed, and were not decoded yet: a damaged one would end the training."""


def load_task(config: TaskConfig, scale: PixelScale | None = None) -> Task:
    """Reads, checks and cuts the data, and decodes it if it fits into memory; `scale` is that of a trained model.

    The same images give the same splits, order and fingerprint, whatever their format and file names. Raises
    DataError, or ConfigError if settings do not fit the data.
    """
    return task_of_source(read_source(config), config, scale)


def read_source(config: TaskConfig) -> Source:
    """Reads a whole data set. Raises DataError, or ConfigError for settings that it does not take."""
    _check_natural_lists(config)
    check_read(config)
    check_source_of_groups(config)
    asked_range(config.pixel_range)  # refuses nonsense also where no image needs it
    return with_groups(reader(config.dataset)(config), config)


def task_of_source(source: Source, config: TaskConfig, scale: PixelScale | None = None) -> Task:
    """The task of a source that is read already; raises like `load_task`."""
    found = _in_one_pass(source, config, scale)
    return found or _task_of(look_at_all(source, config), config, scale)


def _in_one_pass(source: Source, config: TaskConfig, scale: PixelScale | None) -> Task | None:
    """The task of a sound data set of 8 bits; None if each image must be looked at, which says what is wrong."""
    try:
        return _task_of(source, config, scale)
    except ConfigError:
        if not config.skip_bad:
            raise
        return None  # an image that will be left out may be the one of another size
    except (DataError, _UnseenError):
        return None


def _task_of(source: Source, config: TaskConfig, scale: PixelScale | None) -> Task:
    augment, cut = _augment(config, source), _cut_here(source, config)
    made = _cut_and_decoded(source, config, augment, scale)
    labels, groups = made.parts["train"].labels, group_digest(made.parts)
    description = {
        **({} if groups is None else {"groups": groups}),
        **({} if made.scale.as_ever else {"pixel_scale": made.scale.stored()}),
        "augment": augment,
        "channels": source.train.images.channels,
        "image_size": made.image_size,
        "normalization": made.normalization,
        "views": type(made.splits["train"]).__name__,
    }
    return Task(
        train=made.splits["train"],
        val=made.splits["val"],
        test=made.splits["test"],
        class_names=source.class_names,
        counts=tuple(np.bincount(labels, minlength=len(source.class_names)).tolist()),
        fingerprint=_fingerprint(made.parts, description),
        notes=(
            *(*source.notes, *made.notes, *split_notes(made.parts, source.class_names)),
            *leak_notes(made.parts, made.splits, source.class_names, content=made.ties, cut=cut),
        ),
        channels=source.train.images.channels,
        image_size=made.image_size,
        augment=augment,
        mean=made.normalization[0],
        std=made.normalization[1],
        pixel_scale=made.scale,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    """The three splits, before and after decoding."""

    parts: dict[SplitName, Part]
    splits: dict[SplitName, Split]
    normalization: Normalization
    image_size: int
    scale: PixelScale
    ties: Mapping[bytes, bytes]  # digests of images whose pixels are equal to one digest of theirs
    notes: tuple[str, ...]


def _cut_and_decoded(source: Source, config: TaskConfig, augment: Augment, scale: PixelScale | None) -> _Made:
    """Cuts and decodes; again if decoding shows equal pixels on both sides of the cut."""
    cut, ties = _cut_here(source, config), dict[bytes, bytes]()
    for _ in range(MOST_CUTS):
        parts, notes = _split_images(source, config, ties)
        parts, used, scale_notes = with_scale(parts, source.class_names, config, scale)
        image_size, size_notes = _image_size(config, list(parts.values()))
        splits, normalization = _splits(parts, source, config, augment, image_size)
        known, ties = ties, {**ties, **pixel_ties(parts, splits)}
        if ties == known or not straddles(parts, ties, cut=cut):
            break
    seen = streamed_notes(parts) if isinstance(splits["train"], StreamedSplit) else ()
    return _Made(
        parts=parts,
        splits=splits,
        normalization=normalization,
        image_size=image_size,
        scale=used,
        ties=ties,
        notes=(*notes, *scale_notes, *size_notes, *seen),
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


def _cut_here(source: Source, config: TaskConfig) -> set[SplitName]:
    """The splits that are cut from the training pool by content, not given."""
    given = {"val": source.val is not None or config.protocol == "paper_leak", "test": source.test is not None}
    names: tuple[SplitName, ...] = ("val", "test")
    return {name for name in names if not given[name]}


def _split_images(
    source: Source, config: TaskConfig, ties: Mapping[bytes, bytes]
) -> tuple[dict[SplitName, Part], list[str]]:
    """Split membership, by content; `ties` maps digests of images whose pixels are equal to one of the pixels."""
    pool, num_classes, notes = source.train, len(source.class_names), list[str]()
    by_content = bool(_cut_here(source, config)) or config.imbalance_factor is None
    keys = pool.images.digests(range(len(pool))) if by_content else None
    blocks = None if keys is None else make_blocks(pool.labels, [ties.get(key, key) for key in keys], pool.groups)
    rest, test = np.arange(len(pool)), None if source.test is None else whole_pool(source.test)
    if test is None:
        held = stratified_holdout(
            pool.labels, num_classes, limit=None, seed=config.split_seed, keys=keys, blocks=blocks
        )
        rest, test = np.delete(rest, held), part_of(pool, held, keys)
        notes.append(f"test: no test split was given, so {len(held)} images (a fifth of each class) were set aside")
        notes += holdout_notes("test", pool.labels, held, limit=None, blocks=blocks, names=source.class_names)
    cut = cut_pool(
        pool.labels[rest],
        config,
        class_names=source.class_names,
        own_val=source.val is not None,
        max_count=source.max_count,
        rank=None if pool.rank is None else pool.rank[rest],
        keys=None if keys is None else [keys[i] for i in rest.tolist()],
        blocks=None if blocks is None else blocks.take(rest),
    )
    notes += cut.notes
    val = part_of(pool, rest[cut.val], keys) if source.val is None else whole_pool(source.val)
    if config.protocol == "paper_leak":
        val = test
        notes.append("protocol paper_leak: selection is on the TEST split, so these figures are optimistic")
    return {"train": part_of(pool, rest[cut.train], keys), "val": val, "test": test}, notes


def _augment(config: TaskConfig, source: Source) -> Augment:
    if config.augment == "crop_flip" and config.dataset == "digits-lt":
        raise ConfigError("task.augment: a mirrored digit is another digit or none: crop_flip is not allowed; use crop")
    if config.augment != "auto":
        return config.augment
    return "crop_flip" if source.natural and source.train.images.channels == 3 else "crop"


def _image_size(config: TaskConfig, parts: Sequence[Part]) -> tuple[int, tuple[str, ...]]:
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


def _large_size(parts: Sequence[Part]) -> tuple[int, tuple[str, ...]]:
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
    parts: dict[SplitName, Part], source: Source, config: TaskConfig, augment: Augment, image_size: int
) -> tuple[dict[SplitName, Split], Normalization]:
    """The splits, in memory if they fit, else streamed; and the normalisation of their pixels."""
    channels = source.train.images.channels
    normalization = IMAGENET_NORMALIZATION if config.pretrained and channels == 3 else source.normalization
    total = sum(len(part.indices) for part in parts.values()) * channels * image_size**2
    make: Callable[[Part], Split]
    if total > MEMORY_LIMIT:
        if not isinstance(parts["train"].images, SeenImages):
            raise _UnseenError
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


def _memory_split(part: Part, *, image_size: int, normalization: Normalization, augment: Augment) -> Split:
    stored = pixels(part.images, part.indices.tolist(), image_size)
    return MemorySplit(stored, torch.from_numpy(part.labels), normalization, augment)


def _streamed_split(part: Part, *, image_size: int, normalization: Normalization, augment: Augment) -> Split:
    return StreamedSplit(
        images=part.images,
        indices=part.indices,
        labels=torch.from_numpy(part.labels),
        image_size=image_size,
        normalization=normalization,
        augment=augment,
    )


def _fingerprint(parts: dict[SplitName, Part], description: Mapping[str, object]) -> str:
    found = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, part in sorted(parts.items()):
        found.update(f"{name} {len(part.keys)}".encode())
        for label, key in zip(part.labels.tolist(), part.keys, strict=True):
            found.update(label.to_bytes(8, "little") + key)
    return found.hexdigest()
