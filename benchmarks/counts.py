"""What the kill campaign counts of the studies it strikes, and which counts are broken promises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ADDED = (
    "strikes", "studies", "tried_again", "lost", "duplicated", "left_running", "failed", "changed_by_relaunch",
    "orphans", "scratch_left", "unfinished_files", "hung", "unended",
)  # fmt: skip
TOLD = 3  # of these are no promise


@dataclass
class Count:
    """What is counted of the studies on one storage at one parallelism, whatever struck them."""

    parallel: int
    one_worker: bool = False  # jobs at a time are in one worker, not in a worker each
    storage: str = "sqlite"
    strikes: int = 0
    studies: int = 0
    at_stake: int = 0  # results that had been seen when it struck, summed over strikes
    fresh: int = 0  # strikes before which a result had come since the one before
    lost: int = 0  # results (completed trials, readings) that were seen and were gone, or another, later on
    duplicated: int = 0  # trials, jobs or readings that are there twice
    left_running: int = 0
    failed: int = 0  # trials: none may be, for none was tried more often than `max_retries` allows
    tried_again: int = 0  # how often a job's worker was given up and the job given to another one
    budget_exact: bool = True  # as many jobs, COMPLETE trials and readings as without strikes
    same_as_unkilled: bool | None = None  # None where it is not promised: more than one job at a time
    differences: list[str] = field(default_factory=list)
    weights_compared: int = 0
    changed_by_relaunch: int = 0  # studies in which one more launch, with nothing left to do, changed something
    orphans: int = 0  # processes that outlived their driver
    scratch_left: int = 0  # folders in the temporary folder after the last launch
    unfinished_files: int = 0  # in the cache after the last launch, but for those that it left itself
    hung: int = 0  # launches in which nothing happened any more
    unended: int = 0  # studies that many launches more than strikes did not end
    unexpected_ends: list[str] = field(default_factory=list)  # neither done, nor killed, nor by what was struck
    reasons: list[str] = field(default_factory=list)  # of trials that failed
    struck: dict[str, dict[str, int]] = field(default_factory=dict)  # moment: victim: strikes
    after: dict[str, dict[str, int]] = field(default_factory=dict)  # victim: what the launch did: launches


@dataclass
class KillCount(Count):
    """The same of SIGKILLs."""

    half_written: int = 0  # files of the cache that a killed worker left
    results_cut: dict[str, int] = field(default_factory=lambda: {"kept": 0, "rolled_back": 0})  # transactions


@dataclass
class GrowCount(KillCount):
    """The same of studies that are resumed with a wider space; `differences` are of their earlier trials."""

    ungrown: int = 0  # studies that were struck and do not have two spaces
    from_wider: int = 0  # trials that were drawn from a wider space


@dataclass
class FreezeCount(Count):
    """The same of processes that stand still for a while."""

    seconds: float = 60.0  # each
    gave_up: dict[str, int] = field(default_factory=dict)  # victim: those that were ended while they stood still


@dataclass
class TakeCount(Count):
    """The same of databases and homes that are taken away; `after` says with which code their launches end."""

    words: dict[str, list[str]] = field(default_factory=dict)  # way: what the launch said at its end
    made_anew: list[str] = field(default_factory=list)  # databases, logs and locks that came to the old place
    left_there: int = 0  # other files that did: a worker may still write to the cache
    seconds: dict[str, float] = field(default_factory=dict)  # way: the longest time until the launch had ended
    second: dict[str, int] = field(default_factory=dict)  # what a second launch came to meanwhile: launches
    both_at_work: list[str] = field(default_factory=list)  # second launches that were not refused, or not in words


def summary(counts: Sequence[Count], *, seed: int) -> dict[str, Any]:
    """All parts together, and each."""
    compared = [count.same_as_unkilled for count in counts if count.same_as_unkilled is not None]
    return {
        **{name: sum(getattr(count, name) for count in counts) for name in ADDED},
        "budget_exact": all(count.budget_exact for count in counts),
        "same_as_unkilled": all(compared) if compared else None,
        "seed": seed,
        "struck": _added([count.struck for count in counts]),
        "after": _added([count.after for count in counts]),
        "parts": [asdict(count) for count in counts],
    }


def _added(counts: Sequence[dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]:
    """A count within a count, of all parts together."""
    total: dict[str, Counter[str]] = {}
    for one in counts:
        for outer, within in one.items():
            total.setdefault(outer, Counter()).update(within)
    return {outer: dict(within) for outer, within in total.items()}


def broken_counts(part: dict[str, Any]) -> list[str]:
    """What one `Count` says was not kept, in words; a campaign without a strike has kept nothing."""
    broken = [f"{name} is {part[name]}" for name in ADDED[TOLD:] if part[name]]
    broken += [f"a launch ended with {words}" for words in part["unexpected_ends"]]
    broken += [f"at the old place there was {name}" for name in part.get("made_anew", ())]
    broken += [f"a second launch {words}" for words in part.get("both_at_work", ())]
    broken += [f"{part['ungrown']} studies did not grow"] if part.get("ungrown") else []
    broken += [] if part.get("from_wider", 1) else ["no trial was drawn from a wider space"]
    broken += [] if part["fresh"] else ["nothing struck when there was a result to lose"]
    broken += [] if part["budget_exact"] else ["the budget was missed"]
    broken += [f"not as without strikes: {', '.join(part['differences'])}"] if part["differences"] else []
    return broken


def add(counts: dict[str, dict[str, int]], outer: str, inner: str) -> None:
    """One more of `inner` within `outer`."""
    within = counts.setdefault(outer, {})
    within[inner] = within.get(inner, 0) + 1
