"""Blocks: the images that a cut never separates, because they are the same image or of one group."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Blocks:
    """The block of each image of a pool."""

    of: IntArray  # (N,) numbers, equal for the images of a block
    fixed: BoolArray  # (N,) True in a block that stays in training, because an image of it is under two labels
    grouped: bool  # made of groups, which may be large; else only of copies

    def take(self, indices: IntArray) -> Blocks:
        """The blocks of some of the images."""
        return Blocks(of=self.of[indices], fixed=self.fixed[indices], grouped=self.grouped)

    @property
    def trivial(self) -> bool:
        """True if each image is a block of its own that may be held out."""
        return not self.fixed.any() and len(np.unique(self.of)) == len(self.of)


def single_blocks(count: int) -> Blocks:
    """Each image a block of its own."""
    return Blocks(of=np.arange(count), fixed=np.zeros(count, dtype=np.bool_), grouped=False)


def make_blocks(labels: IntArray, content: Sequence[Hashable], groups: Sequence[Hashable] | None) -> Blocks:
    """Joins images of one content or one group, also through others; all arguments are (N,)."""
    same = _numbered(content)
    of = same if groups is None else _joined(same, _numbered(groups))
    fixed = np.zeros(int(of.max(initial=-1)) + 1, dtype=np.bool_)
    fixed[of[contradictory(labels, same)]] = True
    return Blocks(of=of, fixed=fixed[of], grouped=groups is not None)


def contradictory(labels: IntArray, content: IntArray) -> BoolArray:
    """(N,) True for an image whose content is under two labels or more."""
    count = int(content.max(initial=-1)) + 1
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1)
    np.minimum.at(low, content, labels)
    np.maximum.at(high, content, labels)
    found: BoolArray = (low < high)[content]
    return found


def _numbered(values: Sequence[Hashable]) -> IntArray:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(value, len(numbers)) for value in values], dtype=np.int64)


def _joined(first: IntArray, second: IntArray) -> IntArray:
    """(N,) numbers of the connected components of images that share a number of `first` or of `second`."""
    parent = list(range(int(first.max(initial=-1)) + int(second.max(initial=-1)) + 2))
    offset = int(first.max(initial=-1)) + 1

    def root(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]  # halves the path
            node = parent[node]
        return node

    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        parent[root(one)] = root(offset + other)
    return _numbered([root(one) for one in first.tolist()])
