"""Ctrl-C and SIGTERM: once to stop after the current epochs, twice to stop at once."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Literal

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLL = 2.0  # seconds between two looks into the database
STOP_NOTICE = "stopping after current epochs; Ctrl-C again stops now; continue with: tuner resume {name}"


class StopRequests:
    """Requests to stop, from signals and from the study database; a context manager that owns the handlers."""

    def __init__(self, *, poll: Callable[[], Literal["soft", "now"] | None], notify: Callable[[], None]) -> None:
        self.requested = False
        self._poll = poll
        self._notify = notify
        self._polled = 0.0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequests:
        self._previous = {number: signal.getsignal(number) for number in _SIGNALS}
        self.take_over()
        return self

    def take_over(self) -> None:
        """Installs the handlers, once more where somebody else has put theirs: Ray does when it starts."""
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def check(self) -> bool:
        """Whether to stop; looks into the database every other second. Raises KeyboardInterrupt on `now`."""
        if time.monotonic() - self._polled > _POLL:
            wish = self._poll()
            self._polled = time.monotonic()
            if wish == "now":
                raise KeyboardInterrupt
            if wish == "soft" and not self.requested:
                self._request()
        return self.requested

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self._request()

    def _request(self) -> None:
        self.requested = True
        self._notify()
