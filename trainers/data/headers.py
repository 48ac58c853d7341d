"""A look at many images without decoding: what their headers say, and digests of what can be read."""

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
        bits = 8 * images.pixels.dtype.itemsize
        found = Header(format="array", mode="L" if images.channels == 1 else "RGB", bits=bits, size=images.size(0))
        yield from (found for _ in range(len(images)))
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        yield from pool.map(lambda index: _header(images, index), range(len(images)))


def digests(images: Images) -> Iterator[tuple[int, bytes]]:
    """The digest of each image's content, without those that cannot be read: `headers` says why."""
    if isinstance(images, FileImages):
        with ThreadPoolExecutor(_THREADS) as pool:
            found = pool.map(lambda index: _digest(images, index), range(len(images)))
            yield from ((index, digest) for index, digest in enumerate(found) if digest is not None)
    else:
        yield from enumerate(images.digests(range(len(images))))


def _digest(images: FileImages, index: int) -> bytes | None:
    try:
        return images.digest(index)
    except DataError:
        return None


def _header(images: Images, index: int) -> Header | DataError:
    try:
        if isinstance(images, FileImages):
            return read_header(images.paths[index], images.name(index))
        if isinstance(images, EncodedImages):
            return read_header(images.rows[index].as_py(), images.name(index))
        return Header(format="?", mode="L" if images.channels == 1 else "RGB", bits=8, size=images.size(index))
    except DataError as error:
        return error
