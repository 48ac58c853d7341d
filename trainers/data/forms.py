"""Which data source reads a path: recognised by what lies there, not by names alone."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from trainers.config import DatasetName
from trainers.data.csv_tables import tables_in_splits
from trainers.data.folder_tree import read_tree
from trainers.data.folders import find_layout
from trainers.data.image_files import is_image_name, is_junk_name
from trainers.data.shown_names import printable
from trainers.data.sniffing import Kind, first_rows, kind_of
from trainers.data.split_words import split_of, splits_of
from trainers.errors import DataError

READ = (
    "what is read: a folder with one subfolder of images per class, parquet, CSV, npz, or list files "
    "(docs/data.md describes each)"
)
_COMMUNITY: dict[str, DatasetName] = {
    "ImageNet_LT_train.txt": "imagenet-lt",
    "Places_LT_train.txt": "places-lt",
    "iNaturalist18_train.txt": "inaturalist18",
}
_PICKLES: dict[str, DatasetName] = {"cifar-10-batches-py": "cifar10-lt", "cifar-100-python": "cifar100-lt"}
_DEPTH = 3  # folders below the path in which parquet files and classes are looked for
_NO_CLASS = re.compile(r"(.*[_-]?part[_-]?\d+|all|data|im|images?|imgs?|jpe?gs?|pngs?|photos|pictures)(_\w+)?", re.I)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A data source that can read the path, and by what it was recognised, in words."""

    dataset: DatasetName
    seen: str
    place: Path  # the folder or file that holds the data: the path itself, or one below it


def recognised(path: Path) -> Form:
    """The form of a file or folder.

    Raises DataError if nothing there can be read, with what was found; or if several forms fit, with the switch that
    decides. Raises OSError if the path cannot be looked into.
    """
    found = forms(path) or _by_layout(path)
    if not found:
        raise DataError(f"{path}: {_nothing(path)}; {READ}")
    if len(found) > 1:
        both = ", or ".join(f"{form.dataset} ({form.seen})" for form in found)
        ways = " or ".join(f"--dataset {form.dataset}" for form in found)
        raise DataError(f"{path}: it can be read as {both}; say which it is: {ways}")
    return found[0]


def forms(path: Path) -> list[Form]:
    """All forms that fit; a table or list that names the images of a folder does not make its folders classes."""
    return _forms_of_folder(path) if path.is_dir() else _forms_of_file(path)


def _by_layout(path: Path) -> list[Form]:
    """Class folders that lie deeper than a quick look goes. Raises DataError, also for what has two readings."""
    tree = read_tree(path) if path.is_dir() else None
    if tree is None or sum(bool(folder.images) for folder in tree.all_folders()) < 2:
        return []
    classes = [place for _, place in find_layout(tree, "auto").classes["train"]]
    inside = classes[0].path.parent.relative_to(path).as_posix()
    seen = f"{len(classes):,} folder{'s' if len(classes) > 1 else ''} with images"
    seen += "" if inside == "." else f" in {printable(inside)}/"
    return [Form(dataset="image-folder", seen=seen, place=path)]


def _forms_of_file(path: Path) -> list[Form]:
    kind = kind_of(path)
    if kind == "parquet":
        return [Form(dataset="parquet", seen="a parquet file", place=path)]
    if kind == "npz":
        return [Form(dataset="npz", seen="an archive of NumPy arrays", place=path)]
    if kind == "table":
        return [Form(dataset="csv", seen=_columns(path), place=path)]
    if kind == "list":
        raise DataError(f"{path}: a list of images is read with its folder; give {path.parent}")
    return []


def _forms_of_folder(folder: Path) -> list[Form]:
    names = {entry.name for entry in os.scandir(folder)}
    for name, dataset in _COMMUNITY.items():
        if name in names:
            return [Form(dataset=dataset, seen=name, place=folder)]
    for name, dataset in _PICKLES.items():
        if name in names or folder.name == name:
            return [Form(dataset=dataset, seen=f"{name}/, torchvision's files", place=folder)]
    looks: Sequence[Callable[[Path], Form | None]] = (_parquet, _npz, _lists, _table)
    found = [form for look in looks if (form := look(folder))]
    classes = _classes(folder)
    indexed = any(form.dataset in ("csv", "lists") for form in found)
    if classes and not (indexed and _are_parts(folder, classes)):
        found.append(_image_folder(folder, classes))
    return found


def _are_parts(folder: Path, classes: Sequence[Path]) -> bool:
    """True for folders that a table or list divides images among, such as `images_part_1`."""
    inside = classes[0].parent
    around = inside != folder and split_of(inside.name) is None
    return around or all(_NO_CLASS.fullmatch(place.name) for place in classes)


def _parquet(folder: Path) -> Form | None:
    files = [
        path for path in _files(folder, _DEPTH) if path.suffix.lower() == ".parquet" and kind_of(path) == "parquet"
    ]
    if not files:
        return None
    long_tailed = _long_tailed_cifar(files)
    seen = _few([path.relative_to(folder).as_posix() for path in files], "parquet file")
    return Form(dataset=long_tailed or "parquet", seen=seen, place=folder)


def _long_tailed_cifar(files: Sequence[Path]) -> DatasetName | None:
    """CIFAR as released for one imbalance factor, which has no train.parquet."""
    if any(path.name.startswith("train.") for path in files):
        return None
    cut = next((path for path in files if re.fullmatch(r"train_if\d+\.parquet", path.name)), None)
    names = _class_names(cut) if cut else 0
    return "cifar10-lt" if names == 10 else "cifar100-lt" if names == 100 else None


def _class_names(path: Path) -> int:
    """How many classes the schema of a parquet file names; 0 if it names none."""
    try:
        metadata = pq.read_schema(path).metadata or {}
        return len(json.loads(metadata[b"class_names"]))
    except (pa.ArrowException, KeyError, ValueError, TypeError, OSError):
        return 0  # its reader says what is wrong with it


def _npz(folder: Path) -> Form | None:
    files = _files_of("npz", folder, (".npz",))
    return Form(dataset="npz", seen=_few([path.name for path in files], "npz file"), place=folder) if files else None


def _lists(folder: Path) -> Form | None:
    files = [path.name for path in _files(folder, 1) if _is_list(path)]
    return Form(dataset="lists", seen=_few(files, "list"), place=folder) if files else None


def _is_list(path: Path) -> bool:
    """Also one with commas, whose first line begins with an image and not with a header."""
    if path.suffix.lower() not in (".txt", ".lst", "") or not split_of(path.stem):
        return False
    kind = kind_of(path)
    return kind == "list" or (kind == "table" and path.suffix.lower() == ".txt" and _names_image(first_rows(path)[0]))


def _names_image(row: Sequence[str]) -> bool:
    return any(is_image_name(cell.replace("\\", "/").rpartition("/")[2]) for cell in row)


def _table(folder: Path) -> Form | None:
    tables = _files_of("table", folder, (".csv", ".tsv")) or [
        table for table in tables_in_splits(folder).values() if kind_of(table) == "table"
    ]
    if not tables:
        return None
    if len(tables) == 1:
        return Form(dataset="csv", seen=f"{tables[0].name} with {_columns(tables[0])}", place=folder)
    names = [path.relative_to(folder).as_posix() for path in tables]
    return Form(dataset="csv", seen=_few(names, "table"), place=folder)


def _columns(table: Path) -> str:
    header = first_rows(table)[0]
    return f"the columns {', '.join(header[:6])}{' …' if len(header) > 6 else ''}"


def _classes(folder: Path) -> list[Path]:
    """The folders that would be classes: those of the training folder if there is one; [] if they are not several."""
    inside = _subfolders(folder)
    splits = splits_of(place.name for place in inside)
    training = [place for place in inside if splits.get(place.name) == "train"]
    if training:
        found = [place for place in _subfolders(training[0]) if _holds_images(place)]
        return found if len(found) > 1 else []  # of one, the layout says what it is
    own = [place for place in inside if place.name not in splits and _holds_images(place)]
    if len(own) == 1 and not _images_in(own[0]):  # a folder around the classes, as an archive unpacks it
        return _classes(own[0])
    return own if len(own) > 1 else []


def _image_folder(folder: Path, classes: Sequence[Path]) -> Form:
    place = classes[0].parent
    if split_of(place.name) == "train" and place != folder:
        place = place.parent
    splits = [entry.name for entry in _subfolders(place) if split_of(entry.name)]
    seen = f"{len(classes):,} folders with images"
    seen += f" in {classes[0].parent.relative_to(folder)}/" if classes[0].parent != folder else ""
    beside = [name for name in splits if name != classes[0].parent.name]
    return Form(dataset="image-folder", seen=seen + "".join(f", and {name}/" for name in beside), place=place)


def _subfolders(folder: Path) -> list[Path]:
    return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.is_dir() and not is_junk_name(entry.name))


def _holds_images(folder: Path, depth: int = _DEPTH) -> bool:
    if _images_in(folder):
        return True
    return depth > 1 and any(_holds_images(inside, depth - 1) for inside in _subfolders(folder))


def _images_in(folder: Path) -> bool:
    with os.scandir(folder) as entries:  # closed at the first image
        return any(is_image_name(entry.name) and entry.is_file() for entry in entries)


def _files_of(kind: Kind, folder: Path, suffixes: Sequence[str], *, depth: int = 1) -> list[Path]:
    return [path for path in _files(folder, depth) if path.suffix.lower() in suffixes and kind_of(path) == kind]


def _files(folder: Path, depth: int) -> Iterator[Path]:
    """The files in a folder, in order of name, down to `depth` levels; class folders full of images are left out."""
    entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    yield from (Path(entry.path) for entry in entries if entry.is_file() and not is_junk_name(entry.name))
    for entry in entries if depth > 1 else ():
        if entry.is_dir() and not is_junk_name(entry.name) and not _images_in(Path(entry.path)):
            yield from _files(Path(entry.path), depth - 1)


def _few(names: Sequence[str], what: str) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{len(names):,} {what}s: {shown} …"


def _nothing(path: Path) -> str:
    """What was found instead, and the way out where it is known."""
    if not path.is_dir():
        return f"this file holds {_in_words(kind_of(path), path)}"
    files = list(_all_files(path))
    if not files:
        return "the folder holds no file"
    images = [file for file in files if is_image_name(file.name)]
    if images and all(file.parent == path for file in images):
        return f"{len(images):,} images lie in it, but no folder per class and no table or list of their labels"
    if images:
        places = sorted({file.parent.name for file in images})
        return f"all {len(images):,} images lie in one folder ({places[0]}/), and no table or list says their classes"
    odd = Counter(_in_words(kind_of(file), file) for file in files[:_LOOKED_AT])
    shown = "; ".join(f"{words} ({count} of {min(len(files), _LOOKED_AT)})" for words, count in odd.most_common(3))
    return f"none of its {len(files):,} files can be read as images with classes; they are {shown}"


_LOOKED_AT = 200  # files, to say what they are
_WORDS: dict[Kind, str] = {
    "archive": "an archive; unpack it and give the folder",
    "npy": "one NumPy array; write images and labels together by numpy.savez",
    "image": "an image; give the folder with a subfolder of images per class",
    "pointer": "a Git LFS pointer, not the data itself; fetch it by `git lfs pull`",
    "empty": "nothing (0 bytes)",
    "text": "text that is no table and no list of images",
}


def _in_words(kind: Kind, path: Path) -> str:
    return _WORDS.get(kind, f"no known form{f' ({path.suffix})' if path.suffix else ''}")


def _all_files(folder: Path) -> Iterator[Path]:
    for inside, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_junk_name(name))
        yield from (Path(inside, name) for name in sorted(files) if not is_junk_name(name))
