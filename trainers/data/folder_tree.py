"""A folder and all below it, read once: images by name, what else there is, and where links lead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from trainers.data.image_files import is_image_name, is_junk_name
from trainers.data.shown_names import printable
from trainers.errors import DataError

Odd = Literal["other", "broken", "repeated", "special"]  # other file; link to nothing; link to a folder read already


@dataclass(frozen=True, kw_only=True, eq=False)
class Folder:
    """A folder without its junk. Its lists are sorted by name."""

    path: Path
    images: list[str] = field(default_factory=list)
    odd: list[tuple[str, Odd]] = field(default_factory=list)
    folders: list[Folder] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.name

    @property
    def shown_name(self) -> str:
        """The name for a message."""
        return printable(self.path.name)

    def all_folders(self) -> Iterator[Folder]:
        """This folder and all below it."""
        waiting = [self]
        while waiting:
            folder = waiting.pop()
            yield folder
            waiting += reversed(folder.folders)

    def has_images(self) -> bool:
        """Whether an image lies in it or below."""
        return any(folder.images for folder in self.all_folders())

    def count_images(self) -> int:
        """Images in it and below."""
        return sum(len(folder.images) for folder in self.all_folders())

    def count_files(self) -> int:
        """Images and all else in it and below, without junk."""
        return sum(len(folder.images) + len(folder.odd) for folder in self.all_folders())

    def image_paths(self) -> list[Path]:
        """Images in it and below, in the order of their paths."""
        return sorted(folder.path / name for folder in self.all_folders() for name in folder.images)

    def with_images(self) -> list[Folder]:
        """The folders directly in it that have images in them or below."""
        return [folder for folder in self.folders if folder.has_images()]


def read_tree(root: Path) -> Folder:
    """Reads a folder and all below it. A link to a folder is followed unless that folder is read anyway.

    Raises DataError for a folder that cannot be read.
    """
    tree = Folder(path=root)
    seen = {_identity(root)}
    links = _read_below(tree, seen)
    above = set(map(_identity, root.resolve().parents))  # a link to one of these would lead back here
    while links:
        folder, name = links.pop(0)
        target = folder.path / name
        if _identity(target) in seen | above:
            folder.odd.append((name, "repeated"))
            folder.odd.sort()
            continue
        seen.add(_identity(target))
        linked = Folder(path=target)
        folder.folders.append(linked)
        folder.folders.sort(key=lambda each: each.name)
        links += _read_below(linked, seen)
    return tree


def _read_below(top: Folder, seen: set[tuple[int, int]]) -> list[tuple[Folder, str]]:
    """Fills a folder and those below it, and returns the links to folders found there."""
    links, waiting = list[tuple[Folder, str]](), [top]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(folder.path):
            if entry.is_dir(follow_symlinks=False):
                below = Folder(path=folder.path / entry.name)
                seen.add(_identity(below.path))
                folder.folders.append(below)
            elif _leads_to_folder(entry):
                links.append((folder, entry.name))
            elif (kind := _kind(entry)) is None:
                folder.images.append(entry.name)
            else:
                folder.odd.append((entry.name, kind))
        waiting += reversed(folder.folders)
    return links


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return sorted((each for each in entries if not is_junk_name(each.name)), key=lambda each: each.name)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the folder and its permissions") from error


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the folder and its permissions") from error
    return found.st_dev, found.st_ino


def _leads_to_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a loop of links
        return False


def _kind(entry: os.DirEntry[str]) -> Odd | None:
    """None for an image."""
    try:
        if entry.is_file():
            return None if is_image_name(entry.name) else "other"
    except OSError:  # a loop of links
        return "broken"
    return "broken" if entry.is_symlink() and not Path(entry.path).exists() else "special"
