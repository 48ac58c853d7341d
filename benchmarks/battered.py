"""One study under fire: struck, launched again, and looked at when it has ended."""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from benchmarks.launches import NAME, Launch, Place, Sqlite, Storage
from benchmarks.processes import started_with, survivors
from benchmarks.strikes import Deck, Hit, strike
from benchmarks.witness import Key, Row, Sight, Witness

GRACE = 90.0  # seconds in which a dead driver's processes must end; Ray's own two agents take 60
STALL = 240.0  # seconds without anything happening after which a launch counts as hung
RESUMABLE = 4  # the exit code of a driver whose Ray died
UNDER_WAY = 5.0  # seconds
MORE_LAUNCHES = 5  # than kills, before the campaign gives up on a study


@dataclass(frozen=True)
class Ending:
    """What a study came to, as far as a killed one must come to the same."""

    sight: Sight
    weights: Mapping[str, str]  # fingerprint: SHA-256 of the backbone's weights


@dataclass
class Count:
    """What is counted of the studies on one storage at one parallelism."""

    parallel: int
    kills: int = 0
    studies: int = 0
    at_stake: int = 0  # results that had been seen when a kill struck, summed over kills
    fresh: int = 0  # kills before which a result had come since the one before: every other one waits for that
    lost: int = 0  # results (completed trials, readings) that were seen and were gone, or another, later on
    duplicated: int = 0  # trials, jobs or readings that are there twice
    left_running: int = 0
    failed: int = 0  # trials: none may be, for none was tried more often than `max_retries` allows
    budget_exact: bool = True  # as many jobs, COMPLETE trials and readings as without kills
    same_as_unkilled: bool | None = None  # None where it is not promised: more than one job at a time
    differences: list[str] = field(default_factory=list)
    weights_compared: int = 0
    changed_by_relaunch: int = 0  # studies in which one more launch, with nothing left to do, changed something
    orphans: int = 0  # processes that outlived their driver
    scratch_left: int = 0  # folders in the temporary folder after the last launch
    unfinished_files: int = 0  # in the cache after the last launch, but for those that it left itself
    hung: int = 0  # launches in which nothing happened any more
    unended: int = 0  # studies that many launches more than kills did not end
    unexpected_ends: list[str] = field(default_factory=list)  # neither done, nor killed, nor Ray's death
    reasons: list[str] = field(default_factory=list)  # of trials that failed
    struck: dict[str, dict[str, int]] = field(default_factory=dict)  # moment: victim: kills
    half_written: int = 0  # files of the cache that a killed worker left
    results_cut: dict[str, int] = field(default_factory=lambda: {"kept": 0, "rolled_back": 0})  # transactions
    after_ray: dict[str, dict[str, int]] = field(default_factory=dict)  # victim: what its driver did: launches


class Battered:
    """A study that is killed until it has had enough, and then let through to its end."""

    def __init__(
        self, storage: Storage, place: Place, count: Count, *, chance: random.Random, reference: Ending
    ) -> None:
        self.storage, self.place, self.count = storage, place, count
        self.chance, self.reference = chance, reference
        self._witness = Witness(place.url, NAME)
        self._launches = 0
        self._survived = 0  # results that had been seen when the last kill struck
        self._writers: set[int] = set()  # workers that were killed in this launch
        self._ray: str | None = None  # what of Ray was killed in this launch

    def run(self, deck: Deck, kills: int) -> None:
        """Strikes, and looks."""
        with self._witness:
            launch = self._launch()
            struck = 0
            while launch is not None and struck < kills:
                if struck % 2:
                    self._hold_fire(launch)
                struck += self._strike(deck, launch)
                launch = self._following(launch, at_most=kills + MORE_LAUNCHES)
            while launch is not None:
                self._await_end(launch)
                launch = self._following(launch, at_most=kills + MORE_LAUNCHES)
            self._close()

    # -- launches -----------------------------------------------------------------------------------------------

    def _launch(self) -> Launch:
        self._launches += 1
        self._writers, self._ray = set(), None
        return Launch(self.place, parallel=self.count.parallel)

    def _following(self, launch: Launch, *, at_most: int) -> Launch | None:
        """The launch that goes on: this one, or the next one after its death; None when the study is done."""
        if launch.running and not self._is_stalled(launch):
            return launch
        if self._done(launch):
            return None
        if self._launches > at_most:
            self.count.unended += 1
            return None
        return self._launch()

    def _done(self, launch: Launch) -> bool:
        """Whether a launch has ended its study; notes how it ended, which one that hangs is made to."""
        if launch.running:
            self.count.hung += 1
            self._note_ray("hung")
            launch.kill()
            return False
        if launch.driver.returncode in (0, -SIGKILL):
            self._note_ray("went on")
        else:
            self._ended_by_itself(launch)
        return launch.driver.returncode == 0

    def _ended_by_itself(self, launch: Launch) -> None:
        code, said = launch.driver.returncode, launch.log.read_text()
        self._note_ray(f"exit {code}")
        if self._ray is None or code != RESUMABLE or "Traceback" in said:
            self.count.unexpected_ends.append(f"{code} after {self._ray}: {said[-1000:]}")

    def _note_ray(self, what: str) -> None:
        if self._ray is not None:
            _add(self.count.after_ray, self._ray, what)

    def _is_stalled(self, launch: Launch) -> bool:
        return time.monotonic() - max(self._witness.moved, launch.began) > STALL

    def _await_end(self, launch: Launch) -> None:
        while launch.running and not self._is_stalled(launch):
            time.sleep(0.1)

    # -- strikes ------------------------------------------------------------------------------------------------

    def _hold_fire(self, launch: Launch) -> None:
        """Until there is a result that the last kill has not survived yet."""
        running = lambda: launch.running and not self._is_stalled(launch)  # noqa: E731
        self._witness.wait(lambda sight: len(sight.results) > self._survived, running=running)

    def _strike(self, deck: Deck, launch: Launch) -> bool:
        """One strike; False when its moment did not come while this launch ran."""
        wanted = deck.draw()
        over = lambda: not launch.running or self._is_stalled(launch)  # noqa: E731
        hit = strike(wanted, launch, self.storage, chance=self.chance, over=over)
        if hit is None:
            deck.put_back(wanted)
            return False
        deck.struck()
        self._note(hit, launch)
        return True

    def _note(self, hit: Hit, launch: Launch) -> None:
        before = self._witness.last  # of a look that had ended before the kill, or showed more than there was then
        self.count.kills += 1
        self.count.at_stake += len(before.results)
        self.count.fresh += len(before.results) > self._survived
        self._survived = len(before.results)
        _add(self.count.struck, hit.strike.moment, hit.strike.victim)
        match hit.strike.victim:
            case "driver":
                self._account(before)
            case "worker":
                self._writers.add(hit.pid)
                self.count.half_written += len(list((self.place.home / "cache").glob(f"*/.*.{hit.pid}")))
            case server:
                self._ray = server
                self._await_ray(launch)

    def _account(self, before: Sight) -> None:
        """The driver is dead: what it had in hand is there as a whole, or not at all."""
        if self.place.mark.exists():
            time.sleep(0.2)  # a server may still be at a commit that it was sent
            kept = len(self._witness.look().results) > len(before.results)
            self.count.results_cut["kept" if kept else "rolled_back"] += 1

    def _await_ray(self, launch: Launch) -> None:
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
        count.budget_exact &= _shape(sight) == _shape(self.reference.sight)
        count.duplicated += duplicates(sight)
        if count.parallel == 1:
            self._compare(Ending(sight, self.place.weights()))
        left = survivors(started_with("TMPDIR", str(self.place.scratch)), seconds=GRACE)
        for process in left:
            process.kill()
        count.orphans += len(left)
        again = self._launch()
        self._await_end(again)
        count.changed_by_relaunch += not self._done(again) or self._witness.look() != sight
        count.lost += len(self._witness.lost)
        count.scratch_left += len(list(self.place.scratch.glob("tuner-*")))
        left_by = [path.name.rpartition(".")[2] for path in (self.place.home / "cache").glob("*/.*")]
        count.unfinished_files += sum(pid not in {str(writer) for writer in writers} for pid in left_by)

    def _compare(self, ending: Ending) -> None:
        found = differences(ending, self.reference)
        self.count.differences += found
        self.count.same_as_unkilled = self.count.same_as_unkilled is not False and not found
        self.count.weights_compared += len(ending.weights.keys() & self.reference.weights.keys())


def differences(ending: Ending, reference: Ending) -> list[str]:
    """Where a study differs from the other: trials, readings of test data, and weights that both caches still have."""
    found = [f"trial {n}" for n in _unlike(ending.sight.trials, reference.sight.trials)]
    unread = _unlike(dict(ending.sight.readings), dict(reference.sight.readings))
    found += [f"reading {role}" for role in sorted({str(_role(key)) for key in unread})]
    both = ending.weights.keys() & reference.weights.keys()
    found += [f"weights {name}" for name in sorted(both) if ending.weights[name] != reference.weights[name]]
    return found if both else [*found, "no backbone of the other is in the cache"]


def duplicates(sight: Sight) -> int:
    """Jobs and readings that are there twice, and trials that two jobs claim."""
    asked = Counter((job.kind, job.backbone_index, job.round) for job in sight.jobs)
    read = Counter(key for key, _ in sight.readings)
    claimed = Counter(number for job in sight.jobs for number in job.numbers)
    return sum(n - 1 for counter in (asked, read, claimed) for n in counter.values())


def undisturbed() -> Ending:
    """The end of a study that nobody touches."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place = Sqlite().new(Path(folder))
        Launch(place).finish()
        with Witness(place.url, NAME) as witness:
            return Ending(witness.look(), place.weights())


def _shape(sight: Sight) -> tuple[object, ...]:
    """What a budget asks for."""
    asked = Counter((job.kind, job.round, job.state, len(job.numbers)) for job in sight.jobs)
    return asked, Counter(row[:2] for row in sight.trials.values()), Counter(_role(key) for key, _ in sight.readings)


def _role(key: Key) -> object:
    return key if isinstance(key, int) else key[0]


def _unlike(found: Mapping[Key, Row] | Mapping[int, Row], wanted: Mapping[Key, Row] | Mapping[int, Row]) -> list[Key]:
    left, right = dict[Key, Row]({**found}), dict[Key, Row]({**wanted})
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]


def _add(counts: dict[str, dict[str, int]], outer: str, inner: str) -> None:
    within = counts.setdefault(outer, {})
    within[inner] = within.get(inner, 0) + 1
