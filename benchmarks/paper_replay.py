"""The service's search, and what it is compared with, on backbones that benchmarks.paper_table has brought back.

Stage 1 is looked up, not trained: a proposal stands for the nearest backbone that was trained and not yet used. Heads
are trained here, on the features that were brought back: two views of the training images, validation and test. Every
way gets as many heads a backbone; each choice is made on validation, and test is read for the choice after each
backbone, which chooses nothing. Learning curves play no part: the search stops no stage 1 early (its default), and
what it learns of a backbone are its heads' values. Backbones of other settings are searched apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch
from optuna.distributions import BaseDistribution, FloatDistribution

from benchmarks.paper_pack import Pack, read_packs
from benchmarks.paper_summary import setting_text
from benchmarks.record import hardware, versions
from trainers.config import Stage2Config
from trainers.features import LabelledFeatures
from trainers.results import HeadFailure
from trainers.stage2.heads import train_heads
from trainers.stage2.recipe import balanced_accuracies
from tuner.search.sampling import Level, Observation, propose_backbone, propose_heads

Params = dict[str, float]
Course = list[dict[str, float]]  # after each backbone: validation, test, minutes of stage 1
STAGE2: dict[str, BaseDistribution] = {
    "stage2.lr": FloatDistribution(1e-3, 0.3, log=True),
    "stage2.weight_decay": FloatDistribution(1e-4, 1.0, log=True),
    "stage2.maxnorm_radius": FloatDistribution(0.1, 3.0, log=True),
}


class Replay:
    """One run over the packs: which are left, what was seen, what is best so far."""

    def __init__(self, packs: Sequence[Pack], *, heads: int, seed: int) -> None:
        self.packs, self.heads, self.seed = packs, heads, seed
        self.left = list(range(len(packs)))
        self.rows: list[Observation] = []
        self.course: Course = []
        decays = [pack.params["stage1.weight_decay"] for pack in packs]
        self.least = min((decay for decay in decays if decay > 0), default=1.0)
        self._best, self._test, self._seconds = -math.inf, math.nan, 0.0

    def take(self, index: int) -> Pack:
        """Uses a backbone up."""
        self.left.remove(index)
        self._seconds += self.packs[index].seconds
        return self.packs[index]

    def look(self, pack: Pack, asked: Sequence[Mapping[str, Any]]) -> None:
        """Trains heads on a backbone, and remembers what validation says."""
        named = [{name.removeprefix("stage2."): value for name, value in params.items()} for params in asked]
        configs = [Stage2Config(loss="cb_ce", features="search", epochs=10, **settings) for settings in named]
        trained = train_heads(pack.bank, pack.start, configs, pack.counts)
        for params, head in zip(asked, trained, strict=True):
            found = None
            if not isinstance(head, HeadFailure):
                found, test = (_accuracy(head.head, pack.bank.splits[name]) for name in ("val", "test"))
                if found > self._best:
                    self._best, self._test = found, test
            shown = {name: value or self.least for name, value in pack.params.items()}  # 0 is not on a log scale
            self.rows.append(Observation(backbone=len(self.course), params={**shown, **params}, value=found))

    def close_backbone(self) -> None:
        """Notes where the run stands."""
        self.course.append({"validation": self._best, "test": self._test, "minutes": self._seconds / 60})


def two_levels(run: Replay) -> None:
    """The service's search."""
    outer, inner = Level(_ranges(run.packs)), Level(STAGE2)
    while run.left:
        index = len(run.course)
        wanted = propose_backbone(run.rows, space=outer, sampler="gp", seed=run.seed, index=index) or {}
        pack = run.take(_nearest(run, {name: float(value or 0.0) for name, value in wanted.items()}))
        for turn in range(2):
            heads = propose_heads(
                run.rows, space=inner, sampler="tpe", seed=run.seed, backbone=index, round=turn,
                count=run.heads // 2, stage1_params=pack.params,
            )  # fmt: skip
            run.look(pack, heads)
        run.close_backbone()


def random_search(run: Replay) -> None:
    """Backbones in random order, heads drawn from the same ranges."""
    rng = np.random.default_rng(run.seed)
    for index in rng.permutation(len(run.packs)).tolist():
        run.look(run.take(index), [_draw(rng) for _ in range(run.heads)])
        run.close_backbone()


def grid(run: Replay) -> None:
    """Backbones in random order, and on each the grid over weight decay and radius at the released learning rate."""
    rng = np.random.default_rng(run.seed)
    side = math.isqrt(run.heads)
    decays, radii = np.geomspace(1e-4, 1.0, side), np.geomspace(0.1, 3.0, side)
    points = [
        {"stage2.lr": 0.01, "stage2.weight_decay": float(decay), "stage2.maxnorm_radius": float(radius)}
        for decay, radius in itertools.product(decays, radii)
    ]
    for index in rng.permutation(len(run.packs)).tolist():
        run.look(run.take(index), points)
        run.close_backbone()


WAYS: dict[str, Callable[[Replay], None]] = {"two levels": two_levels, "random": random_search, "grid": grid}


def _ranges(packs: Iterable[Pack]) -> dict[str, BaseDistribution]:
    """From the smallest to the largest value that was trained, on a log scale."""
    names = ("stage1.lr", "stage1.weight_decay")
    values = {name: sorted({pack.params[name] for pack in packs if pack.params[name] > 0}) for name in names}
    return {name: FloatDistribution(found[0], found[-1], log=True) for name, found in values.items() if len(found) > 1}


def _nearest(run: Replay, wanted: Params) -> int:
    """The backbone not yet used whose logarithms are nearest; without weight decay counts as a tenth of the least."""

    def distance(index: int) -> float:
        params = run.packs[index].params
        return math.fsum(math.log((params[name] or run.least / 10) / value) ** 2 for name, value in wanted.items())

    return min(run.left, key=lambda index: (distance(index), index))


def _draw(rng: np.random.Generator) -> Params:
    return {
        name: float(10 ** rng.uniform(math.log10(d.low), math.log10(d.high)))  # type: ignore[attr-defined]
        for name, d in STAGE2.items()
    }


def _accuracy(head: Any, split: LabelledFeatures) -> float:
    return balanced_accuracies(head.weight.unsqueeze(0), head.bias.unsqueeze(0), split)[0]


def searched(packs: Sequence[Pack], *, heads: int, seeds: int) -> dict[str, list[Course]]:
    """The courses of each way: `seeds` of the search on the backbones of each seed of training."""
    by_seed: dict[int, list[Pack]] = {}
    for pack in packs:
        by_seed.setdefault(pack.seed, []).append(pack)
    found: dict[str, list[Course]] = {way: [] for way in WAYS}
    for same_seed in by_seed.values():
        for way, search in WAYS.items():
            for seed in range(seeds):
                run = Replay(same_seed, heads=heads, seed=seed)
                search(run)
                found[way].append(run.course)
    return found


def table(found: Mapping[str, Sequence[Course]]) -> Iterator[str]:
    """A line a way and number of backbones; fewer courses go so far where a seed has fewer backbones, so each has n."""
    for way, courses in found.items():
        yield f"{way}:"
        for index in range(max(map(len, courses), default=0)):
            steps = [course[index] for course in courses if len(course) > index]
            tests = [100 * step["test"] for step in steps]
            spread = f" ± {stdev(tests):.1f}" if len(tests) > 1 else ""
            yield (
                f"  after {index + 1} backbones ({fmean(s['minutes'] for s in steps):.1f} min of stage 1): validation "
                f"{fmean(s['validation'] for s in steps):.1%}, test {fmean(tests):.1f}{spread}, n={len(steps)}"
            )


def main(arguments: list[str] | None = None) -> int:
    """Prints the course of each way, mean and deviation over seeds of search and training, and writes it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_replay", description=__doc__.partition("\n")[0])
    parser.add_argument("packs", type=Path, help="the folder `packs` that paper_table left")
    parser.add_argument("--heads", type=int, default=36, help="a backbone; a square, for the grid")
    parser.add_argument("--seeds", type=int, default=3, help="of the search, for each seed of training")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    by_setting: dict[str, list[Pack]] = {}
    for pack in read_packs(asked.packs):
        by_setting.setdefault(setting_text(pack.setting), []).append(pack)
    if not by_setting:
        parser.error(f"no packs in {asked.packs}; benchmarks.paper_table leaves them under the protocol honest")
    courses = {}
    for setting, packs in by_setting.items():
        trained = sorted({pack.seed for pack in packs})
        print(f"{setting}; {len(packs)} backbones, seeds {trained}, {asked.heads} heads each:")
        courses[setting] = searched(packs, heads=asked.heads, seeds=asked.seeds)
        print("\n".join(table(courses[setting])))
    if asked.out:
        about = {"heads": asked.heads, "hardware": hardware(), "versions": versions()}
        asked.out.write_text(json.dumps({"courses": courses, **about}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
