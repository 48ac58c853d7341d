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
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from PIL import Image, UnidentifiedImageError

from trainers.data.deep_pixels import byte_image, deep_form, deep_values, extent, needs_high_bytes_only
from trainers.data.pixel_scale import AS_BEFORE, Content, PixelScale
from trainers.errors import BadImageError, DeepImageError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # JPEG includes MPO, which phones name .jpg

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
MISSING = "there is no such file"
_FOUND_INSTEAD = (  # what is often saved under an image's name, by how it begins
    (re.compile(rb"\s*<(!doctype\s+html|html|head)", re.IGNORECASE), "it is an HTML page, perhaps a failed download"),
    (re.compile(rb"version https://git-lfs"), "it is a pointer of Git LFS; fetch the file with git lfs pull"),
    (re.compile(rb"....ftyp(heic|heix|mif1|avif)", re.DOTALL), "it is HEIC or AVIF, which are not read"),
    (re.compile(rb"(II\*\0|MM\0\*)"), "a form of TIFF that is not read, such as floats in colour or of 64 bits"),
)
_BYTES_OF_DEEP_COLOUR = 18  # per pixel: two decoded images, and the values
_LARGE = 2**27  # bytes of memory; of larger images one is decoded at a time
_one_large = threading.Lock()
_BITS = re.compile(r";(\d+)")  # in the name of a raw mode, such as RGB;16B
_BITS_OF_MODES = {"1": 1, "I": 32, "F": 32, "I;16": 16, "I;16B": 16, "I;16L": 16}


def read_size(file: str | bytes, name: str) -> tuple[int, int]:
    """Width and height of an image, without decoding. Raises DataError that names the image."""
    with _opened(file, name) as (image, _):
        return image.size


class Header(NamedTuple):
    """What an image says of itself before it is decoded."""

    format: str  # JPEG, PNG, ...
    mode: str  # Pillow's: L is grey, P has a palette
    bits: int  # per channel, as stored
    size: tuple[int, int]  # width, height
    several: bool = False  # pages or frames, of which only the first is read


def read_header(file: str | bytes, name: str) -> Header:
    """The header of an image, without decoding. Raises DataError that names the image."""
    with _opened(file, name) as (image, _):
        several = image.format != "MPO" and bool(getattr(image, "is_animated", False))  # a photograph and its preview
        return Header(format=image.format or "?", mode=image.mode, bits=_bits(image), size=image.size, several=several)


def _bits(image: Image.Image) -> int:
    """Bits per channel: Pillow opens 16-bit colours in a mode of 8."""
    tiles = getattr(image, "tile", ()) if image.format in ("PNG", "PPM", "TIFF") else ()
    raw = tiles[0].args if tiles else None
    stored = _BITS.search(str(raw[0] if isinstance(raw, tuple) and raw else raw or ""))
    return int(stored[1]) if stored else _BITS_OF_MODES.get(image.mode, 8)


def first_frame(file: str | bytes, name: str, scale: PixelScale = AS_BEFORE) -> Image.Image:
    """The first frame of an image, in RGB, upright according to EXIF; deep values become bytes by `scale`.

    Raises BadImageError for every error of a decoder and for an image beyond the limits, and DeepImageError if the
    scale has no range for the image.
    """
    with _opened(file, name) as (image, data), _memory_for(image):
        form = deep_form(image)
        if form is not None and scale.range_of(form.kind) is None:
            raise DeepImageError(f"{name}: the image is {form.name}, and no black and white are known for that")
        if form is None or needs_high_bytes_only(form, scale):
            image.load()
            return _to_rgb(_upright(image))
        return byte_image(deep_values(image, form, upright=_upright, again=lambda: _open_again(data)), form, scale)


def look(file: str | bytes, name: str) -> Content | None:
    """Decodes the first frame, and says what values it has if they are deeper than 8 bits.

    A JPEG is decoded to an eighth of its size, which reads all of the file. Raises BadImageError.
    """
    with _opened(file, name) as (image, data), _memory_for(image):
        form = deep_form(image)
        if form is None:
            image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
            image.load()
            return None
        return extent(image, form, name, upright=_upright, again=lambda: _open_again(data))


class _WithoutWarnings:
    """Ignores warnings while any thread is in it; threads that overlap in `catch_warnings` would leave them off."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._caught = warnings.catch_warnings(action="ignore")

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._caught = warnings.catch_warnings(action="ignore")
                self._caught.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._caught.__exit__(None, None, None)


_without_warnings = _WithoutWarnings()


class _BeyondLimitsError(Exception):
    """The image exceeds a limit and is not decoded; it may be valid."""


@contextmanager
def _opened(file: str | bytes, name: str) -> Iterator[tuple[Image.Image, bytes]]:
    """An opened image within the limits, and its bytes. Ignores warnings, and turns exceptions into BadImageError."""
    data = b""
    try:
        data = file if isinstance(file, bytes) else _read_bytes(file)
        with _without_warnings, _open_bytes(data) as image:
            yield image, data
    except DeepImageError:
        raise
    except (_BeyondLimitsError, Image.DecompressionBombError) as error:  # Pillow checks its own limit first
        said = error if isinstance(error, _BeyondLimitsError) else f"it has more than {MAX_PIXELS:,} pixels"
        raise BadImageError(name, str(said), "scale it down or leave it out") from error
    except Exception as error:  # decoders raise a dozen types for broken files
        raise BadImageError(name, _reason(error, data), "replace it or leave it out") from error


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        found = (words for begin, words in _FOUND_INSTEAD if begin.match(data))
        return next(found, "no known image format" if data else "it is empty")
    if isinstance(error, MemoryError):
        return "not enough memory"
    said = read_failure(error) or str(error) or type(error).__name__
    return "it is truncated" if "truncated" in said.lower() else said  # decoders say it in several ways


def read_failure(error: Exception) -> str | None:
    """Why a file cannot be read, without its path; None for other errors."""
    if isinstance(error, FileNotFoundError):
        return MISSING
    return error.strerror if isinstance(error, OSError) else None


def _read_bytes(path: str) -> bytes:
    with Path(path).open("rb") as raw:
        size = os.fstat(raw.fileno()).st_size
        if size > MAX_FILE:
            raise _BeyondLimitsError(f"the file has {size:,} bytes, and at most {MAX_FILE:,} are read")
        return raw.read()


def _memory_for(image: Image.Image) -> AbstractContextManager[object]:
    return _one_large if _memory(image) > _LARGE else nullcontext()


def _open_bytes(data: bytes) -> Image.Image:
    """Opens bytes, never a path: Pillow would map the file, and crash if it is truncated meanwhile."""
    if data.startswith(_PLAIN_PPM):
        data = _COMMENT.sub(b"", data)  # Pillow copies the rest of the block for each comment
    if data.startswith(b"\x89PNG") and data.count(b"iCCP") > MAX_PROFILES:
        raise ValueError(f"it has more than {MAX_PROFILES} colour profiles")
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _check_limits(image, scans=data.count(_START_OF_SCAN) if data.startswith(b"\xff\xd8") else 1)
    return image


def _open_again(data: bytes) -> Image.Image:
    """The same image, for the low bytes of colour in 16 bits, which take more memory than the high ones alone."""
    image = _open_bytes(data)
    if image.width * image.height * _BYTES_OF_DEEP_COLOUR > MAX_MEMORY:
        raise _BeyondLimitsError(f"it has {image.width:,}x{image.height:,} pixels of 16 bits in each colour")
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
    decoded = {"1": 1, "L": 1, "P": 1, "I": 8, "F": 8}.get(image.mode, 4)  # of I and F, the array too
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
    image.info.pop("transparency", None)  # PIL would search for the transparent colour
    return image if image.mode == "RGB" else image.convert("RGB")
