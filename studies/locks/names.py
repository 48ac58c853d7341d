"""How messages name the holder of a study's lock."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime

from studies.errors import StudyLockedError

JUST_STARTED = "a driver that has just started"
JUST_ENDED = "a driver that has just ended"


def this_driver(separator: str) -> str:
    """Process, machine and start time."""
    return f"{this_process(separator)}{separator}since={datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def this_process(separator: str) -> str:
    """The start of this process's name as a holder."""
    return f"pid={os.getpid()}{separator}host={socket.gethostname()}"


def locked(name: str, holder: str) -> StudyLockedError:
    """The error that names the holder."""
    return StudyLockedError(
        f"study {name!r} is already being run by {holder}; wait for it, stop it with `tuner stop {name}`, "
        "or choose another name with --name"
    )
