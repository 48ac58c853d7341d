"""What a study has come to in the end, and where two such ends differ."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.launches import NAME, SPACE, Launch, Sqlite
from benchmarks.witness import Key, Row, Sight, Witness


@dataclass(frozen=True)
class Ending:
    """What a study came to, as far as a killed one must come to the same."""

    sight: Sight
    weights: Mapping[str, str]  # fingerprint: SHA-256 of the backbone's weights


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


def undisturbed(space: str = SPACE) -> Ending:
    """The end of a study that nobody touches."""
    with tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder:
        place = replace(Sqlite().new(Path(folder)), space=space)
        Launch(place).finish()
        with Witness(place.url, NAME) as witness:
            return Ending(witness.look(), place.weights())


def shape(sight: Sight) -> tuple[object, ...]:
    """What a budget asks for: jobs, trials and readings, counted by kind and state."""
    asked = Counter((job.kind, job.round, job.state, len(job.numbers)) for job in sight.jobs)
    return asked, Counter(row[:2] for row in sight.trials.values()), Counter(_role(key) for key, _ in sight.readings)


def _role(key: Key) -> object:
    return key if isinstance(key, int) else key[0]


def _unlike(found: Mapping[Key, Row] | Mapping[int, Row], wanted: Mapping[Key, Row] | Mapping[int, Row]) -> list[Key]:
    left, right = dict[Key, Row]({**found}), dict[Key, Row]({**wanted})
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]
