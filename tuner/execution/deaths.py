"""Why a worker died: from Ray's report and the kernel's count of out-of-memory kills."""

from __future__ import annotations

import re
from pathlib import Path

_REASON_LENGTH = 300  # characters of a reason
_MONITOR = re.compile(r"was (?P<used>[\d.]+ ?GB) used / (?P<all>[\d.]+ ?GB) limit")
_GUESSES = "Some common causes include"
_FEWER = "fewer jobs at a time (--parallel) need less"


def oom_kills() -> int:
    """The kernel's out-of-memory kills since boot; 0 if it does not count them."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def cause(report: str, *, oom_killed: bool) -> str:
    """The cause of death in one line of at most 300 characters, without Ray's general guesses.

    `oom_killed`: the kernel killed some process for lack of memory meanwhile; it does not say which one.
    """
    if "The actor never ran" in report:
        return "it was ended before it took the job"
    if "node running low on memory" in report:
        found = _MONITOR.search(report)
        how_full = f" ({found['used']} of {found['all']} used)" if found else ""
        return f"Ray killed it because the machine was nearly out of memory{how_full}; {_FEWER}"
    if _GUESSES in report:
        killer = f" when the kernel killed a process for lack of memory; {_FEWER}" if oom_killed else ""
        return f"it was killed or crashed{killer or ' silently (SIGKILL, or a fault in C++)'}"
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines or ["no reason given"])[-1][:_REASON_LENGTH]
