"""Labels as files hold them, made into numbers or text of one kind: one label an image.

Bytes, switches, whole numbers that became decimals, lists of one, and one-hot rows are read; several labels an image
are refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from trainers.data.pool import RawPool, SplitName
from trainers.errors import DataError

_WHOLE = re.compile(r"[-+]?\d{1,300}(\.0*)?")
_DECIMAL = re.compile(r"[-+]?\d{0,300}\.?\d{1,300}")
_FRACTION = re.compile(r"[-+]?\d{0,300}\.\d{0,300}[1-9]\d{0,300}")
_MISSING_WORDS = ("", "nan", "NaN", "<NA>")  # as pandas writes them; "NA" and "None" may be classes


def plain_labels(
    pools: Mapping[SplitName, RawPool], digits_are_numbers: bool
) -> tuple[dict[SplitName, list[object]], list[str]]:
    """Numbers, text or None (missing), of one kind over all splits; and what was changed. Raises DataError."""
    notes: list[str] = []
    found = {split: _single(_simple(pool.labels), pool, notes) for split, pool in pools.items()}
    every = [label for values in found.values() for label in values if label is not None]
    if every and all(isinstance(label, bool) for label in every):
        return {split: [_switch(label) for label in values] for split, values in found.items()}, notes
    if not all(isinstance(label, float) or _is_number(label) for label in every) or not every:
        fractions = [label for label in every if isinstance(label, str) and _FRACTION.fullmatch(label)]
        if fractions and all(isinstance(label, str) and _DECIMAL.fullmatch(label) for label in every):
            notes.append(f"labels such as {fractions[0]} are decimals; each counts as the name of a class of its own")
        return found, notes
    decimal = [label for label in every if not isinstance(label, int) and not str(label).lstrip("+-").isdecimal()]
    if any(isinstance(label, float) and not label.is_integer() for label in decimal):
        return found, notes  # the check refuses them
    if decimal:
        notes.append(f"labels such as {decimal[0]} are read as whole numbers")
    elif not digits_are_numbers and any(isinstance(label, str) for label in every):
        return found, notes
    return {split: [_whole(label) for label in values] for split, values in found.items()}, notes


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
