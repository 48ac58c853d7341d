"""Images of equal pixels in files of other bytes (re-encoded without loss), found where images are decoded anyway."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Mapping

from trainers.data.parts import Part, Parts
from trainers.data.pool import SplitName
from trainers.data.splits import MemorySplit, Split

Content = Mapping[bytes, bytes]  # from the digest of a file to that of its pixels, where other files have the same


def pixel_ties(parts: Parts, splits: Mapping[SplitName, Split]) -> dict[bytes, bytes]:
    """The images whose decoded pixels are those of an image of other bytes.

    Flat images are left out: they hold nothing by which they would be the same image. Streamed splits are, too.
    """
    files: dict[bytes, set[bytes]] = defaultdict(set)
    for name, part in distinct(parts).items():
        split = splits[name]
        if isinstance(split, MemorySplit):
            for key, pixels in zip(part.keys, split.images.flatten(1).numpy(), strict=True):
                if pixels.min() != pixels.max():
                    files[hashlib.sha256(pixels).digest()].add(key)
    return {key: pixels for pixels, keys in files.items() if len(keys) > 1 for key in keys}


def straddles(parts: Parts, ties: Content, *, cut: Collection[SplitName]) -> bool:
    """True if equal pixels are on both sides of the cut that made the splits `cut`, or held out under two labels."""
    seen: dict[bytes, set[tuple[SplitName, int]]] = defaultdict(set)
    for name, part in parts.items():
        if name == "train" or name in cut:
            for key, label in zip(part.keys, part.labels.tolist(), strict=True):
                if key in ties:
                    seen[ties[key]].add((name, label))
    return any(len(places) > 1 and {name for name, _ in places} != {"train"} for places in seen.values())


def distinct(parts: Parts) -> dict[SplitName, Part]:
    """The parts without validation where validation is the test split."""
    return {name: part for name, part in parts.items() if name != "val" or part is not parts["test"]}
