"""A study whose driver, workers and Ray are killed by SIGKILL."""

from __future__ import annotations

import time

from benchmarks.battered import Battered
from benchmarks.counts import KillCount
from benchmarks.launches import Launch
from benchmarks.strikes import Strike, Target, killed


class Killed(Battered):
    """Every other kill waits for a new result."""

    count: KillCount

    def _holds_fire(self, wanted: Strike, struck: int) -> bool:
        return bool(struck % 2)

    def _deal(self, wanted: Strike, target: Target, launch: Launch) -> bool:
        if not killed(wanted, target, launch):
            return False
        before = self._note(wanted)
        match wanted.victim:
            case "driver":
                self._account(before)
            case "worker":
                self._writers.add(target.process.pid)
                left = list((self.place.home / "cache").glob(f"*/.*.{target.process.pid}"))
                self.count.half_written += len(left)
            case server:
                self._cause = server
                self._await_effect(launch)
        return True

    def _account(self, before: int) -> None:
        """The driver is dead: what it had in hand is there as a whole, or not at all."""
        if self.place.mark.exists():
            time.sleep(0.2)  # a server may still be at a commit that it was sent
            kept = len(self._witness.look().results) > before
            self.count.results_cut["kept" if kept else "rolled_back"] += 1
