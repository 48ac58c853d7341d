"""Values of more than 8 bits in an opened image: which form they have, what they are, and their image of bytes.

Pillow has no colour of 16 bits: it keeps the high byte of each value. The low byte is read by decoding once more, with
the bytes of the file said to be in the other order.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trainers.data.pixel_scale import FULL, Content, Kind, PixelScale, content_of, to_bytes

# the two orders of bytes; `;16N` is that of this machine. In grey with alpha, RGBA reads both bytes of both.
_NATIVE, _OTHER = ("L", "B") if sys.byteorder == "little" else ("B", "L")
_LOW_BYTES = {
    f"{mode};16{order}": f"{mode};16{other}"
    for mode in ("RGB", "RGBA", "RGBX")
    for order, other in (("L", "B"), ("B", "L"), ("N", _OTHER))
} | {"LA;16B": "RGBA"}
_UNMISTAKABLE = 2**6  # the high byte of a value that needs more than 14 bits

CLIPPED = "clipped"

Opener = Callable[[], Image.Image]  # the same image, opened anew
Turner = Callable[[Image.Image], Image.Image]  # makes it upright


@dataclass(frozen=True)
class DeepForm:
    """How an image stores values of more than 8 bits."""

    name: str  # for messages
    kind: Kind
    raw: str | None = None  # Pillow's name of colour in 16 bits, which it reads as 8


def deep_form(image: Image.Image) -> DeepForm | None:
    """The form of an opened image that is not decoded yet; None for 8 bits or fewer."""
    raw = _raw_mode(image)
    if image.mode == "F":
        return DeepForm("float", "floats")
    if image.mode.startswith("I"):
        narrow = image.mode != "I" or "16" in raw or image.format == "PPM"
        return DeepForm("16-bit" if narrow else "32-bit", "integers")
    return DeepForm("16-bit", "integers", raw) if raw in _LOW_BYTES else None


def extent(image: Image.Image, form: DeepForm, name: str, *, upright: Turner, again: Opener) -> Content:
    """What values an image has. Raises ValueError for NaN and infinities."""
    if form.raw and _high_end(image) >= _UNMISTAKABLE:
        return content_of(_colours(image).astype(np.uint16) * 256, name=name, form=form.name)
    return content_of(deep_values(image, form, upright=upright, again=again), name=name, form=form.name)


def deep_values(image: Image.Image, form: DeepForm, *, upright: Turner, again: Opener) -> npt.NDArray[Any]:
    """All values: (H, W) of grey, (H, W, 3) of colour; transparency is left out."""
    image.load()
    if form.raw is None:
        return np.asarray(upright(image))
    high, low = _colours(upright(image)), _low_bytes(form.raw, upright=upright, again=again)
    found = high.astype(np.uint16)
    found *= 256
    found += low
    return found


def byte_image(values: npt.NDArray[Any], form: DeepForm, scale: PixelScale) -> Image.Image:
    """The values in 8 bits, in RGB; `info[CLIPPED]` is the share that lies beyond black and white."""
    low, high = scale.range_of(form.kind) or FULL
    image = Image.fromarray(to_bytes(values, form.kind, scale)).convert("RGB")
    image.info[CLIPPED] = float(np.mean((values < low) | (values > high)))
    return image


def needs_high_bytes_only(form: DeepForm, scale: PixelScale) -> bool:
    """True if Pillow's own reading of colour in 16 bits is that of the scale."""
    return form.raw is not None and scale.integers == FULL


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", [])
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _high_end(image: Image.Image) -> int:
    image.load()
    return int(_colours(image).max())


def _colours(image: Image.Image) -> npt.NDArray[np.uint8]:
    return np.asarray(image.convert("RGB"))


def _low_bytes(raw: str, *, upright: Turner, again: Opener) -> npt.NDArray[np.uint8]:
    with again() as image:
        tiles = [tile._replace(args=_other_order(tile.args, raw)) for tile in getattr(image, "tile", [])]
        setattr(image, "tile", tiles)  # noqa: B010 (of image files only, not of all images)
        image.load()
        turned = upright(image)
        if raw.startswith("LA"):
            return np.asarray(turned.getchannel("G"))[:, :, None]
        return _colours(turned)


def _other_order(args: Any, raw: str) -> Any:
    return (_LOW_BYTES[raw], *args[1:]) if isinstance(args, tuple) else _LOW_BYTES[raw]
