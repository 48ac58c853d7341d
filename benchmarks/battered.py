"""One study under fire: struck, launched again, and looked at when it has ended."""

from __future__ import annotations

import random
import time
from signal import SIGKILL

from benchmarks.counts import Count, add
from benchmarks.endings import Ending, differences, duplicates, shape
from benchmarks.launches import NAME, Launch, Place, Storage
from benchmarks.strikes import GCS, RAYLET, Deck, Strike, Target, caught
from benchmarks.witness import Sight, Witness
from tests.support.processes import started_with, survivors

GRACE = 90.0  # seconds in which a dead driver's processes must end; Ray's own two agents take 60
STALL = 240.0  # seconds without anything happening after which a launch counts as hung
RESUMABLE = 4  # the exit code of a driver whose Ray died, or whose database is away
UNDER_WAY = 5.0  # seconds
MORE_LAUNCHES = 5  # than strikes, before the campaign gives up on a study


class Battered:
    """A study that is struck until it has had enough, and then let through to its end. `_deal` says how."""

    def __init__(
        self, storage: Storage, place: Place, count: Count, *, chance: random.Random, reference: Ending
    ) -> None:
        self.storage, self.place, self.count = storage, place, count
        self.chance, self.reference = chance, reference
        self._witness = Witness(place.url, NAME)
        self._launches = 0
        self._survived = 0  # results that had been seen at the last strike
        self._writers: set[int] = set()  # workers that may have been stopped amid writing in this launch
        self._cause: str | None = None  # what was struck in this launch without ending it at once

    def run(self, deck: Deck, strikes: int) -> None:
        """Strikes, and looks."""
        with self._witness:
            launch = self._launch()
            struck = 0
            while launch is not None and struck < strikes:
                wanted = deck.draw()
                if self._holds_fire(wanted, struck):
                    self._hold_fire(launch)
                struck += self._strike(deck, wanted, launch)
                launch = self._following(launch, at_most=strikes + MORE_LAUNCHES)
            while launch is not None:
                self._await_end(launch)
                launch = self._following(launch, at_most=strikes + MORE_LAUNCHES)
            self._close()

    # -- what kinds of strike differ in ---------------------------------------------------------------------------

    def _holds_fire(self, wanted: Strike, struck: int) -> bool:
        """Whether this strike waits for a new result."""
        return wanted.moment != "any"

    def _aim(self, wanted: Strike) -> Strike:
        """The process that is caught in that moment."""
        return wanted

    def _deal(self, wanted: Strike, target: Target, launch: Launch) -> bool:
        """Strikes the target, which may stand still; False when it could not."""
        raise NotImplementedError

    def _started(self) -> Launch:
        return Launch(self.place, parallel=self.count.parallel, one_worker=self.count.one_worker)

    def _is_exact(self, sight: Sight) -> bool:
        """Whether the study holds what its budget asks for."""
        return shape(sight) == shape(self.reference.sight)

    def _may_end(self) -> bool:
        """Whether what was struck in this launch may end it with RESUMABLE."""
        return self._cause in (RAYLET, GCS)

    # -- launches -----------------------------------------------------------------------------------------------

    def _launch(self) -> Launch:
        self._launches += 1
        self._writers, self._cause = set(), None
        return self._started()

    def _following(self, launch: Launch, *, at_most: int) -> Launch | None:
        """The launch that goes on: this one, or the next one after its death; None when the study is done."""
        if launch.running and not self._is_stalled(launch):
            return launch
        if self.done(launch):
            return None
        if self._launches > at_most:
            self.count.unended += 1
            return None
        return self._launch()

    def done(self, launch: Launch) -> bool:
        """Whether a launch has ended its study; notes how it ended, which one that hangs is made to."""
        if launch.running:
            self.count.hung += 1
            self._note_after("hung")
            launch.kill()
            return False
        if launch.driver.returncode in (0, -SIGKILL):
            self._note_after("went on")
        else:
            self._ended_by_itself(launch)
        return launch.driver.returncode == 0

    def _ended_by_itself(self, launch: Launch) -> None:
        code, said = launch.driver.returncode, launch.log.read_text()
        self._note_after(f"exit {code}")
        if not self._may_end() or code != RESUMABLE or "Traceback" in said:
            self.count.unexpected_ends.append(f"{code} after {self._cause}: {said[-1000:]}")

    def _note_after(self, what: str) -> None:
        if self._cause is not None:
            add(self.count.after, self._cause, what)

    def _is_stalled(self, launch: Launch) -> bool:
        return time.monotonic() - max(self._witness.moved, launch.began) > STALL

    def _await_end(self, launch: Launch) -> None:
        while launch.running and not self._is_stalled(launch):
            time.sleep(0.1)

    # -- strikes ------------------------------------------------------------------------------------------------

    def _hold_fire(self, launch: Launch) -> None:
        """Until there is a result that the last strike has not met yet."""
        running = lambda: launch.running and not self._is_stalled(launch)  # noqa: E731
        self._witness.wait(lambda sight: len(sight.results) > self._survived, running=running)

    def _strike(self, deck: Deck, wanted: Strike, launch: Launch) -> bool:
        """One strike; False when its moment did not come while this launch ran."""
        over = lambda: not launch.running or self._is_stalled(launch)  # noqa: E731
        target = caught(self._aim(wanted), launch, self.storage, chance=self.chance, over=over)
        if target is None or not self._deal(wanted, target, launch):
            deck.put_back(wanted)
            return False
        deck.struck()
        return True

    def _note(self, wanted: Strike) -> int:
        """How many results the last look saw: it had ended before the strike, or saw more than there was then."""
        seen = len(self._witness.last.results)
        self.count.strikes += 1
        self.count.at_stake += seen
        self.count.fresh += seen > self._survived
        self._survived = seen
        add(self.count.struck, wanted.moment, wanted.victim)
        return seen

    def _await_effect(self, launch: Launch) -> None:
        """Until the driver has ended, or something new has happened; what was on its way may still come in at first."""
        since = time.monotonic() + UNDER_WAY
        while launch.running and self._witness.moved < since and not self._is_stalled(launch):
            time.sleep(0.05)

    # -- the end ------------------------------------------------------------------------------------------------

    def _close(self) -> None:
        sight, count, writers = self._witness.look(), self.count, self._writers
        count.left_running += sight.count("RUNNING")
        count.failed += sight.count("FAIL")
        count.reasons += sight.reasons
        count.tried_again += sum(job.attempts - 1 for job in sight.jobs)
        count.budget_exact &= self._is_exact(sight)
        count.duplicated += duplicates(sight)
        if count.parallel == 1:
            self._compare(Ending(sight, self.place.weights()))
        left = survivors(started_with("TMPDIR", str(self.place.scratch)), seconds=GRACE)
        for process in left:
            process.kill()
        count.orphans += len(left)
        again = self._launch()
        self._await_end(again)
        count.changed_by_relaunch += not self.done(again) or self._witness.look() != sight
        count.lost += len(self._witness.lost)
        count.scratch_left += len(list(self.place.scratch.glob("tuner-*")))
        left_by = [path.name.rpartition(".")[2] for path in (self.place.home / "cache").glob("*/.*")]
        count.unfinished_files += sum(pid not in {str(writer) for writer in writers} for pid in left_by)

    def _compare(self, ending: Ending) -> None:
        self._add_differences(differences(ending, self.reference))
        self.count.weights_compared += len(ending.weights.keys() & self.reference.weights.keys())

    def _add_differences(self, found: list[str]) -> None:
        self.count.differences += found
        self.count.same_as_unkilled = self.count.same_as_unkilled is not False and not found
