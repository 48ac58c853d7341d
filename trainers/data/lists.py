"""Lists of images: the community's text files with `path label` lines, and CSV."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from trainers.config import TaskConfig
from trainers.data.folders import check_present, read_class_names
from trainers.data.groups import has_group_column
from trainers.data.images import FileImages
from trainers.data.pool import Normalization, RawPool, Source, SplitName, build_source, data_path
from trainers.errors import DataError

ListedImage = tuple[str, str, str | None]  # path, label, group

_LISTS: dict[str, dict[SplitName, str]] = {
    "lists": {"train": "train.txt", "val": "val.txt", "test": "test.txt"},
    "imagenet-lt": {"train": "ImageNet_LT_train.txt", "val": "ImageNet_LT_val.txt", "test": "ImageNet_LT_test.txt"},
    "places-lt": {"train": "Places_LT_train.txt", "val": "Places_LT_val.txt", "test": "Places_LT_test.txt"},
    # no labelled test set is public: papers test on the official validation set
    "inaturalist18": {"train": "iNaturalist18_train.txt", "test": "iNaturalist18_val.txt"},
}
_NORMALIZATION: dict[str, Normalization] = {
    "inaturalist18": ((0.466, 0.471, 0.380), (0.195, 0.194, 0.192)),  # classifier-balancing (Kang et al. 2020)
}
_NOTES = {"inaturalist18": ("test is the official validation set; selection uses images held out of training",)}
_WHOLE = re.compile(r"-?\d{1,19}")
_SPLIT_WORDS: dict[str, SplitName] = {
    "": "train", "train": "train", "val": "val", "validation": "val", "valid": "val", "test": "test",
}  # fmt: skip


def read_lists(task: TaskConfig) -> Source:
    """Reads lists in `task.data`, with paths relative to it; only training's is required. Raises DataError."""
    folder = data_path(task)
    files = _LISTS[task.dataset]
    entries = {split: _parse(folder / name) for split, name in files.items() if (folder / name).is_file()}
    if "train" not in entries:
        raise DataError(f"{folder}: there must be a list {files['train']}; put it there, or correct --data DIR")
    names = read_class_names(folder) or _names_from_paths(entries["train"])
    pools = {split: _pool_of_entries(found, folder / files[split], folder) for split, found in entries.items()}
    return build_source(
        pools, names, normalization=_NORMALIZATION.get(task.dataset), notes=_NOTES.get(task.dataset, ())
    )


def read_csv(task: TaskConfig) -> Source:
    """Reads a CSV with header `path,label[,split]`, or a folder with train.csv[, val.csv][, test.csv].

    Paths are relative to the file's folder; split is train, val or test, and empty means train. Raises DataError.
    """
    path = data_path(task)
    entries: dict[SplitName, list[ListedImage]] = defaultdict(list)
    named: dict[SplitName, Path] = {}
    for file, whole in _csv_files(path):
        for split, entry in _parse_csv(file, whole, task.group):
            entries[split].append(entry)
            named[split] = file
    if "train" not in entries:
        raise DataError(f"{path}: there must be training images, but no row has split 'train' or none")
    folder = path if path.is_dir() else path.parent
    return build_source(
        {split: _pool_of_entries(found, named[split], folder) for split, found in entries.items()},
        read_class_names(folder),
    )


def _parse(path: Path) -> list[ListedImage]:
    entries = list[ListedImage]()
    text = path.read_text(encoding="utf-8", errors="surrogateescape")  # paths may be in any encoding
    for number, line in enumerate(text.splitlines(), 1):
        words = line.rsplit(maxsplit=1)
        if not words:
            continue
        if len(words) < 2 or not _WHOLE.fullmatch(words[1]):
            raise DataError(
                f"{path}:{number}: a line is `path label` with a whole number, but this one is {line[:200]!r}"
            )
        entries.append((words[0].strip(), words[1], None))
    if not entries:
        raise DataError(f"{path}: the list is empty; it needs `path label` lines")
    return entries


def _csv_files(path: Path) -> list[tuple[Path, SplitName | None]]:
    """CSV files, each with the split that its name says, if any."""
    if path.is_file():
        return [(path, None)]
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    named = [(path / f"{split}.csv", split) for split in splits if (path / f"{split}.csv").is_file()]
    single = sorted(file for file in path.glob("*.csv") if file.is_file())
    if named:
        return list(named)
    if len(single) != 1:
        raise DataError(f"{path}: there must be a train.csv or exactly one CSV file, but there are {len(single)}")
    return [(single[0], None)]


def _parse_csv(path: Path, whole: SplitName | None, group: str | None) -> list[tuple[SplitName, ListedImage]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as handle:
            return list(_csv_rows(csv.DictReader(handle, skipinitialspace=True), path, whole, group))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the file and its permissions") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not readable as UTF-8 with commas ({error}); save it so") from error


def _csv_rows(
    reader: csv.DictReader[str], path: Path, whole: SplitName | None, group: str | None
) -> Iterator[tuple[SplitName, ListedImage]]:
    for column in ("path", "label"):
        if column not in (reader.fieldnames or ()):
            found = ", ".join(map(repr, reader.fieldnames or ())) or "none"
            raise DataError(f"{path}: there must be a column {column!r} in the header, but there are {found}")
    grouped = has_group_column(reader.fieldnames or (), group, str(path))
    for row in reader:
        word = (row.get("split") or "").strip().lower()
        if not row["path"] or not row["label"] or word not in _SPLIT_WORDS:
            raise DataError(
                f"{path}:{reader.line_num}: a row needs a path, a label and no split or one of train, val, test, "
                f"but got {dict(row)}"
            )
        belongs = (row[group] or "") if grouped and group else None
        yield whole or _SPLIT_WORDS[word], (row["path"], row["label"].strip(), belongs)


def _pool_of_entries(entries: Sequence[ListedImage], listed_in: Path, folder: Path) -> RawPool:
    paths = [str(folder / path) for path, _, _ in entries]
    check_present(paths, listed_in)
    groups = [group for _, _, group in entries] if entries[0][2] is not None else None
    return RawPool(images=FileImages(tuple(paths)), labels=_numbers([label for _, label, _ in entries]), groups=groups)


def _numbers(labels: list[str]) -> list[int] | list[str]:
    """Labels as numbers if all are numbers, else as text."""
    try:
        return [int(label) for label in labels]
    except ValueError:
        return labels


def _names_from_paths(entries: Sequence[ListedImage]) -> list[str] | None:
    """Class names from folders, if folders and classes match one to one; else None."""
    folders: Mapping[int, set[str]] = defaultdict(set)
    for path, label, _ in entries:
        folders[int(label)].add(PurePosixPath(path).parent.name)
    labels = range(len(folders))
    if set(folders) != set(labels) or any(len(folders[label]) != 1 for label in labels):
        return None
    names = [next(iter(folders[label])) for label in labels]
    return names if len(set(names)) == len(names) and all(names) else None
