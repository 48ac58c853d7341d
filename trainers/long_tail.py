"""Long-tailed subsets: counts per class, the choice of images, and validation cut from the training pool."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from trainers.config import TaskConfig
from trainers.errors import ConfigError, DataError

IntArray = npt.NDArray[np.int64]
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


def class_indices(labels: IntArray, num_classes: int) -> list[IntArray]:
    """The ascending indices of each class's images; `labels` is (N,)."""
    by_class = np.argsort(labels, kind="stable")
    ends = np.cumsum(np.bincount(labels, minlength=num_classes))
    return list(np.split(by_class, ends[:-1]))


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


def holdout_counts(sizes: Sequence[int] | IntArray, *, limit: int | None = None) -> list[int]:
    """Size of a tail-safe hold-out per class: a fifth, at most `limit`; at least 1, or 0 below 4 images."""
    return [min(max(n // 5, 1), limit or n) if n >= 4 else 0 for n in map(int, sizes)]


def stratified_holdout(
    labels: IntArray, num_classes: int, *, limit: int | None, seed: int, keys: Sequence[bytes] | None = None
) -> IntArray:
    """Ascending indices of a tail-safe stratified hold-out.

    With `keys` (N,) of image content, the choice does not depend on file order or names.
    """
    chosen = []
    for k, indices in enumerate(class_indices(labels, num_classes)):
        ordered = indices if keys is None else np.array(sorted(indices.tolist(), key=keys.__getitem__), dtype=np.int64)
        count = holdout_counts([len(ordered)], limit=limit)[0]
        chosen.append(_seeded(ordered, seed, k)[:count])
    return _sorted_union(chosen)


def set_aside(labels: IntArray, num_classes: int, *, per_class: Sequence[int], seed: int) -> list[IntArray]:
    """Disjoint balanced parts, `per_class[i]` images of each class in part i, then the rest, each ascending."""
    shuffled = [_seeded(indices, seed, k) for k, indices in enumerate(class_indices(labels, num_classes))]
    ends = np.cumsum(per_class)
    parts = [np.split(indices, ends) for indices in shuffled]
    return [_sorted_union([part[i] for part in parts]) for i in range(len(ends) + 1)]


def cut_pool(
    labels: IntArray,
    task: TaskConfig,
    *,
    class_names: Sequence[str],
    own_val: bool = False,
    max_count: int | None = None,
    rank: IntArray | None = None,
    keys: Sequence[bytes] | None = None,
) -> Cut:
    """Selects training and validation images from a pool by the task's protocol.

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
    if task.imbalance_factor is None:
        return _cut_natural(labels, task, len(class_names), cap=cap, cuts_val=cuts_val, rank=rank, keys=keys)
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
        return _cut_reserved_first(orders, counts, reserved)
    if cuts_val:
        return _cut_leftover(orders, counts, task, class_names)
    return Cut(train=_sorted_union([order[:n] for order, n in zip(orders, counts, strict=True)]), val=_sorted_union([]))


def _cut_natural(
    labels: IntArray,
    task: TaskConfig,
    num_classes: int,
    *,
    cap: int | None,
    cuts_val: bool,
    rank: IntArray | None,
    keys: Sequence[bytes] | None,
) -> Cut:
    kept = np.arange(len(labels))
    if cap is not None:
        kept = _sorted_union(
            [order[:cap] for order in draw_order(labels, num_classes, selection=task.selection, rank=rank)]
        )
    if not cuts_val:
        return Cut(train=kept, val=_sorted_union([]))
    held = stratified_holdout(
        labels[kept],
        num_classes,
        limit=task.val_per_class,
        seed=task.split_seed,
        keys=None if keys is None else [keys[i] for i in kept.tolist()],
    )
    if not len(held):
        raise DataError(
            "validation needs a class with at least 4 training images, but there is none; add images or a validation "
            "split of your own"
        )
    note = (
        f"validation: stratified hold-out of {len(held)} training images (a fifth of a class, at most "
        f"{task.val_per_class}, none of classes below 4)"
    )
    return Cut(train=np.delete(kept, held), val=kept[held], notes=(note,))


def _cut_reserved_first(orders: list[IntArray], counts: list[int], reserved: int) -> Cut:
    """Reserves validation first and cuts the rest with rounded counts (Hasegawa & Sato 2024)."""
    note = f"protocol iclr24: {reserved} validation images per class reserved first, rounded counts"
    return Cut(
        train=_sorted_union([order[reserved : reserved + n] for order, n in zip(orders, counts, strict=True)]),
        val=_sorted_union([order[:reserved] for order in orders]),
        notes=(note,),
    )


def _cut_leftover(orders: list[IntArray], counts: list[int], task: TaskConfig, class_names: Sequence[str]) -> Cut:
    """Validation from images outside the long-tailed subset; if too few are left, the subset shrinks."""
    per_class = task.val_per_class
    lowered = [min(n, len(order) - per_class) for order, n in zip(orders, counts, strict=True)]
    if min(lowered) < 1:
        k = int(np.argmin(lowered))
        raise DataError(
            f"class {class_names[k]!r}: {per_class} validation images leave none of its {len(orders[k])} to train on; "
            "lower task.val_per_class"
        )
    left = [_seeded(order[n:], task.split_seed, k) for k, (order, n) in enumerate(zip(orders, lowered, strict=True))]
    notes = [f"validation: leftover, {per_class} images per class that the long-tailed subset did not take"]
    changed = [k for k, n in enumerate(counts) if lowered[k] != n]
    if changed:
        shown = ", ".join(f"{class_names[k]} {counts[k]} -> {lowered[k]}" for k in changed[:3])
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        notes.append(f"training counts lowered to leave validation images: {shown}{more}")
    return Cut(
        train=_sorted_union([order[:n] for order, n in zip(orders, lowered, strict=True)]),
        val=_sorted_union([rest[:per_class] for rest in left]),
        notes=tuple(notes),
    )


def _require(orders: list[IntArray], counts: list[int], reserved: int, class_names: Sequence[str]) -> None:
    for name, order, n in zip(class_names, orders, counts, strict=True):
        if len(order) < n + reserved:
            extra = f" and {reserved} for validation" if reserved else ""
            raise DataError(
                f"class {name!r}: has {len(order)} images, but the long-tailed subset wants {n}{extra}; raise "
                "task.imbalance_factor, lower task.max_count, or set task.imbalance_factor=none to take all images"
            )


def _seeded(indices: IntArray, seed: int, k: int) -> IntArray:
    return np.random.default_rng([seed, k]).permutation(indices)


def _sorted_union(parts: Sequence[IntArray]) -> IntArray:
    return np.sort(np.concatenate(parts)) if len(parts) else np.empty(0, dtype=np.int64)
