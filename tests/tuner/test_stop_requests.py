"""A request to stop is raised where Python lets it be, and never dropped with a traceback."""

from __future__ import annotations

import subprocess
import sys

import pytest

IN_A_CALLBACK = """
import os, signal, time, weakref
from tuner.stopping import StopRequests

class Owner:
    def __del__(self):
        if {in_del}:
            ask()

def ask(*_):
    for _ in range({times}):
        os.kill(os.getpid(), signal.SIGTERM)
    sum(range(1000))

with StopRequests() as stops:
    owner = Owner()
    kept = None if {in_del} else weakref.ref(owner, ask)
    try:
        del owner
        time.sleep(5)
        print("lost")
    except KeyboardInterrupt:
        print("heard", stops.at_once)
"""


@pytest.mark.parametrize("in_del", [False, True])
def test_a_request_amid_a_callback_that_drops_errors_is_heard(in_del: bool) -> None:
    script = IN_A_CALLBACK.format(in_del=in_del, times=1)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("heard False\n", "")


def test_other_errors_that_are_dropped_are_shown_as_before() -> None:
    script = IN_A_CALLBACK.format(in_del=True, times="none")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "lost\n"
    assert "NameError" in done.stderr
