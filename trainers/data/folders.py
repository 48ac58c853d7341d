"""A folder per class: DIR/train/cat/1.jpg (with optional DIR/val and DIR/test), or DIR/cat/1.jpg."""

from __future__ import annotations

from pathlib import Path

from trainers.config import TaskConfig
from trainers.data.class_names import class_file
from trainers.data.decoding import IMAGE_SUFFIXES
from trainers.data.images import FileImages, find_missing
from trainers.data.pool import RawPool, Source, SplitName, build_source, data_path
from trainers.errors import DataError

_SPLIT_FOLDERS: dict[SplitName, tuple[str, ...]] = {
    "train": ("train",),
    "val": ("val", "validation", "valid"),
    "test": ("test",),
}


def read_folders(task: TaskConfig) -> Source:
    """Reads classes from folder names, in alphabetical order or the order of DIR/classes.txt. Raises DataError."""
    root = data_path(task)
    if not root.is_dir():
        raise DataError(f"{root}: image-folder wants a folder, but this is a file; give the folder with --data DIR")
    splits = {
        split: next((root / name for name in names if (root / name).is_dir()), None)
        for split, names in _SPLIT_FOLDERS.items()
    }
    if splits["train"] is None:
        splits = {"train": root}
    found = {split: _class_folders(folder) for split, folder in splits.items() if folder is not None}
    names = read_class_names(root) or [folder.name for folder in found["train"]]
    pools = {split: _pool_of_folders(folders) for split, folders in found.items()}
    return build_source(pools, names, notes=class_file(root).notes)


def read_class_names(folder: Path) -> list[str] | None:
    """The names and order of classes from classes.txt; None without one. Raises DataError if it cannot be read."""
    names = class_file(folder).names
    return None if names is None else list(names)


def check_present(paths: list[str], listed_in: Path) -> None:
    """Raises DataError with the number of missing or empty image files."""
    missing = find_missing(paths)
    if missing:
        raise DataError(
            f"{listed_in}: {len(missing)} of {len(paths)} image files are missing or empty, first {missing[0]}; "
            "restore them, remove them from the list, or give the right folder with --data DIR"
        )


def _class_folders(folder: Path) -> list[Path]:
    folders = sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"{folder}: there must be a folder of images for each class, but there is none")
    return folders


def _pool_of_folders(folders: list[Path]) -> RawPool:
    files = [
        (str(path), folder.name)
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not files:
        raise DataError(f"{folders[0].parent}: there is no image file in it ({', '.join(sorted(IMAGE_SUFFIXES))})")
    paths = [path for path, _ in files]
    check_present(paths, folders[0].parent)
    return RawPool(images=FileImages(tuple(paths)), labels=[label for _, label in files])
