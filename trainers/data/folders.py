"""A folder per class, perhaps within a folder per split; layout.py says in which forms."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from trainers.config import LayoutName, TaskConfig
from trainers.data.class_names import class_file
from trainers.data.folder_tree import Folder, read_tree
from trainers.data.image_files import IMAGE_SUFFIXES
from trainers.data.images import FileImages, find_missing
from trainers.data.layout import ClassFolders, Layout, inner
from trainers.data.layout_classes import classes_in
from trainers.data.layout_splits import splits_in
from trainers.data.leftovers import check_lost, leftover_notes
from trainers.data.pool import RawPool, Source, build_source, data_path
from trainers.data.shown_names import suffix_counts
from trainers.data.split_words import splits_of
from trainers.errors import DataError


def read_folders(task: TaskConfig) -> Source:
    """Reads classes from folder names, in alphabetical order or the order of classes.txt beside them.

    What is not used is named in the notes. Raises DataError, also for what can be read in two ways.
    """
    root = data_path(task)
    if not root.is_dir():
        raise DataError(f"{root}: image-folder wants a folder, but this is a file; give the folder with --data DIR")
    tree = read_tree(root)
    layout = find_layout(tree, task.layout)
    read = next((place / "classes.txt" for place in (root, layout.base.path) if read_class_names(place)), None)
    folders = list(dict.fromkeys(name for name, _ in layout.classes["train"]))
    names, called = (folders, {}) if read is None else _named(folders, read)
    pools = {split: _pool_of_folders(each, root, called) for split, each in layout.classes.items()}
    notes = (*layout.notes, *leftover_notes(tree, layout, read=() if read is None else (read,)))
    notes += () if read is None else class_file(read.parent).notes
    return build_source(pools, names, notes=notes)


def find_layout(tree: Folder, asked: LayoutName) -> Layout:
    """The layout of a tree; `asked` decides what can be read in two ways. Raises DataError."""
    if not tree.has_images():
        _refuse_no_image(tree)
    base = inner(tree, through_splits=asked == "classes")
    words = {} if asked == "classes" else splits_of(folder.name for folder in base.with_images())
    layout = splits_in(base, words, asked) if words else classes_in(base, asked)
    check_lost(layout)
    return layout


def _refuse_no_image(tree: Folder) -> NoReturn:
    if not tree.folders and not tree.odd:
        raise DataError(f"{tree.path}: there must be a folder of images for each class, but there is none")
    odd = [name for folder in tree.all_folders() for name, _ in folder.odd]
    held = f"; it holds {suffix_counts(odd)}" if odd else ""
    raise DataError(f"{tree.path}: there is no image file in it ({', '.join(sorted(IMAGE_SUFFIXES))}){held}")


def read_class_names(folder: Path) -> list[str] | None:
    """The names and order of classes from classes.txt; None without one. Raises DataError if it cannot be read."""
    names = class_file(folder).names
    return None if names is None else list(names)


def _named(folders: list[str], listed_in: Path) -> tuple[list[str], dict[str, str]]:
    """Class names in the order of classes.txt, and those of folders that are the numbers in its lines.

    Raises DataError for a folder that it lacks.
    """
    names = class_file(listed_in.parent).for_labels(folders)
    if isinstance(names, Mapping):
        used = {int(folder): folder for folder in folders}
        return [names[number] for number in sorted(used)], {used[number]: names[number] for number in used}
    found = list(names or ())
    strange = [folder for folder in folders if folder not in found]
    if strange:
        raise DataError(
            f"{listed_in}: it must name every class folder, but {strange[0]!r} ({len(strange)} of {len(folders)}) is "
            f"not in it; it names {', '.join(map(repr, found[:5]))}{' ...' if len(found) > 5 else ''}; correct it, or "
            "move it away"
        )
    return found, {}


def check_present(paths: list[str], listed_in: Path) -> None:
    """Raises DataError if all image files are missing or empty; of some, all are listed with the other bad ones."""
    missing = find_missing(paths)
    if len(missing) == len(paths):
        raise DataError(
            f"{listed_in}: {len(missing)} of {len(paths)} image files are missing or empty, first {missing[0]}; "
            "restore them, correct the list, or give the right folder with --data DIR"
        )


def _pool_of_folders(folders: ClassFolders, root: Path, called: Mapping[str, str]) -> RawPool:
    files = [(str(path), called.get(name, name)) for name, folder in folders for path in folder.image_paths()]
    paths = [path for path, _ in files]
    check_present(paths, root)
    return RawPool(images=FileImages(tuple(paths)), labels=[label for _, label in files])
