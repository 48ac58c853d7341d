"""From the rows of lists and tables to a source: images found, repeated rows joined, labels numbered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trainers.config import TaskConfig
from trainers.data.image_paths import ImageFinder, Listing
from trainers.data.images import FileImages
from trainers.data.labels import Names, labelled_source, without_hidden
from trainers.data.pool import Normalization, RawPool, Source, SplitName
from trainers.errors import DataError


class ListedImage(NamedTuple):
    """One row as written; an empty label is missing."""

    name: str
    label: str


@dataclass(frozen=True, kw_only=True)
class ListFile:
    """The rows of one split."""

    path: Path
    split: SplitName
    entries: tuple[ListedImage, ...]
    sure: bool = True  # False: nothing said that this is the training split
    notes: tuple[str, ...] = ()


def listed_source(
    files: Iterable[ListFile],
    task: TaskConfig,
    *,
    folder: Path,
    names: Names | None,
    normalization: Normalization | None = None,
    notes: Iterable[str] = (),
) -> Source:
    """Finds the images and numbers the labels. Raises DataError.

    A split whose labels are withheld is left out before its images are looked for. Rows of one image are joined.
    """
    finder = ImageFinder.of(task, folder)
    kept, told = _with_labels(list(files))
    notes = [*notes, *(note for file in kept for note in file.notes), *told]
    pools: dict[SplitName, RawPool] = {}
    for file in kept:
        listing = Listing(
            names=[entry.name for entry in file.entries], listed_in=file.path, split=file.split if file.sure else None
        )
        paths, labels, joined = _once(finder.find(listing), [entry.label for entry in file.entries], file)
        pools[file.split] = RawPool(images=FileImages(tuple(paths)), labels=labels)
        notes += joined
    return labelled_source(
        pools, names, digits_are_numbers=True, normalization=normalization, notes=[*notes, *finder.notes]
    )


def _with_labels(files: Sequence[ListFile]) -> tuple[list[ListFile], list[str]]:
    """The files without splits whose labels are withheld. Raises DataError for single rows without a label."""
    labels = {file.split: [entry.label or None for entry in file.entries] for file in files}
    kept, notes = without_hidden(labels)
    found = [file for file in files if file.split in kept]
    notes += [note for file in files if file.split not in kept for note in file.notes]
    for file in found:
        missing = [entry.name for entry in file.entries if entry.label in ("", "nan", "NaN", "<NA>")]
        if missing:
            raise DataError(
                f"{file.path}: {len(missing)} of {len(file.entries)} rows have no label, first that of {missing[0]}; "
                "label them, or leave these rows out"
            )
    return found, notes


def _once(paths: Sequence[str], labels: Sequence[str], file: ListFile) -> tuple[list[str], list[str], list[str]]:
    """Each image once. Raises DataError for an image with two labels."""
    first: dict[str, str] = {}
    contradicting: dict[str, tuple[str, str]] = {}
    for path, label in zip(map(os.path.normpath, paths), labels, strict=True):
        if first.setdefault(path, label) != label:
            contradicting.setdefault(path, (first[path], label))
    if contradicting:
        path, (one, other) = next(iter(contradicting.items()))
        raise DataError(
            f"{file.path}: {len(contradicting)} images have two labels, first {path}: {one} and {other}; keep one row "
            "for each image"
        )
    if len(first) == len(paths):
        return list(paths), list(labels), []
    note = f"{file.path.name}: {len(paths) - len(first)} rows repeat an image with the same label; it counts once"
    return list(first), list(first.values()), [note]
