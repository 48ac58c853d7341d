"""Images before they become tensors: in arrays, encoded in memory, or in files. They decode to 8-bit RGB or grey."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image, ImageOps
from torch import Tensor

from trainers.data.decoding import first_frame, look, read_failure, read_size
from trainers.data.pixel_scale import EIGHT_BITS, Content, Kind, PixelScale, content_of, to_bytes
from trainers.data.threads import in_threads
from trainers.errors import BadImageError, DeepImageError

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

    def open(self, index: int, scale: PixelScale = EIGHT_BITS) -> Image.Image:
        """Decodes to mode RGB, or L for one channel; deep values become bytes by `scale`.

        Raises BadImageError that names the image, and DeepImageError if the scale has no range for it.
        """

    def look(self, index: int) -> Content | None:
        """Decodes, and says what values are there if they have more than 8 bits. Raises BadImageError."""

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """A 32-byte digest of each image's content, independent of its name and place."""


@dataclass(frozen=True, eq=False)
class ArrayImages:
    """Pixels in memory: (N, C, H, W), uint8 or other numbers."""

    pixels: npt.NDArray[Any]
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

    def open(self, index: int, scale: PixelScale = EIGHT_BITS) -> Image.Image:
        """One image for PIL. Raises DeepImageError if the scale has no range for its numbers."""
        array = self.pixels[index]
        if array.dtype != np.uint8:
            kind: Kind = "floats" if array.dtype.kind == "f" else "integers"
            if scale.range_of(kind) is None:
                raise DeepImageError(
                    f"{self.name(index)}: the image is {array.dtype}, and no black and white are known"
                )
            array = to_bytes(array, kind, scale)
        return Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))

    def look(self, index: int) -> Content | None:
        """What values are there, unless they are bytes. Raises BadImageError for NaN and infinities."""
        array = self.pixels[index]
        if array.dtype == np.uint8:
            return None
        try:
            return content_of(array, name=self.name(index), form=str(array.dtype))
        except ValueError as error:
            raise BadImageError(self.name(index), str(error), "replace them or leave it out") from error

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

    def open(self, index: int, scale: PixelScale = EIGHT_BITS) -> Image.Image:
        """Decodes one row. Raises BadImageError or DeepImageError, which name the row."""
        return first_frame(self._bytes(index), self.name(index), scale)

    def look(self, index: int) -> Content | None:
        """Decodes one row, and says what values are there. Raises BadImageError."""
        return look(self._bytes(index), self.name(index))

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

    def open(self, index: int, scale: PixelScale = EIGHT_BITS) -> Image.Image:
        """Decodes one file. Raises BadImageError or DeepImageError, which name it."""
        return first_frame(self.paths[index], self.name(index), scale)

    def look(self, index: int) -> Content | None:
        """Decodes one file, and says what values are there. Raises BadImageError."""
        return look(self.paths[index], self.name(index))

    def digests(self, indices: Sequence[int]) -> list[bytes]:
        """Digests of the files' bytes, the same as for the images in a parquet file. Raises DataError."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self.digest, indices))

    def digest(self, index: int) -> bytes:
        """Of one file's bytes. Raises DataError."""
        path = Path(self.paths[index])
        try:
            with path.open("rb") as handle:
                return hashlib.file_digest(handle, "sha256").digest()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the name
            raise BadImageError(
                self.paths[index], read_failure(error) or str(error), "check the file and its permissions"
            ) from error


def find_missing(paths: Sequence[str]) -> list[str]:
    """The paths whose file is missing or empty."""
    with ThreadPoolExecutor(_THREADS) as pool:
        present = pool.map(_has_content, paths)
        return [path for path, there in zip(paths, present, strict=True) if not there]


def pixels(images: Images, indices: Sequence[int], image_size: int) -> Tensor:
    """Decodes into one uint8 tensor (N, C, image_size, image_size): scales the short side, crops the long one."""
    if isinstance(images, ArrayImages) and images.pixels.dtype == np.uint8 and images.size(0) == (image_size,) * 2:
        return torch.from_numpy(images.pixels[np.asarray(indices, dtype=np.int64)])
    decoded = np.empty((len(indices), image_size, image_size, images.channels), dtype=np.uint8)

    def decode(row: int) -> None:
        image = images.open(indices[row])
        if image.size != (image_size, image_size):
            image = ImageOps.fit(image, (image_size, image_size), Image.Resampling.BILINEAR)
        decoded[row] = np.asarray(image).reshape(image_size, image_size, images.channels)

    for _ in in_threads(decode, range(len(indices))):
        pass
    return torch.from_numpy(decoded).permute(0, 3, 1, 2).contiguous()


def _has_content(path: str) -> bool:
    try:
        return Path(path).stat().st_size > 0
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
