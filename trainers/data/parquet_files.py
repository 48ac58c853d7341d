"""Which parquet files of a folder are the splits: one file each, shards, and the folders of Hugging Face's exports."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainers.data.image_files import is_junk_name
from trainers.data.pool import SplitName
from trainers.data.shards import check_shards
from trainers.data.split_words import split_of
from trainers.errors import DataError

_DOCUMENTED: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}
_SHARD = re.compile(r"(?P<stem>.*?)[-_.]?\d{3,}(?:[-_]of[-_]\d+)?(?:[-_][0-9a-f]{8,})?")
_PARTIAL = "partial-"  # Hugging Face's prefix for splits of which only the first part is exported
_DEPTH = 4  # config/data/train/0000.parquet
_SHOWN = 5


@dataclass(frozen=True)
class SplitFiles:
    """The files of each split, in order, and what must be told."""

    files: Mapping[SplitName, list[Path]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Series:
    """Files that belong together: one file, the shards of one name, or all files in the folder of a split."""

    split: SplitName
    place: str  # the folder of the data set, relative to the one that was given
    folder: str  # of the files
    stem: str
    shards: bool

    @property
    def rank(self) -> tuple[int, int]:
        """The documented names count before others, whole files before shards, and the folder before its `data`."""
        documented = _DOCUMENTED[self.split]
        if self.stem not in documented or self.folder not in (".", "data"):
            return 4, 0
        return (2 if self.shards else 0) + (self.folder == "data"), documented.index(self.stem)


def find_split_files(folder: Path) -> SplitFiles:
    """`train.parquet`, shards `train-00000-of-00002.parquet` (also in `data/`), or `config/train/0000.parquet`.

    Raises DataError if training's are missing, or if there are several sets of them.
    """
    series, others = _series(folder)
    places = sorted({each.place for each in series if each.split == "train"})
    if not places:
        raise DataError(_no_train(folder, [path for paths in series.values() for path in paths] + others))
    place = "." if "." in places else places[0]
    if place != "." and len(places) > 1:
        raise DataError(
            f"{folder}: there are {len(places)} data sets in it ({', '.join(places)}); choose one with "
            f"--data {folder / places[0]}"
        )
    chosen = {
        split: _best(folder, split, [each for each in series if _is_of(each, split, place)]) for split in _DOCUMENTED
    }
    files = {split: series[best] for split, best in chosen.items() if best is not None}
    for paths in files.values():
        check_shards(paths)
    used = {path for paths in files.values() for path in paths}
    unused = [path for paths in [*series.values(), others] for path in paths if path not in used]
    notes = [] if place == "." else [f"the parquet files are read from the folder {place}"]
    if any(each is not None and _PARTIAL in each.folder for each in chosen.values()):
        notes.append(f"the folder's name ({_PARTIAL}...) says that only a part of the images is in it")
    if unused:
        notes.append(f"not used: {_names(folder, unused)}")
    return SplitFiles(files, tuple(notes))


def _is_of(series: _Series, split: SplitName, place: str) -> bool:
    return (series.split, series.place) == (split, place)


def _series(folder: Path) -> tuple[dict[_Series, list[Path]], list[Path]]:
    """All series, and the files that no split claims."""
    found, others = defaultdict[_Series, list[Path]](list), list[Path]()
    for path in _parquet_files(folder):
        series = _series_of(path.relative_to(folder))
        (others if series is None else found[series]).append(path)
    return dict(found), others


def _series_of(path: Path) -> _Series | None:
    shard = _SHARD.fullmatch(path.stem)
    stem = shard["stem"] if shard else path.stem
    folders = list(path.parent.parts)
    split, said = split_of(stem), False
    if split is None and folders:
        split, said = split_of(folders[-1].removeprefix(_PARTIAL)), True
    if split is None:
        return None
    around = folders[:-1] if said else folders
    place = Path(*(around[:-1] if around[-1:] == ["data"] else around)).as_posix()
    return _Series(split, place, path.parent.as_posix(), "" if said else stem, said or shard is not None)


def _best(folder: Path, split: SplitName, series: list[_Series]) -> _Series | None:
    """The series of a split that counts. Raises DataError if several could."""
    ranked = sorted(series, key=lambda each: each.rank)
    if len(ranked) > 1 and ranked[0].rank == ranked[1].rank:
        shown = [f"{each.folder}/{each.stem or '*'}".removeprefix("./") for each in ranked]
        raise DataError(f"{folder}: {', '.join(shown)} could each be {split}; leave one, or name it {split}.parquet")
    return ranked[0] if ranked else None


def _parquet_files(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        deep = len(Path(place).relative_to(folder).parts) >= _DEPTH - 1
        folders[:] = [] if deep else sorted(name for name in folders if not is_junk_name(name))
        for name in sorted(files):
            if name.lower().endswith(".parquet") and not is_junk_name(name):
                yield Path(place) / name


def _no_train(folder: Path, others: list[Path]) -> str:
    held = f"only {_names(folder, others)}" if others else "no parquet file"
    return f"{folder}: there must be a train.parquet, but there is {held}; name it so, or give the file"


def _names(folder: Path, paths: list[Path]) -> str:
    names = sorted(path.relative_to(folder).as_posix() for path in paths)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
