"""Stop requests: SIGINT, SIGTERM, SIGHUP and `tuner stop`."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType, TracebackType
from typing import Literal, NoReturn

from tuner.errors import KilledError, StoppedError
from tuner.terminal.output import terminal_safe

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AGAIN = 0.01  # seconds until a request that was dropped is raised again
_POLL = 2.0  # seconds between two reads of the database
STOP_NOTICE = "stopping after current epochs; Ctrl-C again stops now; continue with: tuner resume {name}"


class StopRequests:
    """A context manager that owns a command's signal handlers until its process ends.

    The first signal raises KeyboardInterrupt; after `note` it is only recorded and announced. The second one always
    raises. Later ones do nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self.at_once = False  # by a second signal, or `tuner stop --now`
        self._raised = False
        self._dropped = False
        self._hook = sys.unraisablehook
        self._notice: str | None = None
        self._tell: Callable[[str], None] = _write_unbuffered
        self._polled = 0.0
        self._words = ""

    def __enter__(self) -> StopRequests:
        for number in _SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores it
                signal.signal(number, self._on_signal)
        sys.unraisablehook = self._on_unraisable
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Ignores signals from here on: they must not change the exit code while the interpreter ends."""
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        sys.unraisablehook = self._hook

    def note(self, notice: str, tell: Callable[[str], None]) -> None:
        """From now on the first request raises nothing: it calls `tell(notice)`, and `check` and `leave` report it."""
        self._tell, self._notice = tell, notice

    def leave(self) -> None:
        """Raises KeyboardInterrupt if a stop was requested."""
        if self.requested:
            self._raise()

    def check(self, poll: Callable[[], Literal["soft", "now"] | None]) -> bool:
        """True if a stop was requested; calls `poll` every other second. Raises KeyboardInterrupt if it says `now`."""
        if time.monotonic() - self._polled > _POLL:
            request = poll()
            self._polled = time.monotonic()
            if request == "now":
                self.requested = True
                self._raise(at_once=True)
            if request == "soft" and not self.requested:
                self._request()
        return self.requested

    @contextlib.contextmanager
    def ending(self, words: str, *, kind: type[StoppedError | KilledError] = StoppedError) -> Iterator[None]:
        """Turns the KeyboardInterrupt of a stop request into an error of this kind, or KilledError if at once.

        C++ code and imports may replace it by another exception, so any exception after a request counts.
        """
        try:
            yield
        except (StoppedError, KilledError):
            raise
        except BaseException as error:
            if not self._raised or isinstance(error, SystemExit):
                raise
            self._words = self._words or words  # a second signal keeps the first one's words
            raise (KilledError if self.at_once else kind)(self._words) from None

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._dropped:  # the same request once more
            self._dropped = False
            raise KeyboardInterrupt
        if self.at_once:  # the command is ending already
            return
        if self.requested or self._notice is None:
            before, self.requested = self.requested, True
            self._raise(at_once=before)
        self._request()

    def _on_unraisable(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raises a request again that Python dropped, in the callback of a weak reference or in `__del__`."""
        if self._raised and issubclass(unraisable.exc_type, KeyboardInterrupt):
            self._dropped = True
            main = threading.main_thread().ident or 0
            again = threading.Timer(_AGAIN, signal.pthread_kill, (main, signal.SIGINT))  # now it would be in this hook
            again.daemon = True
            again.start()
        else:
            self._hook(unraisable)

    def _request(self) -> None:
        self.requested = True
        try:
            self._tell(self._notice or "")
        except RuntimeError:  # the signal interrupted another write to the same stream
            _write_unbuffered(self._notice or "")

    def _raise(self, *, at_once: bool = False) -> NoReturn:
        self._raised, self.at_once = True, at_once or self.at_once
        raise KeyboardInterrupt


def _write_unbuffered(text: str) -> None:
    """Writes to standard error without a buffer."""
    with contextlib.suppress(OSError):  # the reader is gone
        os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"\n{terminal_safe(text)}\n".encode())
