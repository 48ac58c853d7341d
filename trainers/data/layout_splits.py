"""DIR/split/class/image, where the folders of a training split may lie beside the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from trainers.config import LayoutName
from trainers.data.folder_tree import Folder
from trainers.data.layout import ClassFolders, Layout, class_folders, inner, listed, refuse_two_readings
from trainers.data.layout_classes import classes_in
from trainers.data.pool import SplitName
from trainers.data.split_words import split_of, splits_of
from trainers.errors import DataError

_NO_LABEL = frozenset({"images", "image", "imgs", "img", "data", "all", "unknown", "unlabeled", "unlabelled"})
_CUSTOMARY = {"train": ("train",), "val": ("val", "validation", "valid"), "test": ("test",)}


def splits_in(base: Folder, words: Mapping[str, SplitName], asked: LayoutName) -> Layout:
    """Reads the folders in `base` that `words` names as splits. Raises DataError if they can be read in two ways."""
    found = _one_each(base, words)
    others = [folder for folder in base.with_images() if folder.name not in words]
    if "train" not in found:
        return _beside_classes(base, found, others, asked)
    train = inner(found["train"], through_splits=True)
    if not _holds_classes(train):
        if asked == "auto" and list(found) == ["train"] and len(others) > 1:
            return classes_in(base, asked).with_note(
                f"read as a class, as it holds no class folders: {listed([found['train']])}"
            )
        raise DataError(
            f"{train.path}: there must be a folder for each class, but there are {train.count_images():,} images and "
            "none; give a table of them with --dataset csv or lists, or set task.layout=classes if "
            f"{listed(base.with_images())} are the classes"
        )
    if asked == "auto":
        _check_clear(base, found, others, train)
    return _with_labelled(base, found, class_folders(train), others)


def _holds_classes(train: Folder) -> bool:
    folders = train.with_images()
    return len(folders) > 1 or (len(folders) == 1 and not _says_no_class(folders[0].name, train))


def _one_each(base: Folder, words: Mapping[str, SplitName]) -> dict[SplitName, Folder]:
    """The folder of each split. Raises DataError if there are two for one."""
    found: dict[SplitName, Folder] = {}
    for folder in base.with_images():
        split = words.get(folder.name)
        if split in found:
            raise DataError(
                f"{base.path}: a split has one folder, but {listed([found[split], folder])} both mean {split}; join "
                "them, move one away, or, if they are classes, set task.layout=classes"
            )
        if split is not None:
            found[split] = folder
    return found


def _check_clear(base: Folder, found: Mapping[SplitName, Folder], others: Sequence[Folder], train: Folder) -> None:
    """Raises DataError if the folders beside the splits may be classes, or the classes in train may be splits."""
    inside = train.with_images()
    names = {folder.name.casefold() for folder in inside}
    all_classes = f"the classes are {listed(base.with_images())}"
    if (list(found) == ["train"] and len(others) > 1) or names & {folder.name.casefold() for folder in others}:
        refuse_two_readings(
            base,
            splits=f"the classes are {listed(inside)} in {found['train'].shown_name}/, without {listed(others)}",
            classes=all_classes,
        )
    if 1 < len(inside) == len(splits_of(folder.name for folder in inside)):
        refuse_two_readings(
            base,
            splits=f"the classes are {listed(inside)} in {found['train'].shown_name}/",
            classes=all_classes,
            also=f", or give --data {train.path} if {listed(inside)} are splits",
        )


def _beside_classes(
    base: Folder, found: Mapping[SplitName, Folder], others: Sequence[Folder], asked: LayoutName
) -> Layout:
    """Reads what lies beside the splits as training images, if the classes there are those of a split."""
    folders = list(found.values())
    if not others:
        raise DataError(
            f"{base.path}: there must be a folder with training images, but there is only {listed(folders)}; name it "
            f"train/, or give one folder of classes, e.g. --data {folders[0].path}, or, if {listed(folders)} "
            "are the classes, set task.layout=classes"
        )
    train = inner(others[0], through_splits=False) if len(others) == 1 and not others[0].images else base
    train = train if len(train.with_images()) > 1 else base
    classes = class_folders(train, but={folder.name for folder in folders} if train is base else ())
    known = {name for name, _ in classes}
    labelled = any(known & {name for name, _ in _labelled(folder, known)} for folder in folders)
    if asked == "auto" and not labelled:
        if len(classes) < 2:
            return classes_in(base, asked).with_note(
                f"read as classes, as there is no more than one besides: {listed(folders)}"
            )
        refuse_two_readings(
            base,
            splits=f"the splits are {listed(folders)}, and the classes in training {listed(others)}",
            classes=f"the classes are {listed(base.with_images())}",
        )
    layout = _with_labelled(base, found, classes, [])
    return layout.with_note(f"train is {listed([each for _, each in classes])}, beside {listed(folders)}")


def _with_labelled(
    base: Folder, found: Mapping[SplitName, Folder], train: ClassFolders, others: Sequence[Folder]
) -> Layout:
    """The layout with those val and test splits that have classes; the images of the others have no label."""
    known = {name for name, _ in train}
    held = {split: _labelled(folder, known) for split, folder in found.items() if split != "train"}
    unlabelled = [(found[split], f"no class folders in it, so no {split} split") for split in held if not held[split]]
    strange = [(folder, "neither training, validation nor test images") for folder in others]
    unusual = [split for split, folder in found.items() if folder.name not in _CUSTOMARY[split]]
    named = ", ".join(f"{split} is {folder.shown_name}/" for split, folder in found.items())
    classes: dict[SplitName, ClassFolders] = {"train": train}
    return Layout(
        base=base,
        classes=classes | {split: folders for split, folders in held.items() if folders},
        unused=(*unlabelled, *strange),
        notes=(f"read as splits: {named}",) if unusual else (),
    )


def _labelled(folder: Folder, known: Collection[str]) -> ClassFolders:
    """The classes of a val or test folder, perhaps further down; none if its images lie directly in it."""
    while True:
        folders = folder.with_images()
        only = folders[0] if len(folders) == 1 and folders[0].name not in known else None
        if only is None or (only.images and not _says_no_class(only.name, folder)):
            return [(each.name, each) for each in folders]
        folder = only


def _says_no_class(name: str, parent: Folder) -> bool:
    return name.lower() in _NO_LABEL or name == parent.name or split_of(name) is not None
