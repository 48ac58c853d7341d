"""The headers of many images: what they say of themselves, without decoding."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from trainers.data.decoding import Header, read_header
from trainers.data.images import ArrayImages, EncodedImages, FileImages, Images
from trainers.errors import DataError

_THREADS = 16  # they wait for the disk, not the processor


def headers(images: Images) -> Iterator[Header | DataError]:
    """The header of each image in order, or why it cannot be opened."""
    if isinstance(images, ArrayImages):
        found = Header(format="array", mode="L" if images.channels == 1 else "RGB", bits=8, size=images.size(0))
        yield from (found for _ in range(len(images)))
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(lambda index: _header(images, index), range(len(images)))


def _header(images: Images, index: int) -> Header | DataError:
    try:
        if isinstance(images, FileImages):
            return read_header(images.paths[index], images.name(index))
        if isinstance(images, EncodedImages):
            return read_header(images.rows[index].as_py(), images.name(index))
        return Header(format="?", mode="L" if images.channels == 1 else "RGB", bits=8, size=images.size(index))
    except DataError as error:
        return error
