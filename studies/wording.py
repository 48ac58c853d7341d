"""Numbers and methods in words, the same in the report, the terminal and the dashboard."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from trainers.config import Scalar

_LABELS = {  # of roles: baselines and the chosen trial
    "naive": "naive",
    "weight_decay": "weight decay only",
    "l2_norm": "L2-norm",
    "tau_norm": "τ-norm",
    "logit_adjustment": "logit adjustment",
    "logit_adjustment_mul": "logit adjustment ×",
    "ncm": "nearest mean",
    "fresh_seed": "fresh seed",
    "confirm": "another seed",
}
_METHODS = {  # of stage 2
    "weight_balancing": "weight balancing",
    "crt": "cRT",
    "lws": "LWS",
    "none": "the stage-1 classifier",
}


def role_label(role: str) -> str:
    """A role in words."""
    return _LABELS.get(role, role)


def method_label(method: Scalar) -> str:
    """A `stage2.method` in words."""
    return _METHODS.get(str(method), role_label(str(method)))


def number(value: Scalar, *, digits: int = 3) -> str:
    """A value for readers: `none`, words unchanged, numbers to a few significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def per_cent(value: float | None) -> str:
    """A fraction as per cent; `none` for a group without classes."""
    return "none" if value is None else f"{_tenths(100 * value)} %"


def points(value: float) -> str:
    """A difference of fractions in percentage points, with a sign."""
    return f"{_tenths(100 * value):+}".replace("-", "−")


def limits(low: float, high: float) -> str:
    """The ends of an interval of fractions: `86.7 to 92.5 %`."""
    return f"{_tenths(100 * low)} to {_tenths(100 * high)} %"


def gain_limits(low: float, high: float) -> str:
    """The ends of an interval of differences, in points: `+8.8 to +16.7`."""
    return f"{points(low)} to {points(high)}"


def mean_and_deviation(mean: float, deviation: float | None) -> str:
    """Fractions as `89.1 ± 1.2 %`; without a deviation the mean alone."""
    return per_cent(mean) if deviation is None else f"{_tenths(100 * mean)} ± {_tenths(100 * deviation)} %"


def count(number: int, word: str) -> str:
    """`1 trial`, `1,960 trials`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them: `20 s`, `3.5 min`, `12.0 h`."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"


def computed_on(device: str, precision: str | None) -> str:
    """A device and what stage 1 computed in there: `NVIDIA H200 in bf16`; earlier releases recorded the device only."""
    return device if precision is None else f"{device} in {precision}"


def listed(words: list[str] | tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def spans(numbers: list[int]) -> str:
    """Whole numbers in order, consecutive ones joined: `3 to 5, 9`."""
    parts: list[list[int]] = []
    for one in sorted(numbers):
        if parts and one == parts[-1][-1] + 1:
            parts[-1] = [parts[-1][0], one]
        else:
            parts.append([one])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 1 else str(part[0]) for part in parts)


def _tenths(value: float) -> Decimal:
    """One decimal, halves rounded away from zero as plotly does, whatever the last bit of the float."""
    rounded = Decimal(repr(round(value, 6))).quantize(Decimal("0.1"), ROUND_HALF_UP)
    return abs(rounded) if rounded == 0 else rounded
