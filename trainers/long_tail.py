"""Long-tailed subsets: counts per class, the choice of images, and validation cut from the training pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainers.config import TaskConfig
from trainers.data.blocks import Blocks, IntArray, single_blocks
from trainers.data.holdout import class_indices, holdout_notes, seeded, sorted_union, stratified_holdout
from trainers.errors import ConfigError, DataError

__all__ = ["Cut", "IntArray", "cut_pool", "draw_order", "long_tail_counts", "set_aside"]

Profile = Literal["exp", "step"]
Selection = Literal["seed0", "first_n"]


@dataclass(frozen=True, kw_only=True)
class Cut:
    """Training and validation images of a pool, as ascending indices."""

    train: IntArray  # (N,)
    val: IntArray  # (V,), empty when validation comes from elsewhere
    notes: tuple[str, ...] = ()


def long_tail_counts(
    num_classes: int,
    max_count: int,
    imbalance_factor: float,
    profile: Profile = "exp",
    *,
    rounding: Literal["truncate", "nearest"] = "truncate",
) -> list[int]:
    """Images per class, largest first. Raises ConfigError if the smallest class would be empty.

    `exp`: n_k = int(max_count * (1 / imbalance_factor)^(k / (C - 1))); `step`: the last half of the classes has
    max_count / imbalance_factor (Cui et al. 2019; Cao et al. 2019).
    """
    if num_classes < 1 or imbalance_factor < 1 or max_count < imbalance_factor:
        raise ConfigError(
            "num_classes >= 1 and max_count >= imbalance_factor >= 1 must hold, so that no class is empty, but got "
            f"{num_classes=}, {max_count=}, {imbalance_factor=}; lower imbalance_factor or raise max_count"
        )
    to_int = round if rounding == "nearest" else int
    mu = 1 / imbalance_factor
    if profile == "step":
        tail = num_classes // 2
        return [max_count] * (num_classes - tail) + [to_int(max_count * mu)] * tail
    return [to_int(max_count * mu ** (k / max(num_classes - 1, 1))) for k in range(num_classes)]


def draw_order(
    labels: IntArray, num_classes: int, *, selection: Selection = "seed0", rank: IntArray | None = None
) -> list[IntArray]:
    """The images of each class in the order in which a subset keeps them.

    `first_n` is file order, as released by Alshammari et al.; `seed0` is the customary draw of LDAM-DRW: NumPy's
    legacy generator seeded with 0 shuffles the ascending indices of each class in turn. `rank` (N,) gives that order
    for a pool that is part of a larger one; then nothing is drawn.
    """
    classes = class_indices(labels, num_classes)
    if rank is not None:
        if selection == "first_n":
            raise ConfigError(
                "task.selection: first_n needs the whole training file, but this pool is a seed0 draw already; "
                "set task.selection=seed0 or give the folder with train.parquet"
            )
        return [indices[np.argsort(rank[indices], kind="stable")] for indices in classes]
    if selection == "seed0":
        generator = np.random.RandomState(0)  # the legacy generator, as in published subsets
        for indices in classes:
            generator.shuffle(indices)
    return classes


def set_aside(labels: IntArray, num_classes: int, *, per_class: Sequence[int], seed: int) -> list[IntArray]:
    """Disjoint balanced parts, `per_class[i]` images of each class in part i, then the rest, each ascending."""
    shuffled = [seeded(indices, seed, k) for k, indices in enumerate(class_indices(labels, num_classes))]
    ends = np.cumsum(per_class)
    parts = [np.split(indices, ends) for indices in shuffled]
    return [sorted_union([part[i] for part in parts]) for i in range(len(ends) + 1)]


def cut_pool(
    labels: IntArray,
    task: TaskConfig,
    *,
    class_names: Sequence[str],
    own_val: bool = False,
    max_count: int | None = None,
    rank: IntArray | None = None,
    keys: Sequence[bytes] | None = None,
    blocks: Blocks | None = None,
) -> Cut:
    """Selects training and validation images from a pool by the task's protocol; no block has images in both.

    With `own_val` the source has a validation split, and none is cut. `task.max_count` overrides `max_count`, the
    source's cap. Raises DataError if the pool is too small, ConfigError if the protocol does not fit.
    """
    cuts_val = not own_val and task.protocol != "paper_leak"
    if cuts_val and task.val_per_class < 1:
        raise ConfigError("task.val_per_class: selection needs validation images, so at least 1, but got 0")
    if task.protocol == "iclr24" and (own_val or task.imbalance_factor is None):
        raise ConfigError(
            "task.protocol: iclr24 reserves validation images of a balanced pool, so it needs task.imbalance_factor "
            "and a source without validation split of its own; use honest"
        )
    cap = task.max_count or max_count
    blocks = blocks or single_blocks(len(labels))
    if task.imbalance_factor is None:
        drawn = [] if cap is None else draw_order(labels, len(class_names), selection=task.selection, rank=rank)
        kept = np.arange(len(labels)) if cap is None else sorted_union([order[:cap] for order in drawn])
        if not cuts_val:
            return Cut(train=kept, val=sorted_union([]))
        return _cut_natural(labels, task, class_names, kept=kept, keys=keys, blocks=blocks)
    if cuts_val and blocks.grouped:
        raise ConfigError(
            "task.group: a long-tailed subset is drawn image by image, so validation cannot be cut from it by group; "
            "set task.imbalance_factor=none, or give a validation split of your own"
        )
    orders = draw_order(labels, len(class_names), selection=task.selection, rank=rank)
    reserved = task.val_per_class if task.protocol == "iclr24" else 0
    largest = max(map(len, orders)) - reserved
    counts = long_tail_counts(
        len(class_names),
        min(largest, cap or largest),
        task.imbalance_factor,
        task.profile,
        rounding="nearest" if task.protocol == "iclr24" else "truncate",
    )
    _require(orders, counts, reserved, class_names)
    if reserved:
        return _cut_reserved_first(orders, counts, reserved, blocks, class_names)
    if cuts_val:
        return _cut_leftover(orders, counts, task, class_names, blocks)
    return Cut(train=sorted_union([order[:n] for order, n in zip(orders, counts, strict=True)]), val=sorted_union([]))


def _cut_natural(
    labels: IntArray,
    task: TaskConfig,
    class_names: Sequence[str],
    *,
    kept: IntArray,
    keys: Sequence[bytes] | None,
    blocks: Blocks,
) -> Cut:
    """Validation as a hold-out of the images that are kept."""
    labels, blocks = labels[kept], blocks.take(kept)
    held = stratified_holdout(
        labels,
        len(class_names),
        limit=task.val_per_class,
        seed=task.split_seed,
        keys=None if keys is None else [keys[i] for i in kept.tolist()],
        blocks=blocks,
    )
    if not len(held):
        raise DataError(
            f"validation needs a class with at least 4 training images{_of_which(blocks)}, but there is none; add "
            "images or a validation split of your own"
        )
    note = (
        f"validation: stratified hold-out of {len(held)} training images (a fifth of a class, at most "
        f"{task.val_per_class}, none of classes below 4)"
    )
    limit = task.val_per_class
    apart = holdout_notes("validation", labels, held, limit=limit, blocks=blocks, names=class_names)
    return Cut(train=np.delete(kept, held), val=kept[held], notes=(note, *apart))


def _of_which(blocks: Blocks) -> str:
    """What keeps images out of a hold-out, in words."""
    fixed = f" under one label ({int(blocks.fixed.sum())} of {len(blocks.fixed)} are under two)"
    apart = ", in more than one group" if blocks.grouped else ", not all of them copies of one"
    return (fixed if blocks.fixed.any() else "") + ("" if blocks.trivial else apart)


def _cut_reserved_first(
    orders: list[IntArray], counts: list[int], reserved: int, blocks: Blocks, class_names: Sequence[str]
) -> Cut:
    """Reserves validation first and cuts the rest with rounded counts (Hasegawa & Sato 2024)."""
    val = [order[~blocks.fixed[order]][:reserved] for order in orders]
    left = [
        order[~np.isin(blocks.of[order], blocks.of[held])][:n]
        for order, held, n in zip(orders, val, counts, strict=True)
    ]
    if min(map(len, left)) < 1 or min(map(len, val)) < 1:
        k = next(k for k in range(len(orders)) if not len(left[k]) or not len(val[k]))
        raise DataError(
            f"class {class_names[k]!r}: {_too_alike(orders[k], blocks)}, so that they cannot be divided into training "
            "and validation; leave copies out, or give a validation split of your own"
        )
    notes = [f"protocol iclr24: {reserved} validation images per class reserved first, rounded counts"]
    notes += _lowered("training counts lowered to keep copies together", counts, list(map(len, left)), class_names)
    notes += _lowered("fewer validation images", [reserved] * len(val), list(map(len, val)), class_names)
    return Cut(train=sorted_union(left), val=sorted_union(val), notes=tuple(notes))


def _cut_leftover(
    orders: list[IntArray], counts: list[int], task: TaskConfig, class_names: Sequence[str], blocks: Blocks
) -> Cut:
    """Validation from images outside the long-tailed subset, of which none is a copy of an image in it.

    If too few are left, the subset shrinks.
    """
    per_class = task.val_per_class
    firsts = [_first_places(order, blocks) for order in orders]
    lowered = [min(n, _place_from_end(first, per_class)) for n, first in zip(counts, firsts, strict=True)]
    if min(lowered) < 1:
        k = int(np.argmin(lowered))
        but = "" if blocks.trivial else f" ({_too_alike(orders[k], blocks)})"
        raise DataError(
            f"class {class_names[k]!r}: {per_class} validation images leave none of its {len(orders[k])} to train on"
            f"{but}; lower task.val_per_class"
        )
    val = [
        _left_over(order, first, n, seed=(task.split_seed, k))[:per_class]
        for k, (order, first, n) in enumerate(zip(orders, firsts, lowered, strict=True))
    ]
    notes = [f"validation: leftover, {per_class} images per class that the long-tailed subset did not take"]
    notes += _lowered("training counts lowered to leave validation images", counts, lowered, class_names)
    train = [order[:n] for order, n in zip(orders, lowered, strict=True)]
    return Cut(train=sorted_union(train), val=sorted_union(val), notes=tuple(notes))


def _first_places(order: IntArray, blocks: Blocks) -> IntArray:
    """For each image the first place in the order that an image of its block has; -1 in a fixed block."""
    _, first, inverse = np.unique(blocks.of[order], return_index=True, return_inverse=True)
    return np.where(blocks.fixed[order], -1, first[inverse])


def _left_over(order: IntArray, first: IntArray, subset: int, *, seed: tuple[int, int]) -> IntArray:
    """The images beyond the subset that are no copies of its images, in random order."""
    places = seeded(np.arange(subset, len(order)), *seed)
    return order[places[first[places] >= subset]]


def _place_from_end(first: IntArray, count: int) -> int:
    """The largest subset, by its number of images, that leaves `count` images without copies in it; -1: none."""
    return int(np.sort(first)[-count]) if len(first) >= count else -1


def _too_alike(order: IntArray, blocks: Blocks) -> str:
    different, fixed = len(np.unique(blocks.of[order])), int(blocks.fixed[order].sum())
    return f"{different} of its {len(order)} images are different, and {fixed} are under another label, too"


def _lowered(what: str, counts: Sequence[int], to: Sequence[int], class_names: Sequence[str]) -> list[str]:
    """A note that says which counts became smaller, if any."""
    changed = [k for k, n in enumerate(counts) if to[k] != n]
    if not changed:
        return []
    shown = ", ".join(f"{class_names[k]} {counts[k]} -> {to[k]}" for k in changed[:3])
    more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
    return [f"{what}: {shown}{more}"]


def _require(orders: list[IntArray], counts: list[int], reserved: int, class_names: Sequence[str]) -> None:
    for name, order, n in zip(class_names, orders, counts, strict=True):
        if len(order) < n + reserved:
            extra = f" and {reserved} for validation" if reserved else ""
            raise DataError(
                f"class {name!r}: has {len(order)} images, but the long-tailed subset wants {n}{extra}; raise "
                "task.imbalance_factor, lower task.max_count, or set task.imbalance_factor=none to take all images"
            )
