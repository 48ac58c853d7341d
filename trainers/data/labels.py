"""Labels as people write them, made into class numbers or names; whatever is changed is told.

Numbers that have gaps or begin at 1, whole numbers that became decimals, bytes, switches, one-hot rows, class names
that are not used, and test labels that are hidden. What has several labels an image is refused.
"""

from __future__ import annotations

import dataclasses
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from trainers.data.pool import Normalization, RawPool, Source, SplitName, build_source
from trainers.errors import DataError

Names = Sequence[str] | Mapping[int, str]  # of classes: by their position, or by the number that a label has
Labels = Mapping[SplitName, Sequence[object]]

_WHOLE = re.compile(r"[-+]?\d{1,300}(\.0*)?")
_MISSING_WORDS = ("", "nan", "NaN", "<NA>")  # as pandas writes them; "NA" and "None" may be classes
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
    labels, told = _plain_labels(pools, digits_are_numbers)
    labels, hidden = without_hidden(labels)
    kept = {split: dataclasses.replace(pools[split], labels=found) for split, found in labels.items()}
    for split, pool in kept.items():
        _check_labelled(pool, "training" if split == "train" else split, known=_HIDDEN in kept["train"].labels)
    kept, class_names, changed = _numbered(kept, names) if _are_numbers(labels) else _named(kept, names)
    told = [*notes, *told, *hidden, *changed]
    return build_source(kept, class_names, normalization=normalization, notes=tuple(dict.fromkeys(told)))


def _plain_labels(
    pools: Mapping[SplitName, RawPool], digits_are_numbers: bool
) -> tuple[dict[SplitName, list[object]], list[str]]:
    """Numbers, text or None (missing), of one kind over all splits; and what was changed. Raises DataError."""
    notes: list[str] = []
    found = {split: _single(_simple(pool.labels), pool, notes) for split, pool in pools.items()}
    every = [label for values in found.values() for label in values if label is not None]
    if every and all(isinstance(label, bool) for label in every):
        return {split: [_switch(label) for label in values] for split, values in found.items()}, notes
    if not all(isinstance(label, float) or _is_number(label) for label in every) or not every:
        return found, notes
    decimal = [label for label in every if not isinstance(label, int) and not str(label).lstrip("+-").isdecimal()]
    if any(isinstance(label, float) and not label.is_integer() for label in decimal):
        return found, notes  # the check refuses them
    if decimal:
        notes.append(f"labels such as {decimal[0]} are read as whole numbers")
    elif not digits_are_numbers and any(isinstance(label, str) for label in every):
        return found, notes
    return {split: [_whole(label) for label in values] for split, values in found.items()}, notes


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


def _simple(values: Sequence[object]) -> list[object]:
    """Python's own values; a missing one is None."""
    if all(type(label) is int for label in values):
        return list(values)
    return [_simple_one(label) for label in values]


def _simple_one(label: object) -> object:
    if isinstance(label, np.generic):
        label = label.item()
    if isinstance(label, bytes):
        label = decoded(label)
    if isinstance(label, str):
        label = label.strip()
        return None if label in _MISSING_WORDS else label
    return None if isinstance(label, float) and math.isnan(label) else label


def decoded(text: bytes) -> str:
    """Bytes as text: UTF-8, else Latin-1, which knows every byte."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode("latin-1")


def _single(values: list[object], pool: RawPool, notes: list[str]) -> list[object]:
    """One label an image from lists of one, and from one-hot rows. Raises DataError for several."""
    if not any(isinstance(label, list | tuple) for label in values):
        return values
    rows = [list(label) if isinstance(label, list | tuple) else [label] for label in values]
    if all(len(row) == 1 for row in rows):
        return _simple([row[0] for row in rows])
    if len({len(row) for row in rows}) == 1 and all(one in (0, 1) for row in rows for one in row):
        sums = [sum(map(int, row)) for row in rows]
        if all(total == 1 for total in sums):
            notes.append(f"labels are rows of {len(rows[0])} zeros with a single 1 (one-hot); its place is the class")
            return [row.index(1) for row in rows]
        at = next(index for index, total in enumerate(sums) if total != 1)
        raise DataError(
            f"{pool.images.name(at)}: an image has one label, but {sum(total != 1 for total in sums)} of {len(rows)} "
            f"rows have none or several (this one has {sums[at]}); multi-label sets are not trained: choose one class "
            "for each image, or leave these out"
        )
    at = next(index for index, row in enumerate(rows) if len(row) != 1)
    raise DataError(
        f"{pool.images.name(at)}: an image has one label, but this one has {len(rows[at])}; multi-label sets are not "
        "trained: choose one class for each image"
    )


def _switch(label: object) -> object:
    return None if label is None else str(label).lower()


def _is_number(label: object) -> bool:
    return (isinstance(label, int) and not isinstance(label, bool)) or (
        isinstance(label, str) and _WHOLE.fullmatch(label) is not None
    )


def _whole(label: object) -> object:
    if isinstance(label, float) and label.is_integer():
        return int(label)
    return int(label.partition(".")[0]) if isinstance(label, str) else label


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
