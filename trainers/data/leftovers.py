"""What lies in an image folder and is not used, in sentences. Their leading numbers add up to all such files."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator
from pathlib import Path

from trainers.data.folder_tree import Folder
from trainers.data.layout import Layout, holds_documents
from trainers.data.shown_names import shown, suffix_counts
from trainers.data.split_words import split_of
from trainers.errors import DataError

_KINDS = {  # what to call them, what they are, and the way out
    "in classes": ("file", "in class folders, of no format that is read", "; save images as PNG"),
    "beside": ("file", "outside the class folders", ""),
    "broken": ("link", "to nothing", "; fetch what is missing"),
    "repeated": ("link", "to a folder that is read already, or that holds this one", ""),
    "special": ("entry", "that is no plain file", ""),
}


def leftover_notes(tree: Folder, layout: Layout, *, read: Collection[Path]) -> tuple[str, ...]:
    """A sentence for each kind of file in `tree` that is neither an image of a class nor in `read`."""
    root = tree.path
    unused = {folder.path: reason for folder, reason in layout.unused}
    odd, loose, whole = defaultdict[str, list[Path]](list), list[Folder](), list[Folder]()
    for folder, inside in _used_folders(tree, layout):
        if folder.path in unused:
            whole.append(folder)
            continue
        if folder.images and not inside:
            loose.append(folder)
        for name, kind in folder.odd:
            if folder.path / name not in read:
                odd[kind if kind != "other" else "in classes" if inside else "beside"].append(folder.path / name)
    return (
        *(_of_files(kind, odd[kind], root) for kind in _KINDS if odd[kind]),
        *(_of_loose(folder, root) for folder in loose),
        *(_of_folder(folder, unused[folder.path], root) for folder in whole),
        *_of_deeper(layout, root),
        *_of_empty(layout, root),
    )


def check_lost(layout: Layout) -> None:
    """Raises DataError for a class or split folder whose files are all of formats that are not read."""
    splits = [folder for folder in layout.base.folders if split_of(folder.name)]
    for folder in [*(each for _, each in layout.classes["train"]), *splits]:
        if folder.count_files() and not folder.has_images() and not holds_documents(folder):
            odd = [name for each in folder.all_folders() for name, _ in each.odd]
            raise DataError(
                f"{folder.path}: there must be images in it, but {_number(len(odd), 'file')} of no format that is "
                f"read, or links to nothing ({suffix_counts(odd)}); save images as PNG, or move the folder away"
            )


def _used_folders(tree: Folder, layout: Layout) -> Iterator[tuple[Folder, bool]]:
    """All folders outside those that are not used, which come without the folders in them; and if in a class."""
    classes = {folder.path for folders in layout.classes.values() for _, folder in folders}
    unused = {folder.path for folder, _ in layout.unused}
    waiting = [(tree, False)]
    while waiting:
        folder, inside = waiting.pop()
        yield folder, inside
        if folder.path not in unused:
            waiting += [(each, inside or each.path in classes) for each in reversed(folder.folders)]


def _of_files(kind: str, paths: list[Path], root: Path) -> str:
    thing, what, way_out = _KINDS[kind]
    suffixes = suffix_counts([path.name for path in paths])
    return f"not used: {_number(len(paths), thing)} {what} ({suffixes}), first {shown(paths[0], root)}{way_out}"


def _of_loose(folder: Folder, root: Path) -> str:
    place = "the folder itself" if folder.path == root else f"{shown(folder.path, root)}/"
    first = shown(folder.path / folder.images[0], root)
    return f"not used: {_number(len(folder.images), 'image')} directly in {place}, in no class folder, first {first}"


def _of_folder(folder: Folder, reason: str, root: Path) -> str:
    files, images = folder.count_files(), folder.count_images()
    held = _number(images, "image") if files == images else f"{_number(files, 'file')} ({_number(images, 'image')})"
    return f"not used: {held} in {shown(folder.path, root)}/, {reason}"


def _of_deeper(layout: Layout, root: Path) -> list[str]:
    """Class folders with folders of images in them."""
    classes = [folder for folders in layout.classes.values() for _, folder in folders]
    deeper = [each for folder in classes for each in folder.all_folders() if each is not folder and each.images]
    if not deeper:
        return []
    more = f" and {len(deeper) - 3:,} more" if len(deeper) > 3 else ""
    places = ", ".join(f"{shown(folder.path, root)}/" for folder in deeper[:3])
    return [f"images in folders within a class folder ({places}{more}) count to the class"]


def _of_empty(layout: Layout, root: Path) -> list[str]:
    empty = [folder for folder in layout.base.folders if split_of(folder.name) and not folder.has_images()]
    return [
        f"{shown(folder.path, root)}/ holds no image, so it is no {split_of(folder.name)} split" for folder in empty
    ]


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing if count == 1 else {'entry': 'entries'}.get(thing, thing + 's')}"
