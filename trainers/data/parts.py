"""The images of a split before they are decoded, in an order that depends on content alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trainers.data.blocks import IntArray
from trainers.data.images import Images
from trainers.data.pool import Pool, SplitName


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """The images of one split, in an order that depends only on content."""

    images: Images
    indices: IntArray  # (N,) into `images`
    labels: IntArray  # (N,)
    keys: tuple[bytes, ...]  # (N,)
    groups: tuple[str, ...] | None = None  # (N,)

    def __len__(self) -> int:
        return len(self.keys)


Parts = Mapping[SplitName, Part]


def whole_pool(pool: Pool) -> Part:
    """All images of a pool."""
    return part_of(pool, np.arange(len(pool)), None)


def part_of(pool: Pool, indices: IntArray, keys: Sequence[bytes] | None) -> Part:
    """Some images of a pool; `keys` are the digests of all of it, if they are known."""
    chosen = indices.tolist()
    found = pool.images.digests(chosen) if keys is None else [keys[i] for i in chosen]
    order = sorted(range(len(chosen)), key=lambda row: (int(pool.labels[chosen[row]]), found[row]))
    ordered = indices[np.array(order, dtype=np.int64)]
    return Part(
        images=pool.images,
        indices=ordered,
        labels=pool.labels[ordered],
        keys=tuple(found[row] for row in order),
        groups=None if pool.groups is None else tuple(pool.groups[i] for i in ordered.tolist()),
    )


def group_digest(parts: Parts) -> str | None:
    """A digest of which images are grouped, whatever the groups' names; None without groups."""
    members: dict[str, set[bytes]] = {}
    for part in parts.values():
        for group, key in zip(part.groups or (), part.keys, strict=part.groups is not None):
            members.setdefault(group, set()).add(key)
    if not members:
        return None
    each = sorted(hashlib.sha256(b"".join(sorted(keys))).digest() for keys in members.values())
    return hashlib.sha256(b"".join(each)).hexdigest()
