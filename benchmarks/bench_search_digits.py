"""The search on real training: digits-lt, the shipped wd_maxnorm.yaml, against joint TPE with one head a backbone.

Each seed has a draw of images, a split, weights and proposals of its own, the same for both. What counts is the
target's measure, balanced accuracy on validation of the best configuration so far; ours has tried 32 heads each by
then and is luckier for it, so the test accuracy of both choices is written beside it.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks.record import record
from benchmarks.search_methods_course import finished
from studies.records import Failure, FailureKind
from trainers.results import HeadResult, JobResult

SEEDS = range(5)
JOINT, OURS, TARGET = 24, 12, 8
READ = (4, TARGET, OURS)  # backbones of ours after which test is read for the choice so far
VALUE, TEST = "val.balanced_accuracy", "test.balanced_accuracy"

Curve = list[float]  # best value on validation after 1, 2, ... backbones; what refines them at the end is left out
Found = tuple[Curve, dict[int, float]]  # and the test accuracy of the choice after so many backbones


def main() -> None:
    """Prints one line; two processes with one thread each."""
    wanted = [(how, seed) for seed in SEEDS for how in ("joint", "ours")]
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        found = dict(zip(wanted, pool.map(_run, wanted, chunksize=1), strict=True))
    joint, ours = ([found[how, seed] for seed in SEEDS] for how in ("joint", "ours"))
    goal = fmean(curve[-1] for curve, _ in joint)
    mean = [fmean(values) for values in zip(*(curve for curve, _ in ours), strict=True)]
    reached = next((k for k, value in enumerate(mean, start=1) if value >= goal), OURS + 1)
    tests = {f"joint after {JOINT}": [test[JOINT] for _, test in joint]}
    tests |= {f"ours after {count}": [test[count] for _, test in ours] for count in READ}
    record(
        "search_efficiency_digits", figure=reached, unit=f"backbones for what joint TPE reaches after {JOINT}",
        baseline="joint TPE (Optuna's default), one head a backbone, real training", target=TARGET,
        met=reached <= TARGET, n=len(SEEDS), joint=[curve for curve, _ in joint], ours=[curve for curve, _ in ours],
        test=tests,
    )  # fmt: skip
    shown = ", ".join(f"{name} {fmean(values):.1%} ± {stdev(values):.1%}" for name, values in tests.items())
    print(
        f"  validation: joint after {JOINT} {goal:.1%}; ours after 1 / 4 / 8 / {OURS} "
        f"{mean[0]:.1%} / {mean[3]:.1%} / {mean[7]:.1%} / {mean[-1]:.1%}; test of the choice: {shown}"
    )


def _run(asked: tuple[str, int]) -> Found:
    """One search of one seed: its curve, and the test accuracy of its choices."""
    import torch

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        return (_joint if asked[0] == "joint" else _ours)(asked[1], Path(folder))


def _ours(seed: int, folder: Path) -> Found:
    """The service's own planner, without Ray."""
    from studies.store import Store
    from tuner.search.planner import Planner

    space = _space(seed, backbones=OURS)
    with Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}", name=space.name, space_yaml=space.to_yaml(),
        space_sha256=space.sha256, objective=space.objective,
    ) as store:  # fmt: skip
        planner, best = Planner(space, store), dict[int, tuple[float, Mapping[str, Any]]]()
        while (task := planner.next_task()) is not None and task.kind in ("baseline", "search"):
            result = _trained(task.configs, folder)
            if result is None:
                planner.fail(task, Failure(FailureKind.DIVERGED, "diverged"))
            else:
                planner.complete(task, result)
            if task.job is not None and task.kind == "search":
                index, tried = task.job.backbone_index, zip(_values(result), task.configs, strict=False)
                best[index] = max([*tried, best.get(index, (0.0, {}))], key=lambda pair: pair[0])
    tests = {}
    for count in READ:
        _, chosen = max((best[index] for index in range(count)), key=lambda pair: pair[0])
        tests[count] = _values(_trained([chosen], folder, read_test=True), of=TEST)[0]
    return _best_so_far(best[index][0] for index in sorted(best)), tests


def _joint(seed: int, folder: Path) -> Found:
    """Optuna's default sampler over both stages at once."""
    import optuna

    from tuner.search.configurations import with_defaults

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = _space(seed, backbones=JOINT)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    values = []
    for _ in range(JOINT):
        trial = study.ask(dict(space.searched))
        values += _values(_trained([with_defaults({**space.fixed, **trial.params})], folder))
        study.tell(trial, values[-1])
    chosen = with_defaults({**space.fixed, **study.best_params})
    read = _trained([chosen], folder, read_test=True)
    return _best_so_far(values), {JOINT: _values(read, of=TEST)[0]}


def _space(seed: int, *, backbones: int) -> Any:
    from search_spaces import load

    overrides = {
        "sampler.seed": seed, "task.split_seed": seed, "stage1.seed": seed, "budget.backbones": backbones,
        "baselines": [],
    }  # fmt: skip
    return load("wd_maxnorm.yaml", overrides=[f"{name}={value}" for name, value in overrides.items()])


def _trained(configs: Iterable[Mapping[str, Any]], folder: Path, *, read_test: bool = False) -> JobResult | None:
    """A job's result as it comes from a worker; None when stage 1 diverged."""

    import torch

    from trainers.errors import DivergedError
    from trainers.files.cache import Cache
    from trainers.job import Job, run_job

    job = Job.from_flat(list(configs), read_test=read_test)
    events = run_job(job, cache=Cache(folder / "cache"), device=torch.device("cpu"))
    try:
        return finished(events)
    except DivergedError:
        return None


def _values(result: JobResult | None, *, of: str = VALUE) -> list[float]:
    """Of a job's heads; what was lost counts as 0."""
    heads = () if result is None else result.heads
    return [float(head.metrics.get(of) or 0.0) if isinstance(head, HeadResult) else 0.0 for head in heads] or [0.0]


def _best_so_far(values: Iterable[float]) -> Curve:
    return list(itertools.accumulate(values, max))


if __name__ == "__main__":
    main()
