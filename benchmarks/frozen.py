"""A study whose workers, driver or Ray stand still for a minute (SIGSTOP), and then go on (SIGCONT).

A laptop's lid, a virtual machine that is moved, a debugger: nobody has died, so nothing may be lost, doubled or failed.
Only Ray may give up one of its own that is silent for so long: then a job is tried again, or the launch ends resumable.
"""

from __future__ import annotations

import time

from benchmarks.battered import Battered
from benchmarks.counts import FreezeCount
from benchmarks.launches import Launch
from benchmarks.strikes import DRIVER, GCS, RAYLET, WORKER, Strike, Target
from tests.support.processes import Process

FREEZES = (
    Strike("at work", WORKER),
    Strike("checkpoint", WORKER),
    Strike("any", DRIVER),  # also while Ray starts
    Strike("commit", DRIVER),
    Strike("results", DRIVER),  # with a transaction open
    Strike("at work", RAYLET),
    Strike("at work", GCS),
)
FEW_FREEZES = FREEZES[:1]


class Frozen(Battered):
    """Strikes with SIGSTOP; every one but those at any moment waits for a new result."""

    count: FreezeCount

    def _deal(self, wanted: Strike, target: Target, launch: Launch) -> bool:
        target.process.freeze()
        if not target.process.stopped:
            return False  # it had ended by itself a moment before
        self._note_after("went on")  # from the freeze before in this launch
        self._note(wanted)
        self._cause = wanted.victim
        if wanted.victim == WORKER:
            self._writers.add(target.process.pid)  # Ray may give it up
        if not outlasted(target.process, seconds=self.count.seconds):
            self.count.gave_up[wanted.victim] = self.count.gave_up.get(wanted.victim, 0) + 1
        self._await_effect(launch)
        return True


def outlasted(process: Process, *, seconds: float) -> bool:
    """Whether a process that stands still is still there after so long; it goes on then."""
    until = time.monotonic() + seconds
    while process.alive and time.monotonic() < until:
        time.sleep(0.1)
    there = process.alive
    process.thaw()
    return there
