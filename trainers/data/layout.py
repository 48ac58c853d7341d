"""What the folders of a data set are: the terms in which layout_splits.py and layout_classes.py read them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import NoReturn

from trainers.data.folder_tree import Folder
from trainers.data.pool import SplitName
from trainers.data.split_words import split_of
from trainers.errors import DataError

ClassFolders = list[tuple[str, Folder]]  # by the name of the class; may hold no image

_DOCUMENT_SUFFIXES = (
    ".txt .md .rst .csv .tsv .json .jsonl .xml .yaml .yml .toml .cfg .html .pdf .doc .docx .xls .xlsx .log .py .ipynb "
    ".sh .zip .tar .gz .tgz .7z .parquet .npz .pkl .pt .pth .h5 .mat .db .sqlite"
)
_DOCUMENTS = frozenset(_DOCUMENT_SUFFIXES.split())


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """The class folders of each split, and what is not used."""

    base: Folder  # holds the splits or the classes
    classes: Mapping[SplitName, ClassFolders]
    unused: tuple[tuple[Folder, str], ...] = ()  # with images; and why
    notes: tuple[str, ...] = ()

    def with_note(self, note: str) -> Layout:
        """The same layout and one more sentence about it."""
        return replace(self, notes=(note, *self.notes))


def inner(folder: Folder, *, through_splits: bool) -> Folder:
    """The folder that holds several: steps into each that is the only one with images, as in archive/data/."""
    deepest = folder
    while len(below := deepest.with_images()) == 1 and (through_splits or split_of(below[0].name) is None):
        deepest = below[0]
    return deepest if below else folder  # which is a single class


def class_folders(folder: Folder, *, but: Collection[str] = ()) -> ClassFolders:
    """The folders directly in it that are classes, one without images too unless it holds documents or is a split."""
    return [
        (each.name, each) for each in folder.folders if each.name not in but and (each.has_images() or _lacks(each))
    ]


def _lacks(folder: Folder) -> bool:
    """Whether images seem to be missing from a folder without any."""
    return not holds_documents(folder) and (folder.count_files() > 0 or split_of(folder.name) is None)


def holds_documents(folder: Folder) -> bool:
    """Whether it holds files of a kind that no image has, and nothing else."""
    names = [name for each in folder.all_folders() for name, _ in each.odd]
    return bool(names) and all(PurePath(name).suffix.lower() in _DOCUMENTS for name in names)


def listed(folders: Sequence[Folder], most: int = 5) -> str:
    """A few folders by name: `ant/, bee/ and 3 more`."""
    names = ", ".join(f"{folder.shown_name}/" for folder in folders[:most])
    return names + (f" and {len(folders) - most} more" if len(folders) > most else "")


def refuse_two_readings(base: Folder, *, splits: str, classes: str, also: str = "") -> NoReturn:
    """Raises DataError with both readings and the switch."""
    raise DataError(
        f"{base.path}: its folders can be read in two ways. With task.layout=splits, {splits}; with "
        f"task.layout=classes, {classes}; set one of them{also}"
    )
