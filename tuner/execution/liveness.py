"""Detects the death of Ray's servers, which Ray does not report, and ends the driver."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import psutil

from tuner.errors import UnreachableError
from tuner.terminal.output import say

_VITAL = ("raylet", "gcs_server")
T = TypeVar("T")

_PROBE_EVERY, _GRACE = 2.0, 8.0  # seconds


class EngineLostError(BaseException):
    """A server of Ray died, and no job will return. A BaseException: Tune would take an Exception for a trial's."""


@contextlib.contextmanager
def engine_watched() -> Iterator[None]:
    """Raises EngineLostError in the main thread when one of Ray's servers has been dead for some seconds.

    Without its raylet a driver waits for ever; without its GCS Ray ends the driver after a minute. Between two events
    prefer `lost_process`: within a call, Ray's C++ side turns this error into a SystemError that has it as its cause.
    """
    seen: list[str] = []

    def look(*_: object) -> None:
        lost = lost_process()
        seen.extend([] if lost is None else [lost])
        if lost is not None and len(seen) * _PROBE_EVERY > _GRACE:
            raise EngineLostError(lost)

    before = signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, _PROBE_EVERY, _PROBE_EVERY)
    try:
        with _memory_kills_are_deaths():
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _memory_kills_are_deaths() -> Iterator[None]:
    """Makes Tune treat a worker that Ray's memory monitor killed as a dead worker.

    Tune handles two failures of a call to a worker: the worker died, or the call raised. The monitor causes a third,
    OutOfMemoryError, on which Tune raises a RuntimeError and the launch ends.
    """
    from ray.air.execution._internal import actor_manager
    from ray.exceptions import OutOfMemoryError, RayActorError

    manager: Any = actor_manager  # it tests isinstance(error, RayActorError)
    manager.RayActorError = (RayActorError, OutOfMemoryError)
    try:
        yield
    finally:
        manager.RayActorError = RayActorError


@contextlib.contextmanager
def start_watched() -> Iterator[None]:
    """Ends this process with exit code 4 when one of Ray's servers has been dead for some seconds while Ray starts.

    No trial is lost: none runs before Ray has started.
    """
    with _deaths_watched("while Ray started", grace=_GRACE), _signals_kept():
        yield


def use_watched() -> contextlib.AbstractContextManager[None]:
    """Ends this process with exit code 4 when one of Ray's servers has been dead for about half a minute.

    `engine_watched` is faster where Python can handle a signal. Every finished result is in the database by then.
    """
    return _deaths_watched("while Ray was in use", grace=3 * _GRACE)


@contextlib.contextmanager
def _deaths_watched(when: str, *, grace: float) -> Iterator[None]:
    """Ends this process with exit code 4 when one of Ray's servers has been dead for `grace` seconds within the block.

    A driver waits for a dead server in a call that handles no signal, until Ray ends the process with exit code 1 after
    a minute; only another thread is faster. Ray's processes end with this process, as after a kill.
    """
    over = threading.Event()

    def look() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the main thread gets it, see `_signals_kept`
        seen = dict[str, psutil.Process]()
        looks = 0
        while not over.wait(_PROBE_EVERY):
            if len(seen) < len(_VITAL):
                seen = _own_servers() | seen
            dead = next((name for name, server in seen.items() if not _lives(server)), None)
            looks = 0 if dead is None else looks + 1
            if looks * _PROBE_EVERY > grace:
                words = f"Ray's {dead} died {when} (killed, or out of memory); nothing that was finished is lost"
                say(f"error: {words}: give the same command again", err=True)
                os._exit(UnreachableError.exit_code)

    thread = threading.Thread(target=look, name="Ray's servers", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def _signals_kept() -> Iterator[None]:
    """Keeps our signal handlers while Ray starts and when it ends.

    Ray replaces our SIGTERM handler twice: by one in Python that ends the driver silently, and, as it connects, by one
    in C++ that aborts it after three seconds. As it disconnects it removes the handler. A terminal that closes sends
    SIGHUP to all its processes; Ray's inherit a mask that blocks it, so that they survive a soft stop.
    """
    from ray import _raylet
    from ray._private import utils

    core: Any = _raylet  # has no types
    connection, set_handler = core.CoreWorker, utils.set_sigterm_handler
    ours = _untouching(connection)
    utils.set_sigterm_handler = lambda _: None
    core.CoreWorker = lambda *args, **named: _as_if_untouched(lambda: ours(*args, **named))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        core.CoreWorker, utils.set_sigterm_handler = connection, set_handler


def _untouching(connection: Any) -> Any:
    """Ray's connection class, changed to keep the SIGTERM handler when it disconnects."""

    class Untouching(connection):  # type: ignore[misc]
        def shutdown_driver(self) -> None:
            _as_if_untouched(super().shutdown_driver)

    return Untouching


def _as_if_untouched(deed: Callable[[], T]) -> T:
    """Runs `deed` with SIGTERM blocked, then restores the SIGTERM handler."""
    before = signal.getsignal(signal.SIGTERM)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        return deed()
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def lost_process() -> str | None:
    """The name of a Ray server that died by itself; None while all live."""
    from ray._private import worker

    node = worker._global_node
    dead: list[str] = [] if node is None else [kind for kind, _ in node.dead_processes()]
    return next((kind for kind in dead if kind in _VITAL), None)


def _own_servers() -> dict[str, psutil.Process]:
    """Ray's servers among the children of this process."""
    found = dict[str, psutil.Process]()
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() in _VITAL:
                found[child.name()] = child
    return found


def _lives(server: psutil.Process) -> bool:
    try:
        return bool(server.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
