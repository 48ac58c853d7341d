"""Which points no other beats in both accuracy and nearness to balance."""

from __future__ import annotations

from collections.abc import Sequence

from studies.study_data import BALANCED_DIGITS

Front = tuple[int, ...]


def front(accuracy: Sequence[float], balance: Sequence[float | None]) -> Front:
    """Places of the points that no other beats, from the most balanced to the most accurate one.

    Nearness is that of |balance| to 0, to a thousandth: what is nearer than that is balanced. Accuracies are means,
    whose last digits are those of their summing. Of equals in both the first one stands for all.
    """
    pairs = enumerate(zip(balance, accuracy, strict=True))
    known = [(round(abs(x), BALANCED_DIGITS), -round(y, 9), i) for i, (x, y) in pairs if x is not None]
    found: list[int] = []
    reached = float("-inf")
    for _, negative, index in sorted(known):
        if -negative > reached:
            found.append(index)
            reached = -negative
    return tuple(found)


def branches(
    points: Front, accuracy: Sequence[float], balance: Sequence[float | None]
) -> tuple[list[float | None], list[float | None]]:
    """The front as one broken line: each side of 0 by itself, from balance outwards, so that no line crosses 0."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for negative in (True, False):
        side = [(x, accuracy[i]) for i in points if (x := balance[i]) is not None and (x < 0) == negative]
        if side:
            xs += [None] * bool(xs) + [x for x, _ in side]
            ys += [None] * bool(ys) + [y for _, y in side]
    return xs, ys
