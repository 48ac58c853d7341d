"""Images before they become tensors: in arrays, encoded in memory, or in files. They decode to 8-bit RGB or grey."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainers.data.decoding import first_frame, read_size
from trainers.errors import DataError

_THREADS = 16  # they wait for the disk, not the processor


class Images(Protocol):
    """A sequence of images, decoded one at a time."""

    @property
    def channels(self) -> int:
        """1 or 3."""

    def __len__(self) -> int: ...

    def name(self, index: int) -> str:
        """Where the image comes from, for messages."""

    def size(self, index: int) -> tuple[int, int]:
        """Width and height in pixels, without decoding. Raises DataError."""

    def open(self, index: int) -> Image.Image:
        """Decodes to mode RGB, or L for one channel. Raises DataError that names the image."""

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """A 32-byte digest of each image's content, independent of its name and place."""


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Pixels in memory: uint8 (N, C, H, W)."""

    pixels: npt.NDArray[np.uint8]
    source: str

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.pixels.shape[1])

    def __len__(self) -> int:
        return len(self.pixels)

    def name(self, index: int) -> str:
        """The source and the row."""
        return f"{self.source}, row {index}"

    def size(self, index: int) -> tuple[int, int]:
        """Width and height, the same for all."""
        return int(self.pixels.shape[3]), int(self.pixels.shape[2])

    def open(self, index: int) -> Image.Image:
        """One image for PIL."""
        array = self.pixels[index]
        return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Of the pixels."""
        return [hashlib.sha256(self.pixels[i].tobytes()).digest() for i in indices]


@dataclass(frozen=True, eq=False)
class EncodedImages:
    """Image files as bytes in memory, e.g. the rows of a parquet file."""

    rows: pa.Array  # binary
    source: str
    channels: int = 3

    def __len__(self) -> int:
        return len(self.rows)

    def name(self, index: int) -> str:
        """The file and the row."""
        return f"{self.source}, row {index}"

    def size(self, index: int) -> tuple[int, int]:
        """Width and height from the header. Raises DataError."""
        return read_size(self._bytes(index), self.name(index))

    def open(self, index: int) -> Image.Image:
        """Decodes one row. Raises DataError that names the row."""
        return first_frame(self._bytes(index), self.name(index))

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Digests of the encoded bytes."""
        return [hashlib.sha256(data).digest() for data in map(self._bytes, indices)]

    def _bytes(self, index: int) -> bytes:
        data: bytes = self.rows[index].as_py()
        return data


@dataclass(frozen=True, eq=False)
class FileImages:
    """Image files by path."""

    paths: tuple[str, ...]
    channels: int = 3

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """The path."""
        return self.paths[index]

    def size(self, index: int) -> tuple[int, int]:
        """Width and height from the header. Raises DataError."""
        return read_size(self.paths[index], self.name(index))

    def open(self, index: int) -> Image.Image:
        """Decodes one file. Raises DataError that names it."""
        return first_frame(self.paths[index], self.name(index))

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Digests of the files' bytes, the same as for the images in a parquet file. Raises DataError."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self._digest_file, indices))

    def _digest_file(self, index: int) -> bytes:
        path = Path(self.paths[index])
        try:
            with path.open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").digest()
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error}); check the file and its permissions") from error


def find_missing(paths: Sequence[str]) -> list[str]:
    """The paths whose file is missing or empty."""
    with ThreadPoolExecutor(_THREADS) as pool:
        present = pool.map(_has_content, paths)
        return [path for path, there in zip(paths, present, strict=True) if not there]


def pixels(images: Images, indices: Sequence[int], image_size: int) -> Tensor:
    """Decodes into one uint8 tensor (N, C, image_size, image_size): scales the short side, crops the long one."""
    if isinstance(images, ArrayImages) and images.size(0) == (image_size, image_size):
        return torch.from_numpy(images.pixels[np.asarray(indices, dtype=np.int64)])
    decoded = np.empty((len(indices), image_size, image_size, images.channels), dtype=np.uint8)
    for row, index in enumerate(indices):
        image = images.open(index)
        if image.size != (image_size, image_size):
            image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
        decoded[row] = np.asarray(image).reshape(image_size, image_size, images.channels)
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous()


def _has_content(path: str) -> bool:
    try:
        return Path(path).stat().st_size > 0
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
