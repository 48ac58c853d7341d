"""Hold-outs by content: stratified, tail-safe, and never between the images of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from trainers.data.blocks import Blocks, IntArray

_CLASSES_SHOWN = 12
_Fits = Callable[[int], bool]


def class_indices(labels: IntArray, num_classes: int) -> list[IntArray]:
    """The ascending indices of each class's images; `labels` is (N,)."""
    by_class = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return list(np.split(by_class, ends[:-1]))


def seeded(indices: IntArray, seed: int, k: int) -> IntArray:
    """The images of class `k` in a random order that depends on `seed`."""
    return np.random.default_rng([seed, k]).permutation(indices)


def sorted_union(parts: Sequence[IntArray]) -> IntArray:
    """All indices of disjoint parts, ascending."""
    return np.sort(np.concatenate(parts)) if len(parts) else np.empty(0, dtype=np.int64)


def holdout_counts(sizes: Sequence[int] | IntArray, *, limit: int | None = None) -> list[int]:
    """Size of a tail-safe hold-out per class: a fifth, at most `limit`; at least 1, or 0 below 4 images."""
    return [min(max(n // 5, 1), limit or n) if n >= 4 else 0 for n in map(int, sizes)]


def stratified_holdout(
    labels: IntArray,
    num_classes: int,
    *,
    limit: int | None,
    seed: int,
    keys: Sequence[bytes] | None = None,
    blocks: Blocks | None = None,
) -> IntArray:
    """Ascending indices of a tail-safe stratified hold-out of whole `blocks`.

    With `keys` (N,) of image content, the choice does not depend on file order or names. Fixed blocks count for
    nothing. Copies never make a hold-out larger than it is without them; groups may, as _Assignment says.
    """
    orders = []
    for k, indices in enumerate(class_indices(labels, num_classes)):
        ordered = indices if keys is None else np.array(sorted(indices.tolist(), key=keys.__getitem__), dtype=np.int64)
        order = seeded(ordered, seed, k)
        orders.append(order if blocks is None else order[~blocks.fixed[order]])
    wanted = holdout_counts([len(order) for order in orders], limit=limit)
    if blocks is None or blocks.trivial:
        return sorted_union([order[:n] for order, n in zip(orders, wanted, strict=True)])
    assignment = _Assignment(orders, wanted, labels, blocks)
    assignment.fill()
    if blocks.grouped:
        assignment.come_nearer()
        assignment.give_each_class_a_block()
    return np.flatnonzero(np.isin(blocks.of, sorted(assignment.held)))


class _Assignment:
    """Which blocks are held out so far, and how many images of each class they have."""

    def __init__(self, orders: Sequence[IntArray], wanted: Sequence[int], labels: IntArray, blocks: Blocks) -> None:
        self.held: set[int] = set()
        self._wanted = wanted
        self._taken = [0] * len(wanted)
        self._sizes = [len(order) for order in orders]
        self._blocks = [list(dict.fromkeys(blocks.of[order].tolist())) for order in orders]
        self._inside = _class_counts(labels, blocks)
        self._rarest_first = sorted(range(len(wanted)), key=self._sizes.__getitem__)

    def fill(self) -> None:
        """Takes blocks, of the rarest class first, as long as no class gets more than it wants."""
        for k in self._rarest_first:
            for block in self._blocks[k]:
                if self._taken[k] >= self._wanted[k]:
                    break
                if block not in self.held and self._within(block, self._wanted):
                    self._hold(block)

    def come_nearer(self) -> None:
        """Takes blocks that go beyond what a class wants, at most twofold, if they bring all together nearer to it."""
        most = [2 * n for n in self._wanted]
        for k in self._rarest_first:
            while self._taken[k] < self._wanted[k]:
                fitting = self._candidates(k, lambda block: self._within(block, most) and self._gain(block) > 0)
                if not fitting:
                    break
                self._hold(max(fitting, key=self._gain))

    def give_each_class_a_block(self) -> None:
        """Takes the smallest block of a class that has none held out, if half of each class in it stays."""
        most = [size // 2 if n else 0 for size, n in zip(self._sizes, self._wanted, strict=True)]
        for k in self._rarest_first:
            if self._wanted[k] and not self._taken[k]:
                fitting = self._candidates(k, lambda block: self._within(block, most))
                if fitting:
                    self._hold(min(fitting, key=lambda block: sum(self._inside[block].values())))

    def _candidates(self, k: int, fits: _Fits) -> list[int]:
        return [block for block in self._blocks[k] if block not in self.held and fits(block)]

    def _within(self, block: int, most: Sequence[int]) -> bool:
        return all(self._taken[k] + n <= most[k] for k, n in self._inside[block].items())

    def _gain(self, block: int) -> float:
        """How much nearer to their wanted counts the classes come, each in units of its own."""
        changes: Iterable[float] = (
            (abs(self._taken[k] - self._wanted[k]) - abs(self._taken[k] + n - self._wanted[k])) / self._wanted[k]
            for k, n in self._inside[block].items()
        )
        return round(sum(changes), 9)  # so that the order of a sum decides nothing

    def _hold(self, block: int) -> None:
        self.held.add(block)
        for k, n in self._inside[block].items():
            self._taken[k] += n


def _class_counts(labels: IntArray, blocks: Blocks) -> Mapping[int, Mapping[int, int]]:
    """The number of images of each class in each block."""
    pairs, counts = np.unique(np.stack([blocks.of, labels]), axis=1, return_counts=True)
    found: dict[int, dict[int, int]] = {}
    for (block, k), n in zip(pairs.T.tolist(), counts.tolist(), strict=True):
        found.setdefault(block, {})[k] = n
    return found


def holdout_notes(
    what: str, labels: IntArray, held: IntArray, *, limit: int | None, blocks: Blocks | None, names: Sequence[str]
) -> list[str]:
    """How far the hold-out of each class is from what it wants, and why; nothing if only copies could change it."""
    if blocks is None or blocks.trivial:
        return []
    free = labels[~blocks.fixed]
    wanted = np.array(holdout_counts(np.bincount(free, minlength=len(names)), limit=limit))
    got = np.bincount(labels[held], minlength=len(names))
    apart = [int(k) for k in np.argsort(-np.abs(got - wanted) / np.maximum(wanted, 1), kind="stable")]
    told = [k for k in apart if wanted[k] and (blocks.grouped or got[k] != wanted[k])]
    if not told:
        return []
    shown = [
        f"{names[k]} {got[k]} of {wanted[k]}{'' if got[k] else _reason(blocks.of[labels == k], grouped=blocks.grouped)}"
        for k in told[:_CLASSES_SHOWN]
    ]
    more = f", and {len(told) - _CLASSES_SHOWN} classes that are nearer" if len(told) > _CLASSES_SHOWN else ""
    why = "groups (task.group)" if blocks.grouped else "copies of an image"
    return [f"{what}: {why} stay together, so it has of each class, of the images wanted: {', '.join(shown)}{more}"]


def _reason(of: IntArray, *, grouped: bool) -> str:
    """Why nothing is held out of a class whose images are in the blocks `of`."""
    if not grouped:
        return ""
    alone = len(np.unique(of)) == 1
    return " (one group only: its images stay in training)" if alone else " (its groups are too large)"
