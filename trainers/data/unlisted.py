"""Images that lie beside those that a list or table names, and that no row names."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from trainers.data.image_files import is_image_name
from trainers.data.image_paths import image_files
from trainers.data.shown_names import shown

_SHOWN = 3


def unlisted_notes(folder: Path, used: Iterable[str], *, whole: bool) -> list[str]:
    """A sentence with the number of such images and their places; none without any.

    Looked through are the folders of the used images and, if the data is the `whole` folder, all below it.
    """
    named, real = defaultdict[Path, set[str]](set), defaultdict[str, set[str]](set)
    for path in used:
        place, name = os.path.split(path)
        named[Path(place)].add(name)
    for folder_of_images, names in named.items():  # which may be reached in several ways
        real[os.path.realpath(folder_of_images)] |= names
    left = dict[str, list[Path]]()
    for place_found, found in _looked_through(folder, named, whole=whole):
        where = os.path.realpath(place_found)
        left[where] = [place_found / name for name in found if name not in real[where]]
    paths = [path for others in left.values() for path in others]
    return [_sentence(folder, paths)] if paths else []


def _looked_through(folder: Path, named: Iterable[Path], *, whole: bool) -> Iterator[tuple[Path, list[str]]]:
    """Folders with the images in them. One may come twice."""
    for place in named:
        if place.is_dir() and not (whole and place.is_relative_to(folder)):
            yield place, sorted(entry.name for entry in os.scandir(place) if is_image_name(entry.name))
    if whole:
        below = defaultdict[str, list[str]](list)
        for inside in image_files(folder):
            place_inside, _, name = inside.rpartition("/")
            below[place_inside].append(name)
        yield from ((Path(f"{folder}{inside}"), names) for inside, names in below.items())


def _sentence(folder: Path, paths: Sequence[Path]) -> str:
    places = Counter(_shown(path.parent, folder) for path in paths)
    listed = ", ".join(f"{place}/ {count:,}" for place, count in places.most_common(_SHOWN))
    more = f" and {len(places) - _SHOWN} more folders" if len(places) > _SHOWN else ""
    number = "1 image" if len(paths) == 1 else f"{len(paths):,} images"
    return f"not used: {number} that no row names ({listed}{more}), first {_shown(paths[0], folder)}"


def _shown(path: Path, root: Path) -> str:
    return shown(path, root if path.is_relative_to(root) else Path(path.anchor))
