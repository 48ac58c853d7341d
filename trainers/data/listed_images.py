"""From the rows of lists and tables to a source: images found, repeated rows joined, labels numbered."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from trainers.config import TaskConfig
from trainers.data.image_paths import ImageFinder, Listing
from trainers.data.images import FileImages
from trainers.data.labels import Names, labelled_source, without_hidden
from trainers.data.pool import Normalization, RawPool, Source, SplitName, data_path
from trainers.data.unlisted import unlisted_notes
from trainers.errors import DataError


class ListedImage(NamedTuple):
    """One row as written; an empty label is missing."""

    name: str
    label: str
    group: str | None = None  # of the column `task.group`, if there is one


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
        paths, entries, joined = _once(finder.find(listing), file)
        pools[file.split] = RawPool(
            images=FileImages(tuple(paths)),
            labels=[entry.label for entry in entries],
            groups=None if entries[0].group is None else [entry.group for entry in entries],
        )
        notes += joined
    if task.dataset in ("csv", "lists"):  # the community's lists are a part of their images by intent
        used = [path for pool in pools.values() if isinstance(pool.images, FileImages) for path in pool.images.paths]
        notes += unlisted_notes(folder, used, whole=data_path(task).is_dir())
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


def _once(paths: Sequence[str], file: ListFile) -> tuple[list[str], list[ListedImage], list[str]]:
    """Each image once, with its row. Raises DataError for an image with two labels, or of two groups."""
    first: dict[str, ListedImage] = {}
    for path, entry in zip(map(os.path.normpath, paths), file.entries, strict=True):
        first.setdefault(path, entry)
    if len(first) == len(paths):
        return list(paths), list(file.entries), []
    _refuse_two(first, paths, file, "label", "labels")
    _refuse_two(first, paths, file, "group", "groups (task.group)")
    note = f"{file.path.name}: {len(paths) - len(first)} rows repeat an image with the same label; it counts once"
    return list(first), list(first.values()), [note]


def _refuse_two(first: Mapping[str, ListedImage], paths: Sequence[str], file: ListFile, field: str, words: str) -> None:
    """Raises DataError for an image whose rows differ in this field."""
    differing: dict[str, tuple[str, str]] = {}
    for path, entry in zip(map(os.path.normpath, paths), file.entries, strict=True):
        one, other = getattr(first[path], field), getattr(entry, field)
        if one != other:
            differing.setdefault(path, (one, other))
    if differing:
        path, (one, other) = next(iter(differing.items()))
        raise DataError(
            f"{file.path}: {len(differing)} images have two {words}, first {path}: {one} and {other}; keep one row for "
            "each image"
        )
