"""Folders of images for the two ways of choosing a class's images, linked from the files of one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

SELECTIONS = ("first_n", "seed0")
WHOLE = 50_000  # rows of CIFAR-100's training file


class NoImagesError(Exception):
    """A folder lacks files."""


def link_images(data: Path, keep: Path) -> None:
    """Makes `keep/data/<selection>` for each selection that the files of `data` allow. Raises NoImagesError.

    `first_n` takes train.parquet in the official order; `seed0` train_if*.parquet, or train.parquet if that is whole.
    """
    test = data / "test.parquet"
    trains = _training_files(data)
    if not test.is_file() or not trains:
        raise NoImagesError(
            f"{data} must have test.parquet and train.parquet or train_if*.parquet of CIFAR-100, but has "
            f"{', '.join(sorted(path.name for path in data.glob('*'))) or 'nothing'}"
        )
    for selection, train in trains.items():
        folder = keep / "data" / selection
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.iterdir():
            old.unlink()
        for path in (train, test):
            (folder / path.name).symlink_to(path.resolve())


def linked(keep: Path) -> tuple[str, ...]:
    """The selections that have images."""
    return tuple(name for name in SELECTIONS if (keep / "data" / name / "test.parquet").is_file())


def _training_files(data: Path) -> Mapping[str, Path]:
    import pyarrow.parquet as pq

    whole, long_tailed = data / "train.parquet", sorted(data.glob("train_if*.parquet"))
    found = {"first_n": whole} if whole.is_file() else {}
    if long_tailed:
        found["seed0"] = long_tailed[0]
    elif whole.is_file() and pq.ParquetFile(whole).metadata.num_rows == WHOLE:
        found["seed0"] = whole
    return found
