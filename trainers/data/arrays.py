"""NumPy archives: images and labels as arrays."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.config import TaskConfig
from trainers.data.images import ArrayImages
from trainers.data.pool import RawPool, Source, SplitName, build_source, data_path
from trainers.errors import DataError

_UNREADABLE = (
    OSError, EOFError, ValueError, KeyError, MemoryError, NotImplementedError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
Archive = dict[str, npt.NDArray[np.generic]]


def read_npz(task: TaskConfig) -> Source:
    """`train_images`, `train_labels`, the same for `val_` and `test_`, or just `images`, `labels`; `class_names`.

    Images are uint8: (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W). Labels are whole numbers or text, (N,) or
    (N, 1). Pickled objects are refused. Raises DataError.
    """
    path = data_path(task)
    if path.is_dir():
        found = sorted(path.glob("*.npz"))
        if len(found) != 1:
            raise DataError(f"{path}: there must be exactly one npz file, but there are {len(found)}; give the file")
        path = found[0]
    archive = _read(path)
    splits: tuple[SplitName, ...] = ("train", "val", "test")
    prefixes = {split: f"{split}_" for split in splits if f"{split}_images" in archive}
    if "train" not in prefixes:
        prefixes["train"] = ""
    names = archive.get("class_names")
    return build_source(
        {split: _raw_pool(archive, prefix, path) for split, prefix in prefixes.items()},
        None if names is None else [str(name) for name in names],
    )


def _read(path: Path) -> Archive:
    try:
        with path.open("rb") as handle:
            archive = np.load(handle, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise DataError(f"{path}: an npz archive is needed, but this is a single array")
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DataError(f"{path}: not a readable npz archive of plain arrays ({error}); write it again") from error


def _raw_pool(archive: Archive, prefix: str, path: Path) -> RawPool:
    for name in (f"{prefix}images", f"{prefix}labels"):
        if name not in archive:
            raise DataError(f"{path}: there must be an array {name!r}, but there are {', '.join(archive)}")
    images, labels = archive[f"{prefix}images"], archive[f"{prefix}labels"]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images) or not len(labels):
        raise DataError(f"{path}: {prefix}labels must be ({len(images)},), one per image, but is {labels.shape}")
    source = f"{path} ({prefix}images)"
    return RawPool(images=ArrayImages(_channels_first(images, source), source), labels=labels.tolist())


def _channels_first(images: npt.NDArray[np.generic], source: str) -> npt.NDArray[np.uint8]:
    """Any of the accepted shapes to (N, C, H, W)."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(
            f"{source}: must be uint8 of shape (N, H, W), (N, H, W, C) or (N, C, H, W), but is {images.dtype} "
            f"{images.shape}; convert to 0..255"
        )
    pixels = images.astype(np.uint8, copy=False)
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.shape[3] in (1, 3):
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if pixels.shape[1] in (1, 3):
        return pixels
    raise DataError(f"{source}: images have 1 or 3 channels, but the shape is {pixels.shape}")
