"""The next backbone where short schedules teach long ones: which point, and with how many epochs.

Each training is a whole schedule of its own length: how weight decay ranks turns over late in a schedule, so nothing is
stopped in the middle. Only the full length can be chosen in the end. So a shorter training is worth what it adds to the
gain that is expected of the full one after it, per epoch of both (one step of the knowledge gradient for several
sources of information, Poloczek et al. 2017, with the full training in the price).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from trainers.config import Scalar
from tuner.search.gaussian_process import Array, GaussianProcess, Points
from tuner.search.lessons import EPOCHS, Lesson
from tuner.search.points import NOTHING, Level, Params, spare_points, start_point
from tuner.search.samplers.gp import NEAR, View, around, belief, improvement, least_that_counts
from tuner.search.samplers.sampler import Ask

STARTS = 4  # backbones of the shortest schedule before the process decides
SHORT_FIRST = 6  # shorter schedules before the first full one, which costs more than all of them
KEPT = 256  # candidates that a training may turn out to favour
ASKED = 64  # candidates that are considered for a shorter training
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(7)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()

Training = dict[str, Scalar]  # `stage1.*`, epochs among them


@dataclass(frozen=True)
class Ladder:
    """The lengths of whole schedules, shortest first, and the epochs that the budget still holds."""

    epochs: tuple[int, ...]
    left: int
    for_short: int | None = None  # of these, epochs that may go to shorter schedules; None: all

    @property
    def full(self) -> int:
        """Epochs of the full schedule."""
        return self.epochs[-1]

    @property
    def affordable(self) -> tuple[int, ...]:
        """The lengths that can be paid; a shorter one only if a full one can be paid after it."""
        most = self.left if self.for_short is None else self.for_short
        short = tuple(length for length in self.epochs[:-1] if length + self.full <= self.left and length <= most)
        return (*short, self.full) if self.full <= self.left else short


def propose_training(
    rows: Sequence[Lesson], *, level: Level, ladder: Ladder, ask: Ask, known: Sequence[Params]
) -> Training | None:
    """The next training; None if nothing affordable is left that differs from `known`.

    `known` are all trainings asked for so far, and `ask.running` those of them without a result.
    """
    taken = {(level.place(level.part(params)), length_of(params)) for params in known}
    if not ladder.affordable:
        return None
    if ask.before < STARTS and len(ladder.affordable) > 1 and level.distributions:
        point = start_point(level, seed=ask.sequence, index=ask.before)
        if (level.place(point), ladder.affordable[0]) not in taken:
            return {**point, EPOCHS: ladder.affordable[0]}
    if not rows or not level.distributions:
        return _unlearned(level, ladder, ask, taken)
    with threadpool_limits(1):
        return _most_gain(rows, level, ladder, ask, taken)


def length_of(params: Params) -> int:
    """The epochs of a training."""
    return int(params[EPOCHS] or 0)


def _unlearned(level: Level, ladder: Ladder, ask: Ask, taken: set[tuple[tuple[float, ...], int]]) -> Training | None:
    """The first training that was not asked for, shortest first, as long as nothing is known."""
    spread: list[dict[str, Scalar]] = [{}]
    if level.distributions:
        spread = [start_point(level, seed=ask.sequence, index=ask.before)]
        spread += spare_points(level, seed=ask.seed, context=NOTHING)
    found = ({**point, EPOCHS: length} for length in ladder.affordable for point in spread)
    return next((one for one in found if (level.place(level.part(one)), length_of(one)) not in taken), None)


def _most_gain(
    rows: Sequence[Lesson], level: Level, ladder: Ladder, ask: Ask, taken: set[tuple[tuple[float, ...], int]]
) -> Training | None:
    view = View.of(level, ladder.epochs)
    process = _process(rows, view, ask)
    candidates = _candidates(rows, level, process, view, ask)
    places = [level.place(params) for params in candidates]
    full = view.points(candidates)
    mean, variance = process.posterior(full)
    best = _to_beat(rows, process, view)
    trust = belief(candidates, level, seen=len(rows))
    gain = improvement(mean, variance, best) * trust
    gain[[(place, ladder.full) in taken for place in places]] = 0.0
    order = np.argsort(-gain, kind="stable")
    found: list[tuple[float, int, int]] = []  # gain per epoch, index, epochs
    if ladder.full in ladder.affordable and gain[order[0]] > 0:
        found.append((float(gain[order[0]]) / ladder.full, int(order[0]), ladder.full))
    kept = order[:KEPT]
    for length in (length for length in ladder.affordable if length < ladder.full):
        free = [int(i) for i in order if (places[i], length) not in taken][:ASKED]
        if free:
            short = view.points([candidates[i] for i in free], length)
            after = _gain_after(process, full.at(kept), short, best, (mean[kept], variance[kept], trust[kept]))
            found.append((float(after.max()) / (length + ladder.full), free[int(after.argmax())], length))
    if _short_first(ladder, ask, taken):
        found = [one for one in found if one[2] < ladder.full] or found
    if not found:
        return None
    _, index, epochs = max(found, key=lambda one: (one[0], one[2]))
    return {**candidates[index], EPOCHS: epochs}


def _short_first(ladder: Ladder, ask: Ask, taken: set[tuple[tuple[float, ...], int]]) -> bool:
    """Whether it is too early for the first full training: few short ones were asked for, and all cost less than it."""
    lengths = [length for _, length in taken]
    return ladder.full not in lengths and ask.before < SHORT_FIRST and sum(lengths) + ladder.epochs[0] <= ladder.full


def _process(rows: Sequence[Lesson], view: View, ask: Ask) -> GaussianProcess:
    values = np.array([row.value for row in rows])
    lengths = np.array([row.epochs for row in rows])
    least = -math.inf  # what is far below shorter schedules has collapsed: it tells nothing of how lengths differ
    for length in np.unique(lengths):
        least = max(least, least_that_counts(values[lengths == length]))
        values[lengths == length] = np.maximum(values[lengths == length], least)
    process = GaussianProcess(view.points([row.params for row in rows], lengths.tolist()), values)
    if not ask.running:
        return process
    return process.expecting(view.points(ask.running, [length_of(params) for params in ask.running]))


def _candidates(
    rows: Sequence[Lesson], level: Level, process: GaussianProcess, view: View, ask: Ask
) -> list[dict[str, Scalar]]:
    """What was trained at some length, best first; an even spread; and points near the best."""
    tried = list({level.place(row.params): dict(row.params) for row in rows}.values())
    mean, _ = process.posterior(view.points(tried))
    tried = [tried[i] for i in np.argsort(-mean, kind="stable")]
    return [*tried, *around(tried[:NEAR], level, ask)]


def _to_beat(rows: Sequence[Lesson], process: GaussianProcess, view: View) -> float:
    """The best value expected of what was trained in full; before that, of what was trained at all."""
    full = [row.params for row in rows if row.epochs == view.epochs] or [row.params for row in rows]
    return float(process.posterior(view.points(full))[0].max())


def _gain_after(
    process: GaussianProcess, kept: Points, short: Points, best: float, posterior: tuple[Array, Array, Array]
) -> Array:
    """The gain expected of the best full training after each short one, (n,)."""
    mean, variance, trust = posterior
    _, uncertainty = process.posterior(short)
    told = process.covariance(kept, short) / np.sqrt(uncertainty + process.noise)  # (kept, n)
    left = np.maximum(variance[:, None] - told**2, 1e-12)
    gains = [(improvement(mean[:, None] + told * node, left, best) * trust[:, None]).max(0) for node in _NODES]
    return np.asarray(np.tensordot(_WEIGHTS, np.array(gains), axes=1))
