"""The community's list files: text with `path label` lines."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from trainers.config import TaskConfig
from trainers.data.class_names import class_file
from trainers.data.image_files import IMAGE_SUFFIXES
from trainers.data.image_paths import clean_name
from trainers.data.labels import Names
from trainers.data.listed_images import ListedImage, ListFile, listed_source
from trainers.data.pool import Normalization, Source, SplitName, data_path
from trainers.data.split_words import split_of
from trainers.data.text_files import DecodedText, read_raw_text, read_text
from trainers.errors import DataError

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
_NUMBER = re.compile(r"-?\d{1,300}(\.0*)?")
_NUMBERED = re.compile(r"(?P<path>\S.*?)\s*[\s,;]\s*(?P<label>-?\d{1,300}(\.0*)?)")
_BY_NAME = re.compile(
    rf"(?P<path>\S.*?(?:{'|'.join(map(re.escape, sorted(IMAGE_SUFFIXES, key=len, reverse=True)))}))"
    r"(?:\s*[,;]\s*|\s+)(?P<label>\S.*)",
    re.IGNORECASE,
)


def read_lists(task: TaskConfig) -> Source:
    """Reads lists in `task.data`, or one list; only training's is required. Raises DataError.

    Paths are relative to `task.image_root`, else to the list's folder. A label is a number, or a name after the suffix
    of the image or a tab.
    """
    data = data_path(task)
    folder = data if data.is_dir() else data.parent
    paths, notes = _find_files(data, task)
    files = [_parse(path, split, folder) for split, path in paths.items()]
    classes, train = class_file(folder), files[0].entries
    names = classes.for_labels(entry.label for entry in train) or _names_from_paths(train)
    return listed_source(
        files,
        task,
        folder=folder,
        names=names,
        normalization=_NORMALIZATION.get(task.dataset),
        notes=(*_NOTES.get(task.dataset, ()), *notes, *classes.notes),
    )


def _find_files(data: Path, task: TaskConfig) -> tuple[dict[SplitName, Path], list[str]]:
    """The list of each split, training's first; and which others lie beside them."""
    if data.is_file():
        return {"train": data}, []
    wanted = _LISTS[task.dataset]
    found = {split: data / name for split, name in wanted.items() if (data / name).is_file()}
    lists = sorted(path for path in data.glob("*.txt") if path.is_file() and path.name != "classes.txt")
    if task.dataset == "lists":
        for split in (split for split in wanted if split not in found):
            alike = [path for path in lists if split_of(path.stem) == split]
            if len(alike) > 1:
                named = ", ".join(path.name for path in alike)
                raise DataError(f"{data}: {named} could each be the {split} list; leave one, or name it {split}.txt")
            if alike:
                found[split] = alike[0]
    if "train" not in found:
        beside = f", but there are only {', '.join(path.name for path in lists)}" if lists else ""
        raise DataError(f"{data}: there must be a list {wanted['train']}{beside}; put it there, or correct --data DIR")
    others = [path.name for path in lists if path not in found.values() and split_of(path.stem)]
    return {split: found[split] for split in wanted if split in found}, (
        [f"not used: {', '.join(others)}"] if others and task.dataset == "lists" else []
    )


def _parse(path: Path, split: SplitName, folder: Path) -> ListFile:
    """The rows of a list. Raises DataError."""
    raw = read_raw_text(path)
    if raw is not None:
        entries = tuple(_entries(raw, path))
        strange = next((entry for entry in entries if not entry.name.isprintable()), None)
        if strange is not None and (folder / strange.name).is_file():  # such names are on this disk
            return ListFile(path=path, split=split, entries=entries)
    text = read_text(path)
    rows = tuple(_entries(text, path))
    if not rows:
        raise DataError(f"{path}: the list is empty; it needs `path label` lines")
    return ListFile(path=path, split=split, entries=rows, notes=text.notes)


def _entries(text: DecodedText, path: Path) -> Iterator[ListedImage]:
    """The rows, skipping empty lines. Raises DataError with the line, also for a name among numbers."""
    numbered = False
    for number, line in enumerate(map(str.strip, text.lines), 1):
        found = _entry(line) if line else None
        numbered = numbered or (found is not None and _NUMBER.fullmatch(found.label) is not None)
        if line and (found is None or (numbered and not _NUMBER.fullmatch(found.label))):
            raise DataError(
                f"{path}:{number}: a line is `path label`, with a whole number, or with a name after the suffix of the "
                f"image or a tab, but this one is {line[:200]!r}"
            )
        if found is not None:
            yield found


def _entry(line: str) -> ListedImage | None:
    name, tab, label = line.rpartition("\t")
    if not tab or not name.strip():
        match = _NUMBERED.fullmatch(line) or _BY_NAME.fullmatch(line)
        if match is None:
            return None
        name, label = match["path"], match["label"]
    name, label = (word.strip() for word in (name, label))
    if name[0] == name[-1] == '"' and len(name) > 2:
        name = name[1:-1]
    return ListedImage(name, label.strip('"'))


def _names_from_paths(entries: Sequence[ListedImage]) -> Names | None:
    """Class names from folders, by number, if folders and numbers match one to one; else None."""
    folders: Mapping[str, set[str]] = defaultdict(set)
    for name, label, _ in entries:
        folders[label].add(clean_name(name).rpartition("/")[0].rpartition("/")[2])
    if not all(_NUMBER.fullmatch(label) for label in folders) or any(len(found) != 1 for found in folders.values()):
        return None
    names = {int(label.partition(".")[0]): next(iter(found)) for label, found in folders.items()}
    return names if len(set(names.values())) == len(names) == len(folders) and all(names.values()) else None
