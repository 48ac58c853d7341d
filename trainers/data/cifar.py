"""CIFAR-10 and CIFAR-100: torchvision's files, or parquet with the images in the official order."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from torchvision.datasets import CIFAR10, CIFAR100

from trainers.config import TaskConfig
from trainers.data.images import ArrayImages
from trainers.data.parquet import source_from_files
from trainers.data.parquet_files import SplitFiles, find_split_files
from trainers.data.pool import RawPool, Source, build_source, data_path
from trainers.errors import DataError

# the customary constants of CIFAR-10, which the long-tail literature uses for CIFAR-100 too
NORMALIZATION = ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))


def read_cifar(task: TaskConfig) -> Source:
    """Reads a folder with parquet files (train.parquet, or a long-tailed train_if*.parquet), or torchvision's files.

    Torchvision's files are pickles, so they are read only after torchvision has checked their MD5 sums. They are
    downloaded only with `task.download`. Raises DataError.
    """
    kind = CIFAR10 if task.dataset == "cifar10-lt" else CIFAR100
    if task.download and task.data is not None:
        Path(task.data).expanduser().mkdir(parents=True, exist_ok=True)
    folder = data_path(task)
    long_tailed = sorted(folder.glob("train_if*.parquet"))
    if long_tailed and not (folder / "train.parquet").is_file():
        found = SplitFiles({"train": long_tailed[:1], "test": [folder / "test.parquet"]})
        source = source_from_files(found, task, normalization=NORMALIZATION)
    elif any(path for below in ("", "*/", "*/*/") for path in folder.glob(f"{below}*.parquet")):
        source = source_from_files(find_split_files(folder), task, normalization=NORMALIZATION)
    else:
        source = _read_torchvision(kind, folder, download=task.download)
    wanted = 10 if kind is CIFAR10 else 100
    if len(source.class_names) != wanted:
        raise DataError(
            f"{folder}: {task.dataset} has {wanted} classes, but these files have {len(source.class_names)}"
        )
    return source


def _read_torchvision(kind: type[CIFAR10], folder: Path, *, download: bool) -> Source:
    root = folder.parent if folder.name == kind.base_folder else folder
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # NumPy 2 warns about the dtypes in these old pickles
            train, test = kind(root, train=True, download=download), kind(root, train=False, download=download)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{folder}: {kind.__name__} is not here or not whole ({error}); give the folder that has "
            f"{kind.base_folder}/ or train.parquet and test.parquet, or fetch it with task.download=true"
        ) from error
    return build_source(
        {"train": _pool_of_pixels(train, "train"), "test": _pool_of_pixels(test, "test")},
        train.classes,
        normalization=NORMALIZATION,
    )


def _pool_of_pixels(data: CIFAR10, split: str) -> RawPool:
    images = np.ascontiguousarray(data.data.transpose(0, 3, 1, 2))  # (N, 3, 32, 32)
    return RawPool(images=ArrayImages(images, f"{type(data).__name__} {split}"), labels=data.targets)
