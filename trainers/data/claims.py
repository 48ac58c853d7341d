"""A limit on what data files unpack to: images are compressed already, and memory is limited."""

from __future__ import annotations

import os

from trainers.errors import DataError

UNQUESTIONED = 2**26  # bytes that any file may unpack to, whatever its size
MAX_RATIO = 100  # beyond that; handwritten digits, mostly black, reach 10


def check_claim(source: str, *, claimed: int, stored: int) -> None:
    """Raises DataError if `claimed` bytes are out of proportion to the `stored` ones, or exceed the memory."""
    if claimed > max(UNQUESTIONED, MAX_RATIO * stored):
        raise DataError(
            f"{source}: it unpacks to {claimed:,} bytes from {stored:,}, and images do not shrink to less than a "
            f"{MAX_RATIO}th; write the file again without repeated or empty images"
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if claimed > memory:
        raise DataError(
            f"{source}: it unpacks to {claimed:,} bytes, and this machine has {memory:,} bytes of memory; give its "
            "images as files"
        )
