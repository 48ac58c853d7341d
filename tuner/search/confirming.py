"""Which configurations are trained with other seeds after the search, and with which: a pure function of the rows.

At most one configuration a backbone: two heads of one backbone share the luck of its seed, so the second would spend
trainings on what the first already tells. Seeds come in turns, the best configuration first, so that a study that ends
early has compared equals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from search_spaces import Space
from studies.confirmed import CONFIRM, SEEDS, confirmed, seed_in
from studies.records import HeadRequest, TrialRow
from studies.study_data import by_value, finished_search
from trainers.config import Scalar
from tuner.search.readings import with_fresh_seeds


@dataclass(frozen=True)
class Run:
    """A trial of the search, and its configuration with another seed."""

    trial: TrialRow
    config: Mapping[str, Scalar]

    def head(self, space: Space) -> HeadRequest:
        """The run as a trial of the study. A searched seed is left out of its parameters: no sampler chose it."""
        params = {name: value for name, value in self.trial.params.items() if name not in SEEDS}
        return HeadRequest(
            config=self.config,
            params=params,
            distributions={name: space.searched[name] for name in params},
            role=CONFIRM,
        )


class Confirmation:
    """The runs that are still to be handed out. They are read from the study when the search is over."""

    def __init__(self, space: Space) -> None:
        self.left = space.runs_to_confirm  # an estimate: a larger budget may change the best configurations
        self._space = space
        self._due: list[Run] | None = None

    def asked(self) -> None:
        """Counts a run as handed out."""
        self.left = max(0, self.left - 1)

    def changed(self) -> None:
        """The rows have changed: what is due is read again."""
        self._due = None

    def due(self, rows: Callable[[], Iterable[TrialRow]]) -> list[Run]:
        """The runs still to be handed out, if the search is over; reads `rows` only where something may be due."""
        if self._due is None:
            self._due = runs_due(self._space, rows()) if self._space.confirm else []
        return self._due


def runs_due(space: Space, rows: Iterable[TrialRow]) -> list[Run]:
    """The runs that the study does not hold yet, once its search is over. A failed run counts as held."""
    if space.confirm is None:
        return []
    rows = tuple(rows)
    chosen = candidates(rows, top=space.confirm.top)
    held = {one.trial.number: one.others for one in confirmed(chosen, rows)}
    due = []
    for rank, trial in enumerate(chosen):
        seeds = {seed_in(row.config) for row in held.get(trial.number, ())}
        missing = range(len(seeds), space.confirm.seeds - 1)
        configs = with_fresh_seeds(trial.config, len(missing), besides=seeds)
        due += [(turn, rank, Run(trial, config)) for turn, config in zip(missing, configs, strict=True)]
    return [run for _, _, run in sorted(due, key=lambda one: one[:2])]


def candidates(rows: Iterable[TrialRow], *, top: int) -> list[TrialRow]:
    """The best finished trials of the search by their own run, one a backbone."""
    of_backbone: dict[int, TrialRow] = {}
    for row in sorted(finished_search(rows), key=by_value, reverse=True):
        of_backbone.setdefault(row.backbone_index, row)
    return list(of_backbone.values())[:top]
