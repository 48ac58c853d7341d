"""Output whose reader may go away in the middle: after Ctrl-C on `tuner launch 2>&1 | tee log`, tee is gone at once."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_NO_READER = (errno.EPIPE, errno.EIO)  # of a pipe, and of a terminal that was closed


class SteadyStream:
    """Writes to `stream` as long as somebody reads it, and to nobody after that: a study must not end for it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """As of any text stream."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            self._to_nobody(error)
        return len(text)

    def flush(self) -> None:
        """As of any text stream."""
        try:
            self._stream.flush()
        except OSError as error:
            self._to_nobody(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _to_nobody(self, error: OSError) -> None:
        """Under the stream, so that what it still holds back does no harm when the interpreter ends. Raises any other
        error than that nobody reads."""
        if error.errno not in _NO_READER:
            raise error
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, self._stream.fileno())
        os.close(nobody)


@contextlib.contextmanager
def steady_output() -> Iterator[None]:
    """Standard output and error that outlive their readers, while the block runs."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (SteadyStream(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
