"""Labels made into class numbers from 0 without gaps, and their names; whatever is changed is told.

Numbers may have gaps or begin at 1, class names may be unused, and the labels of val or test may be withheld.
"""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from trainers.data.label_values import plain_labels
from trainers.data.pool import Normalization, RawPool, Source, SplitName, build_source
from trainers.errors import DataError

Names = Sequence[str] | Mapping[int, str]  # of classes: by their position, or by the number that a label has
Labels = Mapping[SplitName, Sequence[object]]

_HIDDEN = -1
_SHOWN = 5


def labelled_source(
    pools: Mapping[SplitName, RawPool],
    names: Names | None,
    *,
    digits_are_numbers: bool = False,
    normalization: Normalization | None = None,
    notes: Iterable[str] = (),
) -> Source:
    """Checks and numbers the labels, as found by a reader. Raises DataError that names the image or the class.

    `digits_are_numbers` is for text files, where numbers are text, too.
    """
    labels, told = plain_labels(pools, digits_are_numbers)
    labels, hidden = without_hidden(labels)
    kept = {split: dataclasses.replace(pools[split], labels=found) for split, found in labels.items()}
    for split, pool in kept.items():
        _check_labelled(pool, "training" if split == "train" else split, known=_HIDDEN in kept["train"].labels)
    kept, class_names, changed = _numbered(kept, names) if _are_numbers(labels) else _named(kept, names)
    told = [*notes, *told, *hidden, *changed]
    return build_source(kept, class_names, normalization=normalization, notes=tuple(dict.fromkeys(told)))


def without_hidden(labels: Labels) -> tuple[dict[SplitName, list[object]], list[str]]:
    """The splits without a val or test whose labels are all missing or -1: such are withheld; and what to tell."""
    kept: dict[SplitName, list[object]] = {}
    notes = []
    withheld = {None, _HIDDEN, str(_HIDDEN)} - ({_HIDDEN, str(_HIDDEN)} & _hashable(labels["train"]))
    for split, values in labels.items():
        if split != "train" and values and _hashable(values) <= withheld:
            how = "are all -1" if values[0] is not None else "are missing"
            instead = "test images are set aside" if split == "test" else "validation images are taken"
            notes.append(
                f"{split}: the labels of its {len(values)} images {how}, so it cannot be measured and is not used; "
                f"{instead} from training as without it"
            )
        else:
            kept[split] = list(values)
    return kept, notes


def _hashable(values: Sequence[object]) -> set[object]:
    """The different labels; a list, of an image with several, counts as one of its own."""
    return {str(label) if isinstance(label, list | dict) else label for label in values}


def _are_numbers(labels: Labels) -> bool:
    return all(isinstance(label, int) for values in labels.values() for label in values)


def _check_labelled(pool: RawPool, split: str, *, known: bool) -> None:
    """Raises DataError if some images have no label; -1 is none outside training, unless it is `known` there."""
    missing = [index for index, label in enumerate(pool.labels) if label is None]
    if missing:
        raise DataError(
            f"{pool.images.name(missing[0])}: the label is missing, and so it is for {len(missing)} of "
            f"{len(pool.labels)} {split} images; label them, or leave them out of the list or table"
        )
    hidden = [index for index, label in enumerate(pool.labels) if label == _HIDDEN]
    if hidden and split != "training" and not known:
        raise DataError(
            f"{pool.images.name(hidden[0])}: the label is -1, and so it is for {len(hidden)} of {len(pool.labels)} "
            f"{split} images; label them, or leave them out"
        )


def _numbered(
    pools: dict[SplitName, RawPool], names: Names | None
) -> tuple[dict[SplitName, RawPool], list[str] | None, list[str]]:
    """Numbers from 0 without gaps, their names, and what was changed. What cannot be mended is left for the check."""
    used = sorted({_int(label) for label in pools["train"].labels})
    others = {_int(label) for pool in pools.values() for label in pool.labels} - set(used)
    if isinstance(names, Mapping):
        return _renumbered(pools, used, [names.get(number, str(number)) for number in used], others)
    if used == [_HIDDEN, 1] and names is None:
        return _renumbered(pools, used, [str(number) for number in used], others)
    if used[0] < 0:
        return pools, None if names is None else list(names), []
    if names is None:
        if used[-1] == len(used) - 1:
            return pools, None, []
        return _renumbered(pools, used, [str(number) for number in used], others)
    return _by_position(pools, used, others, list(names))


def _renumbered(
    pools: dict[SplitName, RawPool], used: list[int], names: list[str], others: set[int]
) -> tuple[dict[SplitName, RawPool], list[str] | None, list[str]]:
    """Each number in use becomes its position among them."""
    if used == list(range(len(used))):
        return pools, names, []
    if others:
        _refuse_unknown(pools, others, [str(number) for number in used])
    if len(used) == len(pools["train"].labels) > _SHOWN:
        raise DataError(
            f"{pools['train'].images.name(0)}: each of {len(used)} training images has a number of its own as label; "
            "a label is a class that images share: give the right column or numbers"
        )
    gapless = used[-1] - used[0] == len(used) - 1
    found = f"run from {used[0]} to {used[-1]}" if gapless else f"have gaps ({_some(used)})"
    note = f"labels {found}; they are counted from 0 to {len(used) - 1}, and the classes are called {_some(names)}"
    return _mapped(pools, {number: k for k, number in enumerate(used)}), names, [note]


def _by_position(
    pools: dict[SplitName, RawPool], used: list[int], others: set[int], names: list[str]
) -> tuple[dict[SplitName, RawPool], list[str] | None, list[str]]:
    """Labels that are positions among `names`, from 0 or from 1; names without training images are left out."""
    notes, every = list[str](), {*used, *others}
    if min(every) >= 1 and max(every) == len(names):
        notes.append(f"labels run from 1 to {len(names)}, as the class names do; they count from 0 inside")
        pools = _mapped(pools, {number: number - 1 for number in every})
        used, every = [number - 1 for number in used], {number - 1 for number in every}
    unused = [k for k in range(len(names)) if k not in every]
    if max(every) >= len(names) or min(every) < 0 or not unused:
        return pools, names, notes
    kept = [k for k in range(len(names)) if k in every]
    notes.append(_unused_note([names[k] for k in unused], len(names)))
    return _mapped(pools, {number: k for k, number in enumerate(kept)}), [names[k] for k in kept], notes


def _named(
    pools: dict[SplitName, RawPool], names: Names | None
) -> tuple[dict[SplitName, RawPool], list[str] | None, list[str]]:
    """Text labels, the class names in use, and what must be told."""
    texts = {split: [str(label) for label in pool.labels if isinstance(label, str)] for split, pool in pools.items()}
    if any(len(texts[split]) != len(pool.labels) for split, pool in pools.items()):
        return pools, None if isinstance(names, Mapping) or names is None else list(names), []  # the check names it
    used = set(texts["train"])
    _refuse_several(pools["train"], used)
    notes = _alike_notes(used)
    if names is None:
        return pools, None, notes
    ordered = list(names.values()) if isinstance(names, Mapping) else list(names)
    strange = sorted(used - set(ordered))
    if strange:
        at = texts["train"].index(strange[0])
        raise DataError(
            f"{pools['train'].images.name(at)}: class {strange[0]!r} is not among the class names, which are "
            f"{_some(map(repr, ordered))}; add it to them, or correct the label"
        )
    every = {label for values in texts.values() for label in values}
    unused = [name for name in ordered if name not in every]
    if unused:
        notes.append(_unused_note(unused, len(ordered)))
    return pools, [name for name in dict.fromkeys(ordered) if name in every], notes


def _mapped(pools: Mapping[SplitName, RawPool], number: Mapping[int, int]) -> dict[SplitName, RawPool]:
    return {
        split: dataclasses.replace(pool, labels=[number[_int(label)] for label in pool.labels])
        for split, pool in pools.items()
    }


def _refuse_unknown(pools: Mapping[SplitName, RawPool], unknown: set[int], known: Sequence[str]) -> None:
    for pool in pools.values():
        for index, label in enumerate(pool.labels):
            if label in unknown:
                raise DataError(
                    f"{pool.images.name(index)}: class {label} has no training images; the classes are {_some(known)}; "
                    "add images of it to training, or leave it out"
                )


def _refuse_several(pool: RawPool, used: set[str]) -> None:
    """Raises DataError if a label such as `a|b` joins two labels that others have."""
    for index, label in enumerate(pool.labels):
        parts = str(label).split("|")
        if len(parts) > 1 and all(part.strip() in used for part in parts):
            raise DataError(
                f"{pool.images.name(index)}: an image has one label, but {label!r} joins {len(parts)} of them; "
                "multi-label sets are not trained: choose one class for each image"
            )


def _alike_notes(used: set[str]) -> list[str]:
    """A note about classes whose names differ in capitals or in the encoding of accents alone."""
    alike = defaultdict[str, list[str]](list)
    for name in sorted(used):
        alike[unicodedata.normalize("NFKC", name).casefold()].append(name)
    pairs = [" and ".join(map(repr, same)) for same in alike.values() if len(same) > 1]
    return [f"classes of nearly the same name count as different ones: {_some(pairs)}"] if pairs else []


def _unused_note(unused: Sequence[str], total: int) -> str:
    return f"{len(unused)} of {total} class names have no images and are left out: {_some(unused)}"


def _some(values: Iterable[object]) -> str:
    """The first few, and how many more."""
    texts = [str(value) for value in values]
    more = f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return ", ".join(texts[:_SHOWN]) + more


def _int(label: object) -> int:
    if not isinstance(label, int):
        raise TypeError(f"{label!r} is no number")
    return label
