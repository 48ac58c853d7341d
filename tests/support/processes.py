"""Processes of a launch, as Linux's /proc shows them: who descends from whom, and who listens where."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import re
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process, told from a later one of the same number by when it started."""

    pid: int
    parent: int
    started: int  # clock ticks since boot
    title: str

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        now = read(self.pid)
        return now is not None and now.started == self.started

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        self._send(signal.SIGKILL)

    def freeze(self, *, seconds: float = 1.0) -> None:
        """SIGSTOP, and waits until it stands still: a system call that is under way is finished first."""
        self._send(signal.SIGSTOP)
        deadline = time.monotonic() + seconds
        while _state(self.pid) not in (None, "T", "Z", "X") and time.monotonic() < deadline:
            time.sleep(0.0002)

    @property
    def stopped(self) -> bool:
        """Whether it stands still."""
        return self.alive and _state(self.pid) == "T"

    def thaw(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def read(pid: int) -> Process | None:
    """The process of that number; None when there is none, or only its zombie."""
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
        title = Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (OSError, ValueError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), int(fields[19]), title)


def _state(pid: int) -> str | None:
    with contextlib.suppress(OSError):
        return Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()[0]
    return None


def descendants(pid: int) -> list[Process]:
    """Children, grandchildren and so on; not the process itself."""
    everyone = [process for process in _all() if process.pid != pid]
    family, found = {pid}, list[Process]()
    while new := [process for process in everyone if process.parent in family and process not in found]:
        found += new
        family |= {process.pid for process in new}
    return found


def ray_workers(processes: Iterable[Process]) -> list[Process]:
    """Those that hold a trainable of Tune's; neither Ray's idle workers nor its agents.

    Titled `ray::JobTrainable` between two calls and `ray::ResourceTrainable.train` in one: Tune wraps the class.
    """
    return [process for process in processes if re.match(r"ray::\w*Trainable\b", process.title)]


def at_work(processes: Iterable[Process]) -> list[Process]:
    """Those of the workers that are in a call now: starting, training, or taking the next job."""
    return [process for process in ray_workers(processes) if "." in process.title]


def ray_server(processes: Iterable[Process], program: str, *, of: int) -> Process | None:
    """Ray's `raylet` or `gcs_server` that the process numbered `of` started itself; None when it has none."""
    own = (process for process in processes if process.parent == of)
    return next((process for process in own if Path(process.title.partition(" ")[0]).name == program), None)


def belongs(pid: int, ancestor: int) -> bool:
    """Whether a process is a child, grandchild and so on of another."""
    process = read(pid)
    while process is not None and process.parent not in (ancestor, 0):
        process = read(process.parent)
    return process is not None and process.parent == ancestor


def started_with(name: str, value: str) -> list[Process]:
    """The processes that were given this variable, whoever their parent is by now."""
    return [process for process in _all() if value in environment(process.pid, name)]


def environment(pid: int, name: str) -> list[str]:
    """The values of a variable that a process was started with; none when it is not there or may not be looked at."""
    try:
        entries = Path("/proc", str(pid), "environ").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []
    return [entry.partition("=")[2] for entry in entries if entry.startswith(f"{name}=")]


def holders(path: Path) -> list[Process]:
    """The processes that have this file open."""
    return [process for process in _all() if any(Path(target) == path for target in _open_files(process.pid))]


def survivors(processes: Iterable[Process], *, seconds: float) -> list[Process]:
    """Those that still run after so many seconds; returns at once when all have ended."""
    deadline, left = time.monotonic() + seconds, list(processes)
    while (left := [process for process in left if process.alive]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left


def listening(processes: Iterable[Process]) -> set[str]:
    """Local addresses, like `127.0.0.1:1234` or `::1:1234`, on which these processes accept TCP connections."""
    sockets = {socket for process in processes for socket in _sockets(process.pid)}
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
    return {_address(row[1]) for row in rows if row[3] == "0A" and row[9] in sockets}  # 0A: LISTEN


def _all() -> Iterator[Process]:
    for folder in Path("/proc").iterdir():
        process = read(int(folder.name)) if folder.name.isdigit() else None
        if process is not None:
            yield process


def _sockets(pid: int) -> Iterator[str]:
    return (target[8:-1] for target in _open_files(pid) if target.startswith("socket:["))


def _open_files(pid: int) -> Iterator[str]:
    with contextlib.suppress(OSError):  # it has just ended
        for link in Path("/proc", str(pid), "fd").iterdir():
            with contextlib.suppress(OSError):
                yield str(link.readlink())


def _address(text: str) -> str:
    host, _, port = text.partition(":")
    words = [bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8)]  # each in the host's byte order
    address = ipaddress.ip_address(b"".join(words))
    return f"{getattr(address, 'ipv4_mapped', None) or address}:{int(port, 16)}"
