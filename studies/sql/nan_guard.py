"""What a job gave back, as a database takes it: finite numbers, readable text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from studies.sql.tables import Measured
from trainers.results import HeadFailure, HeadResult

NO_NORMS = "weight norms are no longer finite numbers"


def sound(head: HeadResult | HeadFailure) -> HeadResult | HeadFailure:
    """The head, or its failure where it has grown beyond what can be measured."""
    if isinstance(head, HeadFailure) or all_finite(head.norms):
        return head
    return HeadFailure(config=head.config, reason=f"its {NO_NORMS}")


def finite(metrics: Mapping[str, float | None]) -> Measured:
    """Numbers that are none (NaN, infinities) as None: JSON has no word for them, and no average should meet them."""
    return {name: number(value) for name, value in metrics.items()}


def number(value: float | None) -> float | None:
    """The same for one."""
    return value if value is not None and math.isfinite(value) else None


def all_finite(values: Iterable[float]) -> bool:
    """Whether none of them is NaN or infinite."""
    return all(map(math.isfinite, values))


def readable(text: str) -> str:
    """Text that every database takes: no zero bytes and no half characters, as file names may bring along."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
