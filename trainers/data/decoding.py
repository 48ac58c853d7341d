"""The only code that opens images: documented formats only, within our own limits.

Pillow goes by content, not by suffix, and some of its readers start a program (EPS runs Ghostscript). So only `FORMATS`
are tried. The memory for an image is computed from its header before a pixel is decoded.
"""

from __future__ import annotations

import io
import math
import operator
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from trainers.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # JPEG includes MPO, which phones name .jpg
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

MAX_PIXELS = 2**27  # 134 million: fits medium-format cameras (102) and panoramas
MAX_MEMORY = 3 * 2**29  # 1.5 GiB per loader process, for buffers, decoded pixels and their RGB copy
MAX_FILE = 2**30  # bytes; the largest image within MAX_PIXELS, 16-bit RGBA without compression
# the next three keep the decoding of every small file below 10 s
MAX_PIXELS_IN_PYTHON = 2**20  # for Pillow's codecs in Python, which take microseconds per value
MAX_PIXELS_OF_SCANS = 2**32  # of a JPEG: pixels times scans, because each scan covers the whole image
MAX_PROFILES = 16  # colour profiles of a PNG, which normally has one; each is unpacked

_CODECS_IN_PYTHON = ("bmp_rle", "ppm", "ppm_plain")
_PLAIN_PPM = (b"P1", b"P2", b"P3")
_COMMENT = re.compile(rb"#[^\r\n]*")
_START_OF_SCAN = b"\xff\xda"
_TILE_WIDTH, _TILE_LENGTH, _ROWS_PER_STRIP = 322, 323, 278  # TIFF tags
_ORIENTATION = 0x0112  # EXIF tag, and the transposition that undoes each value
_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BITS = re.compile(r";(\d+)")  # in the name of a raw mode, such as RGB;16B
_BITS_OF_MODES = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16}
_HIGH_BYTE = [value >> 8 for value in range(2**16)]  # PIL would clip 16-bit grey to 255


def read_size(file: str | bytes, name: str) -> tuple[int, int]:
    """Width and height of an image, without decoding. Raises DataError that names the image."""
    with _opened(file, name) as image:
        return image.size


class Header(NamedTuple):
    """What an image says of itself before it is decoded."""

    format: str  # JPEG, PNG, ...
    mode: str  # Pillow's: L is grey, P has a palette
    bits: int  # per channel, as stored
    size: tuple[int, int]  # width, height


def read_header(file: str | bytes, name: str) -> Header:
    """The header of an image, without decoding. Raises DataError that names the image."""
    with _opened(file, name) as image:
        return Header(format=image.format or "?", mode=image.mode, bits=_bits(image), size=image.size)


def _bits(image: Image.Image) -> int:
    """Bits per channel: Pillow opens 16-bit colours in a mode of 8."""
    tiles = getattr(image, "tile", ()) if image.format in ("PNG", "PPM", "TIFF") else ()
    raw = tiles[0].args if tiles else None
    stored = _BITS.search(str(raw[0] if isinstance(raw, tuple) and raw else raw or ""))
    return int(stored[1]) if stored else _BITS_OF_MODES.get(image.mode, 8)


def first_frame(file: str | bytes, name: str) -> Image.Image:
    """The first frame of an image, in RGB, upright according to EXIF.

    Raises DataError that names the image, for every error of a decoder and for an image beyond the limits.
    """
    with _opened(file, name) as image:
        image.load()
        return _to_rgb(_upright(image))


class _BeyondLimitsError(Exception):
    """The image exceeds a limit and is not decoded; it may be valid."""


@contextmanager
def _opened(file: str | bytes, name: str) -> Iterator[Image.Image]:
    """Opens an image within the limits. Ignores a decoder's warnings, and turns its exceptions into DataError."""
    try:
        data = file if isinstance(file, bytes) else _read_bytes(file)
        with warnings.catch_warnings(action="ignore"), _open_bytes(data) as image:
            yield image
    except (_BeyondLimitsError, Image.DecompressionBombError) as error:  # Pillow checks its own limit first
        said = error if isinstance(error, _BeyondLimitsError) else f"it has more than {MAX_PIXELS:,} pixels"
        raise DataError(f"{name}: the image cannot be decoded ({said}); scale it down or leave it out") from error
    except Exception as error:  # decoders raise a dozen types for broken files
        raise DataError(
            f"{name}: the image cannot be decoded ({_reason(error)}); replace it or leave it out"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no known image format"
    if isinstance(error, MemoryError):
        return "not enough memory"
    return str(error) or type(error).__name__


def _read_bytes(path: str) -> bytes:
    with Path(path).open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        if size > MAX_FILE:
            raise _BeyondLimitsError(f"the file has {size:,} bytes, and at most {MAX_FILE:,} are read")
        return raw.read()


def _open_bytes(data: bytes) -> Image.Image:
    """Opens bytes, never a path: Pillow would map the file, and crash if it is truncated meanwhile."""
    if data.startswith(_PLAIN_PPM):
        data = _COMMENT.sub(b"", data)  # Pillow copies the rest of the block for each comment
    if data.startswith(b"\x89PNG") and data.count(b"iCCP") > MAX_PROFILES:
        raise ValueError(f"it has more than {MAX_PROFILES} colour profiles")
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_limits(image, scans=data.count(_START_OF_SCAN) if data.startswith(b"\xff\xd8") else 1)
    return image


def _check_limits(image: Image.Image, *, scans: int) -> None:
    shown, pixels = f"{image.width:,}x{image.height:,} pixels", image.width * image.height
    if pixels > MAX_PIXELS:
        raise _BeyondLimitsError(f"it has {shown}, and at most {MAX_PIXELS:,} are decoded")
    if _codec(image) in _CODECS_IN_PYTHON and pixels > MAX_PIXELS_IN_PYTHON:
        raise _BeyondLimitsError(
            f"it has {shown} in a slow form of {image.format}, of which at most {MAX_PIXELS_IN_PYTHON:,} are decoded; "
            "save it as PNG"
        )
    if pixels * scans > MAX_PIXELS_OF_SCANS:
        raise _BeyondLimitsError(f"it has {shown} in {scans:,} scans, and {MAX_PIXELS_OF_SCANS // pixels} are decoded")
    if _memory(image) > MAX_MEMORY:
        raise _BeyondLimitsError(
            f"its {shown} take {_memory(image) / 2**30:.1f} GiB of memory to decode, and at most "
            f"{MAX_MEMORY / 2**30:.1f} GiB are used"
        )


def _memory(image: Image.Image) -> int:
    """Peak memory of decoding in bytes: the codec's buffers, the decoded pixels, and a copy."""
    decoded = {"1": 1, "L": 1, "P": 1}.get(image.mode, 4)
    pixels = image.width * image.height
    return pixels * (decoded + 4) + _buffers(image, pixels)


def _buffers(image: Image.Image, pixels: int) -> int:
    if image.format == "WEBP":
        return 8 * pixels  # the canvas, and the frame as bytes
    if "progressive" in image.info:
        return 2 * len(image.getbands()) * pixels  # coefficients of the whole image
    if _codec(image) == "libtiff":
        return 8 * _strip_pixels(image)  # up to four 16-bit samples
    return 0


def _codec(image: Image.Image) -> str:
    tiles = getattr(image, "tile", [])
    return str(tiles[0][0]) if tiles else ""


def _strip_pixels(image: Image.Image) -> int:
    """Pixels that libtiff decodes at once. A file may declare tiles larger than the image."""
    tags = getattr(image, "tag_v2", {})
    rows = tags.get(_ROWS_PER_STRIP, image.height)
    sides = tags.get(_TILE_WIDTH, image.width), tags.get(_TILE_LENGTH, min(rows, image.height))
    return math.prod(map(operator.index, sides))


def _upright(image: Image.Image) -> Image.Image:
    """Turns an image upright by EXIF; a broken EXIF block is ignored."""
    if "exif" not in image.info:
        return image
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION))
    except Exception:  # PIL raises a dozen types for broken EXIF
        return image
    return image if turn is None else image.transpose(turn)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey
        image = image.convert("I").point(_HIGH_BYTE, "L")
    image.info.pop("transparency", None)  # PIL would search for the transparent colour
    return image if image.mode == "RGB" else image.convert("RGB")
