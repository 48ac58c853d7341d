"""From names in a list or table to image files: folders, suffixes and separators as other machines write them.

Names that lead to files as they stand are taken so. Else each way in which a name was found is told with its count, and
a name that could mean two files is refused.
"""

from __future__ import annotations

import functools
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from trainers.config import TaskConfig
from trainers.data.image_files import is_image_name, is_junk_name
from trainers.data.images import find_missing
from trainers.data.pool import SplitName
from trainers.data.split_words import split_of
from trainers.errors import DataError

_WAYS = {  # in which a name may differ from its file
    "written": "{n} names of images have a leading slash, backslashes or a drive, which were {mended}",
    "suffix": "{n} names of images have no suffix; their files have {suffixes}",
    "case": "{n} names of images differ from their files in capitals",
    "place": "{n} images were found by name in {folders}",
    "prefix": "{n} names of images lead to {prefix!r}, which is not here; without these folders their files were found",
}
_PARENTS = 3  # folders above the list that are tried for a hint
_SAMPLE = 50


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The names of one split, and the file that lists them."""

    names: Sequence[str]
    listed_in: Path
    split: SplitName | None = None  # None: of a file that tells no split

    @cached_property
    def clean(self) -> list[str]:
        """The names with forward slashes, and without a leading slash or drive."""
        return [clean_name(name) for name in self.names]


@dataclass
class ImageFinder:
    """Finds the images of all lists or tables of one data set, and collects what must be told."""

    folder: Path  # of the lists or tables
    roots: tuple[Path, ...]
    suffix: str
    notes: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, task: TaskConfig, folder: Path) -> ImageFinder:
        """By the settings `task.image_root` and `task.suffix`. Raises DataError for a folder that is not there."""
        roots = tuple(folder / Path(root).expanduser() for root in task.image_root or ("",))
        for root, written in zip(roots, task.image_root or ("",), strict=True):
            if not root.is_dir():
                raise DataError(
                    f"{root}: there is no such folder of images; task.image_root ({written!r}) is relative to "
                    f"{folder}, the folder of task.data: correct it, or give the whole path"
                )
        suffix = (task.suffix or "").strip()
        return cls(folder, roots, suffix if suffix.startswith(".") or not suffix else f".{suffix}")

    def find(self, listing: Listing) -> list[str]:
        """The path of each image. Raises DataError if all are missing, or a name could mean several files."""
        found: dict[int, str] = {}
        paths = [str(self.roots[0] / self._with_suffix(name)) for name in listing.names]
        lost = set(find_missing(paths))
        if lost or len(self.roots) > 1:
            found = self._search(listing)
            paths = [found.get(index, path) for index, path in enumerate(paths)]
            self._check(paths, listing)
        return paths

    def _with_suffix(self, name: str) -> str:
        return name if name.lower().endswith(self.suffix.lower()) else name + self.suffix

    def _search(self, listing: Listing) -> dict[int, str]:
        """The paths of the names that can be found, by their index."""
        tally = _Tally()
        found = self._direct(listing, tally)
        rest = [index for index in range(len(listing.names)) if index not in found]
        bare = [index for index in rest if "/" not in listing.clean[index]]
        tried = bare if found else rest  # if some lead to files as they stand, folders in the others are meant
        found |= self._by_name(listing, {index: listing.clean[index] for index in tried}, tally)
        if not found and rest:
            found, tally = self._without_prefix(listing)
        self.notes += tally.notes()
        return found

    def _direct(self, listing: Listing, tally: _Tally) -> dict[int, str]:
        """Names that lead to a file from a root, as they stand or with slashes mended."""
        found = {}
        for index, name in enumerate(listing.names):
            for written in dict.fromkeys((name, listing.clean[index])):
                paths = [str(root / self._with_suffix(written)) for root in self.roots]
                there = [path for path in dict.fromkeys(paths) if _is_file(path)]
                if len(there) > 1:
                    raise DataError(_ambiguous(listing, name, there))
                if there:
                    found[index] = there[0]
                    tally.add("written", "mended" if written != name else None)
                    break
        return found

    def _by_name(self, listing: Listing, names: Mapping[int, str], tally: _Tally) -> dict[int, str]:
        """Names that are the end of exactly one path below the roots; a suffix may be missing."""
        found, doubtful = {}, dict[str, list[str]]()
        for index, name in names.items():
            paths = self._index.matches(self._with_suffix(name), listing.split)
            if len(paths) > 1:
                doubtful[listing.names[index]] = paths
            elif paths:
                found[index] = paths[0]
                self._count(name, self._index.inside(paths[0]), tally)
        if doubtful:
            name, paths = next(iter(doubtful.items()))
            raise DataError(_ambiguous(listing, name, paths, count=len(doubtful)))
        return found

    def _count(self, name: str, inside: str, tally: _Tally) -> None:
        """Notes how the name differs from the path of its file from a root."""
        if not inside.endswith(self._with_suffix(name)):
            way = "case" if inside.lower().endswith(name.lower()) else "suffix"
            tally.add(way, f".{inside.rpartition('.')[2]}")
        folders = inside.split("/")[1 : -len(name.split("/"))]
        tally.add("place", "/".join(folders) or None)

    def _without_prefix(self, listing: Listing) -> tuple[dict[int, str], _Tally]:
        """Names of which the folders that all of them share, or the first of these, are of another machine."""
        shared, best = _shared_folders(listing.clean), (dict[int, str](), _Tally())
        for depth in range(1, len(shared) + 1):
            tally = _Tally(prefix="/".join(shared[:depth]))
            shorter = {index: "/".join(name.split("/")[depth:]) for index, name in enumerate(listing.clean)}
            found = self._by_name(listing, shorter, tally)
            tally.counts["prefix"] = len(found)
            if len(found) > len(best[0]):
                best = found, tally
        return best

    def _check(self, paths: Sequence[str], listing: Listing) -> None:
        missing = find_missing(paths)
        if len(missing) < len(paths):  # of some, all are listed with the other bad files
            return
        raise DataError(
            f"{listing.listed_in}: {len(missing)} of {len(paths)} image files are missing or empty, first "
            f"{missing[0]}; restore them, remove them from the list, or say where they are with "
            f"--set task.image_root=DIR{self._hint(listing)}"
        )

    def _hint(self, listing: Listing) -> str:
        """The folder above the list from which all names would be found."""
        sample = listing.clean[:: max(1, len(listing.clean) // _SAMPLE)]
        for parent in list(self.folder.resolve().parents)[:_PARENTS]:
            if all(_is_file(str(parent / self._with_suffix(name))) for name in sample):
                return f" (from {parent} they would be found)"
        return ""

    @cached_property
    def _index(self) -> _Index:
        return _Index(self.roots)


@dataclass
class _Tally:
    """How many names were found in each way."""

    counts: Counter[str] = field(default_factory=Counter)
    details: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    prefix: str = ""

    def add(self, way: str, detail: str | None) -> None:
        """Counts one; a way without a detail is none."""
        if detail is not None:
            self.counts[way] += 1
            self.details[way][detail] += 1

    def notes(self) -> list[str]:
        """One sentence a way."""
        told = {
            "mended": "left out or turned",
            "suffixes": _joined(self.details["suffix"]),
            "folders": _joined(self.details["place"]),
            "prefix": self.prefix,
        }
        return [text.format(n=self.counts[way], **told) for way, text in _WAYS.items() if self.counts[way]]


class _Index:
    """The image files below some folders, by name."""

    def __init__(self, roots: Sequence[Path]) -> None:
        self._whole: dict[str, str] = {}  # by the path from the root, with a leading slash
        self._by_name = defaultdict[str, list[str]](list)
        self._by_stem = defaultdict[str, list[str]](list)
        for root in roots:
            for inside in image_files(root):
                self._add(f"{root.as_posix()}{inside}", inside)

    def _add(self, whole: str, inside: str) -> None:
        name = inside.rpartition("/")[2].lower()
        self._whole[whole] = inside
        self._by_name[name].append(whole)
        self._by_stem[name.rpartition(".")[0]].append(whole)

    def inside(self, path: str) -> str:
        """The path from its root, with a leading slash."""
        return self._whole[path]

    def matches(self, name: str, split: SplitName | None) -> list[str]:
        """Paths that end with the name: whole, else without their suffix, else in other capitals.

        Of several, those in a folder of the split's own name count; those in folders of another split never do.
        """
        last = name.rpartition("/")[2].lower()
        whole = {path: self._whole[path] for path in self._by_name.get(last, ())}
        stems = {path: self._whole[path].rpartition(".")[0] for path in self._by_stem.get(last, ())}
        ways = (
            [path for path, inside in whole.items() if inside.endswith(f"/{name}")],
            [path for path, inside in stems.items() if inside.endswith(f"/{name}")],
            [path for path, inside in whole.items() if inside.lower().endswith(f"/{name.lower()}")],
            [path for path, inside in stems.items() if inside.lower().endswith(f"/{name.lower()}")],
        )
        found = next((each for each in ways if each), [])
        return found if split is None else _of_split({path: self._whole[path] for path in found}, split)


def clean_name(name: str) -> str:
    """A name with forward slashes, and without a drive, a leading slash or `./`."""
    parts = name.strip().replace("\\", "/").split("/")
    if parts[0][1:] == ":" and parts[0][:1].isalpha():
        parts = parts[1:]
    return "/".join(part for part in parts if part not in ("", "."))


def _of_split(paths: Mapping[str, str], split: SplitName) -> list[str]:
    said = {path: _splits_said(inside.rpartition("/")[0]) for path, inside in paths.items()}
    allowed = [path for path in paths if split in said[path] or not said[path]]
    own = [path for path in allowed if split in said[path]]
    return own if len(allowed) > 1 and own else allowed


@functools.cache
def _splits_said(folders: str) -> set[SplitName | None]:
    """The splits that the folders of a path name."""
    return {split_of(folder) for folder in folders.split("/")} - {None}


def image_files(root: Path) -> Iterator[str]:
    """Image files below a folder as `/path/from/it`, through links but in no circle, in the order of their names."""
    entered = set[str]()
    for place, folders, files in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not is_junk_name(name))
        real = os.path.realpath(place)
        if real in entered:
            folders.clear()
            continue
        entered.add(real)
        inside = Path(place).relative_to(root).as_posix().removeprefix(".")
        yield from (f"{'/' * bool(inside)}{inside}/{name}" for name in sorted(files) if is_image_name(name))


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):  # a name that is too long, or holds a NUL
        return False


def _shared_folders(names: Sequence[str]) -> list[str]:
    """The folders with which all names begin."""
    shared = names[0].split("/")[:-1]
    for name in names:
        parts = name.split("/")[:-1]
        same = next((k for k, pair in enumerate(zip(shared, parts, strict=False)) if pair[0] != pair[1]), None)
        shared = shared[: min(len(shared), len(parts)) if same is None else same]
    return shared


def _ambiguous(listing: Listing, name: str, paths: Sequence[str], *, count: int = 1) -> str:
    several = f"{count} names each mean" if count > 1 else "a name means"
    return (
        f"{listing.listed_in}: {several} several files, first {name!r}: {' and '.join(sorted(paths)[:2])}; say which "
        "folder is meant with --set task.image_root=DIR, the suffix with --set task.suffix=.png, or write the folders "
        "in the list"
    )


def _joined(counts: Mapping[str, int], most: int = 5) -> str:
    names = sorted(counts)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
