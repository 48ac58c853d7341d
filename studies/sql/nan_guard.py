"""Job results made fit for a database: finite numbers, readable text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from trainers.results import HeadFailure, HeadResult, Metrics

NO_NORMS = "weight norms are no longer finite numbers"


def sound(head: HeadResult | HeadFailure) -> HeadResult | HeadFailure:
    """The head, or a failure when its weight norms are not finite."""
    if isinstance(head, HeadFailure) or all_finite(head.norms):
        return head
    return HeadFailure(config=head.config, reason=f"its {NO_NORMS}")


def finite(metrics: Mapping[str, float | None]) -> Metrics:
    """NaN and infinities become None: JSON cannot hold them, and no average should include them."""
    return {name: finite_or_none(value) for name, value in metrics.items()}


def finite_or_none(value: float | None) -> float | None:
    """The same for one value."""
    return value if value is not None and math.isfinite(value) else None


def all_finite(values: Iterable[float]) -> bool:
    """True if no value is NaN or infinite."""
    return all(map(math.isfinite, values))


def readable(text: str) -> str:
    """Text that every database accepts: without the NUL and lone surrogates that file names may contain."""
    return text.encode("utf-8", "replace").decode().replace("\0", "?")
