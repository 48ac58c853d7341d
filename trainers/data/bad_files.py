"""A look at every image of a data set: those that cannot be decoded are listed at once, or left out on request."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from trainers.config import TaskConfig
from trainers.data.blocks import IntArray
from trainers.data.decoding import MISSING
from trainers.data.images import Images
from trainers.data.pixel_scale import EIGHT_BITS, Content, PixelScale
from trainers.data.pool import Pool, Source, SplitName
from trainers.data.threads import in_threads
from trainers.errors import BadImageError, DataError

_NAMED = 20  # bad files; the others are counted
_NUMBER = re.compile(r"\d[\d,.]*")
_WAY_OUT = "replace or remove them, or leave them out with task.skip_bad=true"
_RESTORE = "restore the missing ones, or say where they are (--data DIR; of a list or table, task.image_root=DIR); "


@dataclass(frozen=True, eq=False)
class SeenImages:
    """Images that were all decoded once, without those that cannot be; deep values become bytes by `scale`."""

    images: Images
    kept: IntArray  # (N,) into `images`
    deep: Mapping[int, Content]  # by place in `images`; the others have 8 bits
    scale: PixelScale = EIGHT_BITS

    @property
    def channels(self) -> int:
        """1 or 3."""
        return self.images.channels

    def __len__(self) -> int:
        return len(self.kept)

    def name(self, index: int) -> str:
        """Of the image as it lies in its file."""
        return self.images.name(int(self.kept[index]))

    def size(self, index: int) -> tuple[int, int]:
        """Width and height. Raises DataError."""
        return self.images.size(int(self.kept[index]))

    def open(self, index: int, scale: PixelScale = EIGHT_BITS) -> Image.Image:
        """Decodes by the scale of the data set. Raises DataError."""
        return self.images.open(int(self.kept[index]), self.scale)

    def look(self, index: int) -> Content | None:
        """What was seen."""
        return self.deep.get(int(self.kept[index]))

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Of the images as they are stored."""
        return self.images.digests(self.kept[np.asarray(indices, dtype=np.int64)].tolist())


@dataclass(frozen=True, eq=False)
class _Found:
    """A pool, what was seen in it, and what cannot be decoded."""

    pool: Pool
    deep: dict[int, Content]
    bad: dict[int, BadImageError]

    @property
    def kept(self) -> IntArray:
        return np.delete(np.arange(len(self.pool)), list(self.bad))

    def sound(self) -> Pool:
        pool, kept = self.pool, self.kept
        return Pool(
            images=SeenImages(pool.images, kept, self.deep),
            labels=pool.labels[kept],
            rank=None if pool.rank is None else pool.rank[kept],
            groups=None if pool.groups is None else [pool.groups[index] for index in kept.tolist()],
        )


def look_at_all(source: Source, config: TaskConfig) -> Source:
    """The same source, of `SeenImages`, without the images that cannot be decoded, which its notes then count and name.

    Raises DataError that lists them unless `task.skip_bad`, and for a class that would lose all its images.
    """
    pools: dict[SplitName, Pool | None] = {"train": source.train, "val": source.val, "test": source.test}
    found = {split: _look(pool) for split, pool in pools.items() if pool is not None}
    if any(each.bad for each in found.values()) and not config.skip_bad:
        raise DataError(_refusal(list(found.values()), config))
    for split, each in found.items():
        _check_classes(each, split, source.class_names)
    sound = {split: each.sound() for split, each in found.items()}
    notes = [note for split, each in found.items() for note in _notes(each, split, source, config)]
    return dataclasses.replace(
        source, train=sound["train"], val=sound.get("val"), test=sound.get("test"), notes=(*source.notes, *notes)
    )


def _look(pool: Pool) -> _Found:
    def seen(index: int) -> Content | BadImageError | None:
        try:
            return pool.images.look(index)
        except BadImageError as error:
            return error

    found = _Found(pool, {}, {})
    for index, outcome in enumerate(in_threads(seen, range(len(pool)))):
        if isinstance(outcome, BadImageError):
            found.bad[index] = outcome
        elif outcome is not None:
            found.deep[index] = outcome
    return found


def _refusal(found: Sequence[_Found], config: TaskConfig) -> str:
    bad = [error for each in found for error in each.bad.values()]
    if len(bad) == 1:
        return f"{bad[0]}, or set task.skip_bad=true"
    images = sum(len(each.pool) for each in found)
    restore = _RESTORE if any(_kind(error) == MISSING for error in bad) else ""
    return (
        f"{config.data}: {len(bad)} of {images} images cannot be decoded: {_listed(bad, config)}; {restore}{_WAY_OUT}"
    )


def _kind(error: BadImageError) -> str:
    """The reason without its numbers, so that equal accidents are counted together."""
    return _NUMBER.sub("…", error.reason)


def _listed(bad: Sequence[BadImageError], config: TaskConfig) -> str:
    """Reasons, the most frequent first, each with its count and names; at most `_NAMED` names in all."""
    left, parts = _NAMED, list[str]()
    for kind, count in Counter(map(_kind, bad)).most_common():
        same = [error for error in bad if _kind(error) == kind]
        names = [_short_name(str(error.args[0]), config) for error in same[: max(left, 0)]]
        left -= len(names)
        more = f" and {count - len(names)} more" if names and count > len(names) else ""
        reason = same[0].reason if count == 1 else kind
        parts.append(f"{reason} ({count}{': ' if names else ''}{', '.join(names)}{more})")
    return "; ".join(parts)


def _short_name(name: str, config: TaskConfig) -> str:
    """The name below the data's folder, or of a row in its file."""
    root = Path(config.data or "").expanduser()
    for folder in (root, root.parent):
        if name.startswith(f"{folder}/"):
            return name.removeprefix(f"{folder}/")
    return name


def _check_classes(found: _Found, split: SplitName, class_names: Sequence[str]) -> None:
    before = np.bincount(found.pool.labels, minlength=len(class_names))
    after = np.bincount(found.pool.labels[found.kept], minlength=len(class_names))
    for label in np.flatnonzero((before > 0) & (after == 0)).tolist():
        raise DataError(
            f"{split}: class {class_names[label]!r} would lose all its images ({before[label]}), because none can be "
            "decoded and task.skip_bad=true leaves them out; replace them, or remove the class"
        )


def _notes(found: _Found, split: SplitName, source: Source, config: TaskConfig) -> Iterator[str]:
    if not found.bad:
        return
    bad, images = list(found.bad.values()), len(found.pool)
    labels = Counter(found.pool.labels[list(found.bad)].tolist())
    classes = ", ".join(f"{source.class_names[label]} {count}" for label, count in labels.most_common(5))
    more = f" and {len(labels) - 5} more" if len(labels) > 5 else ""
    what = "test" if split == "test" else "validation" if split == "val" else "training"
    said = (
        f"{len(bad)} of {images} {what} images cannot be decoded and are left out (task.skip_bad); by class: "
        f"{classes}{more}; {_listed(bad, config)}"
    )
    if split == "test":
        said = f"TEST FIGURES ARE OVER FEWER IMAGES, {images - len(bad)} instead of {images}: {said}"
    yield said
