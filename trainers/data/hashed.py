"""Perceptual hashes of the images of a task: of all that are in memory, and of a sample of those that are streamed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from PIL import Image

from trainers.data.blocks import IntArray
from trainers.data.duplicates import distinct
from trainers.data.near_duplicates import PerceptualHashes, perceptual_hashes
from trainers.data.parts import Parts
from trainers.data.pool import SplitName
from trainers.data.splits import MemorySplit, Split

MOST_IMAGES = 2000  # of streamed splits
MOST_PIXELS = 2**30  # of these, as they are in their files: about ten seconds of decoding
LEAST_SIDE = 16  # smaller images have too few frequencies: of 1,797 digits of 8 x 8 pixels 40 pairs are near
_SIDE = 32


@dataclass(frozen=True, eq=False)
class Hashed:
    """Hashes of some images of a part."""

    rows: IntArray  # (n,) of the part
    hashes: PerceptualHashes


def hash_parts(parts: Parts, splits: Mapping[SplitName, Split]) -> tuple[dict[SplitName, Hashed], list[str]]:
    """The hashes of each split, none if its images are too small, and a note if they are of a sample."""
    held = distinct(parts)
    found: dict[SplitName, Hashed] = {}
    for name, part in held.items():
        split = splits[name]
        if not isinstance(split, MemorySplit):
            return _hash_sample(held)
        if split.images.shape[-1] >= LEAST_SIDE:
            found[name] = Hashed(np.arange(len(part)), perceptual_hashes(split.images.numpy()))
    return found, []


def _hash_sample(parts: Parts) -> tuple[dict[SplitName, Hashed], list[str]]:
    """Whole classes, because copies are mostly in one, from the rarest up, for which they matter most."""
    chosen, classes = _sample(parts)
    rows: dict[SplitName, list[int]] = defaultdict(list)
    thumbnails: dict[SplitName, list[Image.Image]] = defaultdict(list)
    for name, row, thumbnail in _decoded(parts, chosen):
        rows[name].append(row)
        thumbnails[name].append(thumbnail)
    hashed = {name: Hashed(np.array(rows[name]), perceptual_hashes(_stacked(thumbnails[name]))) for name in rows}
    done, total = sum(map(len, rows.values())), sum(map(len, parts.values()))
    of = f"the {classes} rarest classes" if classes else "the rarest class"
    return hashed, [
        f"look-alikes were searched among {done} of {total} images, of {of}: this data is not decoded at once"
    ]


def _sample(parts: Parts) -> tuple[list[tuple[SplitName, int]], int]:
    """The images of the rarest classes, and how many classes are whole; of a class that is too large, some."""
    members: dict[int, list[tuple[bytes, SplitName, int]]] = defaultdict(list)
    for name, part in parts.items():
        for row, (label, key) in enumerate(zip(part.labels.tolist(), part.keys, strict=True)):
            members[label].append((key, name, row))
    chosen: list[tuple[SplitName, int]] = []
    classes = 0
    for _, found in sorted(members.items(), key=lambda item: (len(item[1]), item[0])):
        if chosen and len(chosen) + len(found) > MOST_IMAGES:
            break
        classes += len(found) <= MOST_IMAGES
        chosen += [(name, row) for _, name, row in sorted(found)[:MOST_IMAGES]]
    return chosen, classes


def _decoded(parts: Parts, chosen: list[tuple[SplitName, int]]) -> Iterator[tuple[SplitName, int, Image.Image]]:
    pixels = 0
    for name, row in chosen:
        images, index = parts[name].images, int(parts[name].indices[row])
        width, height = images.size(index)
        pixels += width * height
        if pixels > MOST_PIXELS:
            return
        yield name, row, images.open(index).resize((_SIDE, _SIDE), Image.Resampling.BOX)


def _stacked(images: list[Image.Image]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """(N, C, 32, 32)."""
    arrays = np.stack([np.asarray(image).reshape(_SIDE, _SIDE, -1) for image in images])
    return np.ascontiguousarray(arrays.transpose(0, 3, 1, 2))
