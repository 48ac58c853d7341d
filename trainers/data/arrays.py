"""NumPy archives: images and labels as arrays."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trainers.config import TaskConfig
from trainers.data.claims import check_claim
from trainers.data.images import ArrayImages
from trainers.data.label_values import decoded
from trainers.data.labels import labelled_source, without_hidden
from trainers.data.pool import RawPool, Source, SplitName, data_path
from trainers.data.split_words import split_of
from trainers.data.table_columns import told_columns
from trainers.errors import DataError

_SPLITS: tuple[SplitName, ...] = ("train", "val", "test")
_BASES = {  # of array names, without the split; the documented one first
    "image": ("images", "image", "imgs", "img", "x", "data"),
    "label": ("labels", "label", "y", "targets", "target"),
}
_CLASS_NAMES = ("class_names", "label_names", "target_names")
_WORDS = re.compile(r"[^\W_]+")
Archive = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class _Arrays:
    """The names of the arrays of one split; no labels (None) in a test whose labels are withheld."""

    images: str
    labels: str | None


def read_npz(task: TaskConfig) -> Source:
    """Reads `train_images`, `train_labels`, the same for `val_` and `test_`, or `images`, `labels`; and `class_names`.

    Also arrays of other customary names, such as `x_train` and `y_train`. Images are numbers: (N, H, W),
    (N, H, W, 1 or 3) or (N, 1 or 3, H, W). Labels are whole numbers or text, (N,) or (N, 1), or one-hot. Pickled
    objects are refused. Raises DataError.
    """
    path = data_path(task)
    if path.is_dir():
        found = sorted(path.glob("*.npz"))
        if len(found) != 1:
            raise DataError(f"{path}: there must be exactly one npz file, but there are {len(found)}; give the file")
        path = found[0]
    archive, arrays, notes = _read_archive(path, told_columns(task))
    labels, hidden = without_hidden({split: _labels(archive, each, path) for split, each in arrays.items()})
    pools = {
        split: RawPool(images=_images(archive, arrays[split].images, path), labels=values)
        for split, values in labels.items()
    }
    names = next((archive[name] for name in _CLASS_NAMES if name in archive), None)
    return labelled_source(
        pools, None if names is None else [_name(name) for name in names.tolist()], notes=[*notes, *hidden]
    )


def _name(name: object) -> str:
    return decoded(name) if isinstance(name, bytes) else str(name)


def _read_archive(path: Path, told: Mapping[str, str]) -> tuple[Archive, dict[SplitName, _Arrays], list[str]]:
    """The arrays in use, which ones are each split's, and what must be told.

    `numpy.load` would accept other kinds of file.
    """
    try:
        with path.open("rb") as handle:
            if handle.read(6) == b"\x93NUMPY":
                raise DataError(
                    f"{path}: an npz archive is needed, but this is a single array; write it by numpy.savez"
                )
            with zipfile.ZipFile(handle) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                arrays, notes = _choose(members, told, path)
                used = [name for each in arrays.values() for name in (each.images, each.labels) if name]
                used += [name for name in _CLASS_NAMES if name in members]
                _check_claims(path, [members[name] for name in used])
                others = [name for name in members if name not in used]
                notes += [f"{path.name}: arrays that are not used: {', '.join(others[:5])}"] if others else []
                return {name: _read_array(archive, members[name]) for name in used}, arrays, notes
    except DataError:
        raise
    except Exception as error:  # zip, its codecs and numpy raise a dozen types for broken files
        raise DataError(f"{path}: not a readable npz archive of plain arrays ({error}); write it again") from error


def _choose(members: Iterable[str], told: Mapping[str, str], path: Path) -> tuple[dict[SplitName, _Arrays], list[str]]:
    """The arrays of each split. Raises DataError without training images and labels."""
    names = list(members)
    arrays: dict[SplitName, _Arrays] = {}
    for split in _SPLITS:
        images, labels = (_array(names, role, split, told.get(role), path) for role in ("image", "label"))
        if images is not None and (labels is not None or split != "train"):
            arrays[split] = _Arrays(images, labels)
        elif split == "train":
            documented = "labels" if images else "images"
            wanted = f"train_{documented}" if images and images.startswith("train_") else documented
            raise DataError(
                f"{path}: there must be an array {wanted!r}, but there are {', '.join(names[:10]) or 'none'}; name it "
                f"so, or say which one it is with --set task.columns.{documented[:-1]}=NAME"
            )
    usual = {f"{prefix}{base}" for prefix in ("", *(f"{split}_" for split in _SPLITS)) for base in ("images", "labels")}
    shown = [f"{split}: {each.images}, {each.labels}" for split, each in arrays.items()]
    strange = any({each.images, each.labels or "labels"} - usual for each in arrays.values())
    return arrays, [f"arrays of images and labels: {'; '.join(shown)}"] if strange else []


def _array(names: Iterable[str], role: str, split: SplitName, told: str | None, path: Path) -> str | None:
    """The array of this role and split; one that names no split is training's. Raises DataError for several."""
    bases = (told.lower(),) if told else _BASES[role]
    found = [(name, *_parts(name)) for name in names]
    if told and split == "train" and told in names:
        return told
    for said in (split, None) if split == "train" else (split,):
        for base in bases:
            alike = [name for name, base_of, split_in in found if (base_of, split_in) == (base, said)]
            if len(alike) > 1:
                raise DataError(
                    f"{path}: {' and '.join(alike)} could each hold the {split} {role}s; leave one, or choose with "
                    f"--set task.columns.{role}=NAME"
                )
            if alike:
                return alike[0]
    return None


def _parts(name: str) -> tuple[str, SplitName | None]:
    """`train_images` and `x_train` as base and split."""
    words = _WORDS.findall(name)
    for at in (0, -1):
        split = split_of(words[at]) if len(words) > 1 else None
        if split is not None:
            return "_".join(words[1:] if at == 0 else words[:-1]).lower(), split
    return name.lower(), None


def _check_claims(path: Path, members: list[zipfile.ZipInfo]) -> None:
    stored = path.stat().st_size
    check_claim(str(path), claimed=sum(info.file_size for info in members), stored=stored)


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> npt.NDArray[np.generic]:
    with archive.open(member) as handle:
        version = np.lib.format.read_magic(handle)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        if header(handle)[2].hasobject:
            raise DataError(
                f"{archive.filename}: {member.filename} holds Python objects, which are not loaded because they can "
                "run programs; save labels as plain text or numbers, such as labels.astype(str), and images of one size"
            )
    with archive.open(member) as handle:
        found: npt.NDArray[np.generic] = np.lib.format.read_array(handle, allow_pickle=False)
    if found.size > member.file_size:  # elements of size 0 cost nothing, so a file could claim any number
        raise ValueError(f"{member.filename} has {found.size:,} elements in {member.file_size:,} bytes")
    return found


def _labels(archive: Archive, arrays: _Arrays, path: Path) -> list[object]:
    """One label an image, or a row of them; None where they are withheld. Raises DataError for another shape."""
    images = archive[arrays.images]
    if arrays.labels is None:
        return [None] * len(images)
    labels = archive[arrays.labels]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim not in (1, 2) or not images.ndim or len(labels) != len(images) or not len(labels):
        raise DataError(
            f"{path}: {arrays.labels} must be ({len(images) if images.ndim else 0},), one per image, but is "
            f"{labels.shape}"
        )
    found: list[object] = labels.tolist()
    return found


def _images(archive: Archive, name: str, path: Path) -> ArrayImages:
    source = f"{path} ({name})"
    return ArrayImages(_channels_first(archive[name], source), source)


def _channels_first(images: npt.NDArray[np.generic], source: str) -> npt.NDArray[np.generic]:
    """Converts any accepted shape to (N, C, H, W); numbers other than uint8 are scaled later, by their range.

    Raises DataError for others, in words.
    """
    shape = images.shape
    if images.ndim == 5 or (images.ndim == 4 and not {shape[1], shape[3]} & {1, 2, 3, 4}):
        raise DataError(
            f"{source}: images have a height, a width and 1 or 3 channels, but the shape is {shape}, as of 3-D "
            "volumes, which are not trained; save slices as images"
        )
    if images.ndim == 2:
        raise DataError(
            f"{source}: must be of shape (N, H, W) or with channels, but is {shape}, as of flattened images; reshape "
            "them before saving"
        )
    if images.dtype.kind not in "buif" or images.ndim not in (3, 4):
        raise DataError(
            f"{source}: must be numbers of shape (N, H, W), (N, H, W, C) or (N, C, H, W), but is {images.dtype} "
            f"{shape}; convert to 0..255"
        )
    pixels = np.where(images, 255, 0).astype(np.uint8) if images.dtype.kind == "b" else images
    if pixels.ndim == 3:
        return pixels[:, None]
    if shape[3] in (1, 3):
        return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    if shape[1] in (1, 3):
        return pixels
    raise DataError(f"{source}: images have 1 or 3 channels, but the shape is {shape}")
