"""A study whose database, or home, is taken away in the middle of a launch, and put back when that has ended.

The launch must end resumable and in words, must make nothing at the old place, and goes on when all is back. It stands
still (SIGSTOP) while the files are taken and a second launch tries to get the study: that one must be refused, wherever
the study lies then, or have a study of its own, to which nobody else may write.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from pathlib import Path

from benchmarks.absence import ANEW, HOME, MOVED, OLDER, WAYS, Absence, copy_of, take_away
from benchmarks.battered import RESUMABLE, Battered
from benchmarks.counts import TakeCount, add
from benchmarks.endings import Ending, differences, duplicates
from benchmarks.launches import NAME, Launch
from benchmarks.strikes import DRIVER, Deck, Strike, Target
from benchmarks.witness import Witness

MOMENTS = ("any", "at work", "commit", "results")
FEW_TAKINGS = (Strike("results", MOVED),)
NOTICED = 150.0  # seconds in which a launch must have ended; it waits 60 for a database that is busy
DECIDED = 120.0  # seconds in which a second launch must have been refused
REFUSED = (1, RESUMABLE)  # exit codes: the study has a driver; its database is away
TOLD = 700  # characters of what a launch said at its end


def takings(chance: random.Random) -> tuple[Strike, ...]:
    """Every way once, at moments by chance."""
    moments = chance.sample(MOMENTS * 2, len(WAYS))
    return tuple(Strike(moment, way) for moment, way in zip(moments, WAYS, strict=True))


class Taken(Battered):
    """Every strike but those at any moment waits for a new result."""

    count: TakeCount
    _ended: Launch | None = None  # the last one whose end has been counted

    @property
    def _older(self) -> Path:
        return self.place.folder / "older.db"

    @property
    def _database(self) -> Path:
        return self.place.home / "studies.db"

    def _holds_fire(self, wanted: Strike, struck: int) -> bool:
        return wanted.moment != "any" or wanted.victim == OLDER

    def _strike(self, deck: Deck, wanted: Strike, launch: Launch) -> bool:
        while launch.running and not self._database.exists() and not self._is_stalled(launch):
            time.sleep(0.05)  # on a busy machine its driver takes longer to make it than any moment is away
        if wanted.victim == OLDER and self._database.exists():
            copy_of(self._database, self._older)
        return super()._strike(deck, wanted, launch)

    def _aim(self, wanted: Strike) -> Strike:
        return Strike(wanted.moment, DRIVER)

    def _deal(self, wanted: Strike, target: Target, launch: Launch) -> bool:
        target.process.freeze()
        if not target.process.stopped or not self._is_under_way():
            target.process.thaw()
            return False
        with self._witness.resting():
            self._note(wanted)
            said = launch.log.stat().st_size
            absence = take_away(wanted.victim, self.place, older=self._older)
            second = self._second(wanted.victim, absence)
            target.process.thaw()
            self._await_code(wanted.victim, launch, said=said)
            self._account(wanted.victim, absence, second)
            absence.put_back()
        return True

    def _is_under_way(self) -> bool:
        """Whether there is a database, and something left to write to it."""
        missing = len(self._witness.last.results) < len(self.reference.sight.results)
        return missing and self._database.exists()

    def _ended_by_itself(self, launch: Launch) -> None:
        if launch is not self._ended:
            super()._ended_by_itself(launch)

    # -- the launch whose files are away --------------------------------------------------------------------------

    def _await_code(self, way: str, launch: Launch, *, said: int) -> None:
        began, self._ended = time.monotonic(), launch
        code = _code(launch, seconds=NOTICED)
        took = time.monotonic() - began
        self.count.seconds[way] = max(round(took, 1), self.count.seconds.get(way, 0.0))
        add(self.count.after, way, f"exit {code}" if code is not None else "hung")
        if code is None:
            launch.kill()
        words = self._words(launch, said=said)
        if words not in self.count.words.setdefault(way, []):
            self.count.words[way].append(words)
        if code != RESUMABLE or "Traceback" in words or self._database.name not in "".join(words.split()):
            self.count.unexpected_ends.append(f"{code} ({way}): {words}")

    def _words(self, launch: Launch, *, said: int = 0) -> str:
        text = launch.log.read_bytes()[said:].decode(errors="replace")
        return text.replace(str(self.place.folder), "FOLDER").strip()[-TOLD:]

    # -- a second launch ----------------------------------------------------------------------------------------

    def _second(self, way: str, absence: Absence) -> Launch:
        """Launched where somebody would do so; it has been refused, or is at work on a study, when this returns."""
        place = self.place.moved(absence.home_now) if way == HOME else self.place
        second = Launch(place.second())
        if way == ANEW:
            with Witness(second.place.url, NAME) as witness:
                witness.wait(lambda sight: sight.count("RUNNING") > 0, running=lambda: second.running, seconds=DECIDED)
        else:
            _code(second, seconds=DECIDED)
        return second

    def _account(self, way: str, absence: Absence, second: Launch) -> None:
        """What came to the old place, and of the second launch; that one ends now."""
        if way == ANEW:
            problem = self._unlike_untouched(second)
        else:
            self.count.made_anew += [f"{name} ({way})" for name in absence.made()]
            problem = self._got_the_study(second)
        second.end()
        shutil.rmtree(second.place.scratch, ignore_errors=True)
        expected = "had a study of its own" if way == ANEW else "refused"
        self.count.second[problem or expected] = self.count.second.get(problem or expected, 0) + 1
        self.count.both_at_work += [f"{problem} ({way}): {self._words(second)}"] if problem else []
        if absence.home != absence.home_now and way != ANEW and absence.home.exists():
            self.count.left_there += sum(path.is_file() for path in absence.home.rglob("*"))

    def _got_the_study(self, second: Launch) -> str | None:
        code = second.driver.poll()
        if code in REFUSED and (words := self._words(second)) and "Traceback" not in words:
            return None
        return "was at work on the study" if code is None else f"ended with {code}"

    def _unlike_untouched(self, second: Launch) -> str | None:
        """It goes on to its end, which must be that of a study nobody touched."""
        code = _code(second, seconds=2 * NOTICED)
        if code != 0:
            return f"of a study of its own ended with {code}"
        with Witness(second.place.url, NAME) as witness:
            sight = witness.look()
        unlike = differences(Ending(sight, second.place.weights()), self.reference)
        return f"of a study of its own was written to: {unlike}" if unlike or duplicates(sight) else None


def _code(launch: Launch, *, seconds: float) -> int | None:
    """The exit code; None when it still runs after so long."""
    try:
        return launch.driver.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return None
