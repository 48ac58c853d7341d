"""Output that survives its reader: after Ctrl-C on `tuner launch 2>&1 | tee log`, tee is gone at once."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from typing import Any, TextIO

_NO_READER = (errno.EPIPE, errno.EIO)  # from a pipe, and from a closed terminal


class SteadyStream:
    """Writes to `stream` while it has a reader, then to /dev/null, so that the study goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Like any text stream's, and flushes."""
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError as error:
            self._to_nobody(error)
        return len(text)

    def flush(self) -> None:
        """Like any text stream's."""
        try:
            self._stream.flush()
        except OSError as error:
            self._to_nobody(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _to_nobody(self, error: OSError) -> None:
        """Redirects the file descriptor, so that the stream's buffer causes no error when the interpreter ends.

        Raises any error other than a missing reader.
        """
        if error.errno not in _NO_READER:
            raise error
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, self._stream.fileno())
        os.close(nobody)


@contextlib.contextmanager
def steady_output() -> Iterator[None]:
    """Makes standard output and error survive their readers within the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (SteadyStream(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
