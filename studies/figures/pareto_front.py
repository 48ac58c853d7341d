"""The Pareto front of accuracy and balance."""

from __future__ import annotations

from collections.abc import Sequence

from studies.study_data import BALANCED_DIGITS

Front = tuple[int, ...]


def front(accuracy: Sequence[float], balance: Sequence[float | None]) -> Front:
    """Positions of the points on the Pareto front, from the most balanced to the most accurate one.

    |balance| is rounded to a thousandth, so that closer points count as equally balanced. Accuracies are rounded,
    because their last digits depend on the order of summation. Of equal points only the first is on the front.
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
    """The front as one line with a gap at 0: each side by itself, from balance outwards."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for negative in (True, False):
        side = [(x, accuracy[i]) for i in points if (x := balance[i]) is not None and (x < 0) == negative]
        if side:
            xs += [None] * bool(xs) + [x for x, _ in side]
            ys += [None] * bool(ys) + [y for _, y in side]
    return xs, ys
