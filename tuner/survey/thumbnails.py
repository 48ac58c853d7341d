"""A few small pictures of some classes, as data URIs: the head, the middle and the tail of the data."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trainers.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

    from trainers.data.pixel_scale import PixelScale
    from trainers.data.pool import Source

EACH = 4  # images of a class
_SIDE = 96  # pixels of the longer side; they are shown smaller, for sharp screens
_TINY = 40  # up to here PNG is as small as JPEG, and exact


def thumbnails(source: Source, classes: Sequence[int], scale: PixelScale) -> Mapping[int, tuple[str | None, ...]]:
    """Up to four training images of each class, evenly spaced; None for one that cannot be decoded."""
    import numpy as np

    found = {}
    for k in classes:
        indices = np.flatnonzero(source.train.labels == k)
        chosen = indices[np.unique(np.linspace(0, len(indices) - 1, min(EACH, len(indices))).round().astype(int))]
        found[k] = tuple(_picture(source, int(index), scale) for index in chosen)
    return found


def _picture(source: Source, index: int, scale: PixelScale) -> str | None:
    from PIL import Image

    try:
        image = source.train.images.open(index, scale)  # upright
    except DataError:
        return None
    if max(image.size) > _SIDE:
        image.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return _uri(image)


def _uri(image: Image) -> str:
    kind = "PNG" if max(image.size) <= _TINY else "JPEG"
    stream = io.BytesIO()
    image.save(stream, kind, **({"quality": 78, "optimize": True} if kind == "JPEG" else {"optimize": True}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
