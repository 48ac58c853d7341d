"""Output that outlives its reader."""

from __future__ import annotations

import os
import sys

from tuner.terminal.streams import SteadyStream, steady_output


def test_writing_to_nobody_is_no_error() -> None:
    reading, writing = os.pipe()
    with open(writing, "w", buffering=1, closefd=False) as inner:
        stream = SteadyStream(inner)
        assert stream.write("heard\n") == 6
        assert os.read(reading, 100) == b"heard\n"
        os.close(reading)
        for _ in range(3):
            assert stream.write("unheard\n") == 8
            stream.flush()
        assert stream.fileno() == writing
    os.close(writing)


def test_the_streams_are_given_back() -> None:
    before = sys.stdout, sys.stderr
    with steady_output():
        assert isinstance(sys.stderr, SteadyStream)
    assert (sys.stdout, sys.stderr) == before
