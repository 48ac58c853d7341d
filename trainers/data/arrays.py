"""NumPy archives: images and labels as arrays."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.config import TaskConfig
from trainers.data.claims import check_claim
from trainers.data.images import ArrayImages
from trainers.data.pool import RawPool, Source, SplitName, build_source, data_path
from trainers.errors import DataError

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
_ARRAYS = [f"{split}{part}" for split in ("", *(f"{split}_" for split in _SPLITS)) for part in ("images", "labels")]
Archive = dict[str, npt.NDArray[np.generic]]


def read_npz(task: TaskConfig) -> Source:
    """Reads `train_images`, `train_labels`, the same for `val_` and `test_`, or `images`, `labels`; and `class_names`.

    Images are numbers: (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W). Labels are whole numbers or text, (N,) or
    (N, 1). Pickled objects are refused. Raises DataError.
    """
    path = data_path(task)
    if path.is_dir():
        found = sorted(path.glob("*.npz"))
        if len(found) != 1:
            raise DataError(f"{path}: there must be exactly one npz file, but there are {len(found)}; give the file")
        path = found[0]
    archive = _read_archive(path)
    prefixes = {split: f"{split}_" for split in _SPLITS if f"{split}_images" in archive}
    if "train" not in prefixes:
        prefixes["train"] = ""
    names = archive.get("class_names")
    return build_source(
        {split: _pool_of_arrays(archive, prefix, path) for split, prefix in prefixes.items()},
        None if names is None else [str(name) for name in names],
    )


def _read_archive(path: Path) -> Archive:
    """The known arrays of an archive; `numpy.load` would accept other kinds of file."""
    try:
        with path.open("rb") as handle:
            if handle.read(6) == b"\x93NUMPY":
                raise DataError(
                    f"{path}: an npz archive is needed, but this is a single array; write it by numpy.savez"
                )
            with zipfile.ZipFile(handle) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                wanted = [name for name in (*_ARRAYS, "class_names") if name in members]
                _check_claims(path, [members[name] for name in wanted])
                return {name: _read_array(archive, members[name]) for name in wanted}
    except DataError:
        raise
    except Exception as error:  # zip, its codecs and numpy raise a dozen types for broken files
        raise DataError(f"{path}: not a readable npz archive of plain arrays ({error}); write it again") from error


def _check_claims(path: Path, members: list[zipfile.ZipInfo]) -> None:
    stored = path.stat().st_size
    check_claim(str(path), claimed=sum(info.file_size for info in members), stored=stored)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[np.generic]:
    with archive.open(member) as handle:
        found: npt.NDArray[np.generic] = np.lib.format.read_array(handle, allow_pickle=False)
    if found.size > member.file_size:  # elements of size 0 cost nothing, so a file could claim any number
        raise ValueError(f"{member.filename} has {found.size:,} elements in {member.file_size:,} bytes")
    return found


def _pool_of_arrays(archive: Archive, prefix: str, path: Path) -> RawPool:
    for name in (f"{prefix}images", f"{prefix}labels"):
        if name not in archive:
            raise DataError(f"{path}: there must be an array {name!r}, but there are {', '.join(archive) or 'none'}")
    images, labels = archive[f"{prefix}images"], archive[f"{prefix}labels"]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or len(labels) != len(images) or not len(labels):
        raise DataError(f"{path}: {prefix}labels must be ({len(images)},), one per image, but is {labels.shape}")
    source = f"{path} ({prefix}images)"
    return RawPool(images=ArrayImages(_channels_first(images, source), source), labels=labels.tolist())


def _channels_first(images: npt.NDArray[np.generic], source: str) -> npt.NDArray[np.generic]:
    """Converts any accepted shape to (N, C, H, W); numbers other than uint8 are scaled later, by their range."""
    if images.dtype.kind not in "buif" or images.ndim not in (3, 4):
        raise DataError(
            f"{source}: must be numbers of shape (N, H, W), (N, H, W, C) or (N, C, H, W), but is {images.dtype} "
            f"{images.shape}; convert to 0..255"
        )
    pixels = np.where(images, 255, 0).astype(np.uint8) if images.dtype.kind == "b" else images
    if pixels.ndim == 3:
        return pixels[:, None]
    if pixels.shape[3] in (1, 3):
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if pixels.shape[1] in (1, 3):
        return pixels
    raise DataError(f"{source}: images have 1 or 3 channels, but the shape is {pixels.shape}")
