"""Why a worker died: from Ray's report, and from the kernel's count of what it killed for want of memory."""

from __future__ import annotations

import re
from pathlib import Path

_LONGEST = 300  # characters of a reason
_MONITOR = re.compile(r"was (?P<used>[\d.]+ ?GB) used / (?P<all>[\d.]+ ?GB) limit")
_GUESSES = "Some common causes include"
_FEWER = "fewer jobs at a time (--parallel) need less"


def oom_kills() -> int:
    """Processes that the kernel has killed for want of memory, in all; 0 where it does not tell."""
    try:
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def cause(report: str, *, oom_killed: bool) -> str:
    """The cause of death in one line, at most 300 characters, of what was seen and not what Ray guesses in general.

    `oom_killed`: the kernel has killed a process for want of memory meanwhile. It does not say which one.
    """
    if "The actor never ran" in report:
        return "it was ended before it took the job"
    if "node running low on memory" in report:
        found = _MONITOR.search(report)
        how_full = f" ({found['used']} of {found['all']} used)" if found else ""
        return f"Ray killed it, for the machine was nearly out of memory{how_full}; {_FEWER}"
    if _GUESSES in report:
        killer = f" when the kernel killed a process for want of memory; {_FEWER}" if oom_killed else ""
        return f"it was killed or crashed{killer or ' without a word (SIGKILL, or a fault in C++)'}"
    lines = [line.strip() for line in report.splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (named or lines or ["no reason given"])[-1][:_LONGEST]
