"""DIR/class/image, and DIR/class/split/image."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from trainers.config import LayoutName
from trainers.data.folder_tree import Folder
from trainers.data.layout import ClassFolders, Layout, class_folders, listed, refuse_two_readings
from trainers.data.pool import SplitName
from trainers.data.split_words import splits_of
from trainers.errors import DataError

_PART = re.compile(r"(fold|part|batch|chunk|shard|subset)s?[\W_]*\d+", re.IGNORECASE)
Splits = Mapping[str, SplitName]  # by the name of a folder in a class


def classes_in(base: Folder, asked: LayoutName) -> Layout:
    """Reads the folders in `base` as classes. Raises DataError if split folders in them can be read in two ways."""
    folders = base.with_images()
    if not folders:
        raise DataError(
            f"{base.path}: there must be a folder for each class, but it holds {len(base.images):,} images directly; "
            "sort them into one folder per class, or give a table of them with --dataset csv or lists"
        )
    found = {folder.name: splits_of(each.name for each in folder.with_images()) for folder in folders}
    if asked != "classes" and any(found.values()):
        wholly = [folder for folder in folders if _only_splits(folder, found[folder.name])]
        trained = any("train" in splits.values() for splits in found.values())
        if (len(wholly) == len(folders) and trained) or asked == "splits":
            return _splits_in_classes(base, folders, found)
        _check_clear(base, folders, found)
    if asked == "splits":
        raise DataError(
            f"{base.path}: task.layout=splits, but none of {listed(folders)} is a split; leave the switch out"
        )
    if asked != "classes":
        _check_parts(base, folders)
    return Layout(base=base, classes={"train": class_folders(base)}, notes=_alike_notes(folders))


def _check_parts(base: Folder, folders: Sequence[Folder]) -> None:
    """Raises DataError for folders such as fold0/ and fold1/ with folders in them, which may be the classes."""
    if all(_PART.fullmatch(folder.name) and not folder.images for folder in folders):
        inside = {each.name: each for folder in folders for each in folder.with_images()}
        raise DataError(
            f"{base.path}: its folders can be read in two ways. If {listed(folders)} are numbered parts of one data "
            f"set, the classes are {listed(list(inside.values()))}: move them into one folder; with "
            f"task.layout=classes, the classes are {listed(folders)}"
        )


def _alike_notes(folders: Sequence[Folder]) -> tuple[str, ...]:
    """A sentence if all classes hold the same several folders, as color/ and grey/ of one data set do."""
    inside = [tuple(each.name for each in folder.with_images()) for folder in folders]
    if len(folders) < 2 or len(inside[0]) < 2 or len(set(inside)) > 1 or any(folder.images for folder in folders):
        return ()
    return (
        f"{listed(folders)} all hold {listed(folders[0].with_images())}; if those are the classes, give one of the "
        "folders around them with --data, or move all images into one",
    )


def _only_splits(folder: Folder, splits: Splits) -> bool:
    return bool(splits) and not folder.images and len(splits) == len(folder.with_images())


def _check_clear(base: Folder, folders: Sequence[Folder], found: Mapping[str, Splits]) -> None:
    """Raises DataError if a class has splits in it, but the folders are not all alike."""
    telling = [folder for folder in folders if _tells(folder, found[folder.name])]
    if not telling:
        return  # one folder named train among others, as in vehicle/car, vehicle/train
    first = telling[0]
    _refuse_nested(base, telling, found)
    refuse_two_readings(
        base,
        splits=f"{listed(first.with_images())} in {first.shown_name}/ are splits of that class",
        classes=f"the classes are {listed(folders)}, with all images below them",
    )


def _tells(folder: Folder, splits: Splits) -> bool:
    words = set(splits.values())
    return bool(words) and (len(splits) == len(folder.with_images()) or ("train" in words and len(words) > 1))


def _splits_in_classes(base: Folder, folders: Sequence[Folder], found: Mapping[str, Splits]) -> Layout:
    """Images directly in a class are for training if it has no folder for that."""
    _refuse_nested(base, [folder for folder in folders if found[folder.name]], found)
    empty = [(name, folder) for name, folder in class_folders(base) if not folder.has_images()]
    classes: dict[SplitName, ClassFolders] = {"train": empty}
    unused: list[tuple[Folder, str]] = []
    for folder in folders:
        if not found[folder.name]:
            classes["train"].append((folder.name, folder))
        elif "train" not in found[folder.name].values():
            classes["train"].append((folder.name, replace(folder, folders=[])))
        for each in folder.with_images() if found[folder.name] else []:
            split = found[folder.name].get(each.name)
            if split is None:
                unused.append((each, f"no split of {folder.shown_name}"))
            else:
                classes.setdefault(split, []).append((folder.name, each))
    classes["train"].sort(key=lambda each: each[0])
    counts = ", ".join(f"{split} {sum(each.count_images() for _, each in classes[split]):,}" for split in classes)
    return Layout(
        base=base,
        classes=classes,
        unused=tuple(unused),
        notes=(f"the splits are folders in the class folders: {counts} images",),
    )


def _refuse_nested(base: Folder, folders: Sequence[Folder], found: Mapping[str, Splits]) -> None:
    """Raises DataError if splits lie in folders that are data sets of their own: their splits hold class folders."""
    for folder in folders:
        splits = [each for each in folder.with_images() if each.name in found[folder.name]]
        if any(len(each.with_images()) > 1 and not each.images for each in splits):
            raise DataError(
                f"{base.path}: there must be classes or splits, but {folder.shown_name}/ is a data set of its own with "
                f"{listed(splits)}, beside {listed([each for each in base.with_images() if each is not folder])}; give "
                f"it alone with --data {folder.path}, or read all folders as classes with task.layout=classes"
            )
