"""Ray Tune's searches for search_methods: OptunaSearch with complete schedules, and the same under ASHA.

Tune is asked from the start in every call: each training's values are kept, one an epoch, so with one worker it asks
for the same ones in the same order, and gets at once what is kept. Import it inside `ray_session`, whose settings Ray
reads when it is imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from benchmarks.search_methods_course import Course
from benchmarks.search_methods_found import keep_under_way
from search_spaces import Space
from trainers.config import Scalar
from tuner.search.configurations import with_defaults

METRIC = "value"  # stage 1's own classifier on validation; at the last epoch, the head
GRACE, REDUCTION = 6, 3  # ASHA judges first after a sixth of the epochs, and lets the best third go on

Row = tuple[dict[str, Scalar], int, float | None]  # asked, epochs, value of the head; None: ended before


class InTune(tune.Trainable):
    """A course as Tune runs it: a step is an epoch."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begins, or goes on."""
        self._course = Course(with_defaults({**config["fixed"], **config["asked"]}), Path(config["home"]))

    def step(self) -> dict[str, Any]:
        """One epoch; with the last one also the head."""
        value, done = self._course.at(self.iteration + 1)
        return {METRIC: value, "done": done}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Takes the next training in the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        """Ends the training."""
        self._course.close()


class WithinEpochs(OptunaSearch):
    """OptunaSearch until the epochs left would not pay a whole schedule, the rule that our budget has."""

    def __init__(self, space: Space, *, method: str, seed: int, home: Path) -> None:
        super().__init__({"asked": dict(space.searched)}, metric=METRIC, mode="max", seed=seed)
        self._constant = {"fixed": space.fixed, "home": str(home)}
        self._piece = home, method, seed
        self._left, self._full = space.epochs, space.ladder[-1]
        self._given: dict[str, dict[str, Scalar]] = {}
        self.rows: list[Row] = []

    def suggest(self, trial_id: str) -> Any:
        """What Optuna asks for next."""
        if self._left < self._full:
            return Searcher.FINISHED
        asked = super().suggest(trial_id)
        self._given[trial_id] = asked["asked"]
        return {**self._constant, **asked}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pays the epochs."""
        super().on_trial_complete(trial_id, result=result, error=error)
        if result is None:
            return
        epochs = int(result["training_iteration"])
        self._left -= epochs
        self.rows.append((self._given[trial_id], epochs, result[METRIC] if epochs == self._full else None))
        keep_under_way(*self._piece, epochs=sum(spent for _, spent, _ in self.rows))


def search(space: Space, *, method: str, seed: int, home: Path, scratch: Path, gpus: int) -> list[Row]:
    """All trainings of a search, in their order. Raises RuntimeError if one failed."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searcher, full = WithinEpochs(space, method=method, seed=seed, home=home), space.ladder[-1]
    asha = ASHAScheduler(
        metric=METRIC, mode="max", max_t=full, grace_period=max(1, full // GRACE), reduction_factor=REDUCTION
    )
    grid = tune.Tuner(
        tune.with_resources(InTune, {"cpu": 1, "gpu": gpus}),
        tune_config=tune.TuneConfig(
            search_alg=searcher, scheduler=asha if method == "asha" else None, num_samples=-1,
            max_concurrent_trials=1, reuse_actors=True, trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=tune.RunConfig(
            name="search-methods", storage_path=str(scratch), verbose=0,
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            failure_config=tune.FailureConfig(max_failures=0),
        ),
    ).fit()  # fmt: skip
    if grid.errors:
        raise RuntimeError(f"a training of Tune's failed: {grid.errors[0]}")
    return searcher.rows
