"""The paper's part of the GPU campaign: which backbones, in the order of their worth, and the process that trains them.

Each answers a question by what stands beside it: images and seed (4), precision (6, a whole cosine of 80 epochs, since
float32 takes several times as long), three seeds under both protocols (4), no weight decay (6), then what remains.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.gpu_campaign_images import linked
from benchmarks.paper_backbones import Backbone, Protocol, Scale, paper_scale, toy_scale
from benchmarks.paper_campaign import Campaign, MinutesOverError, TooFewMinutesError
from trainers.config import SETTINGS, Stage1Config
from trainers.errors import TrainerError
from trainers.stage1.step_ways import DEFAULT_WAY, StepWay

DONE, WRONG, NOT_YET = 0, 2, 75  # as paper_table's
TOY_BACKBONES = 6
SHORT = 80  # epochs


def planned(images: Sequence[str], folder: Path) -> list[Backbone]:
    """All backbones that the images allow; `images` names the selections that there are in `folder`."""
    known = SETTINGS["stage1.precision"].choices
    precisions = [name for name in ("bf16", "tf32", "fp32") if name in known]
    if not torch.cuda.is_available():
        precisions = [name for name in precisions if name != "tf32"]
    main = "first_n" if "first_n" in images else "seed0"
    both = ("first_n", "seed0")

    def of(protocol: Protocol, selection: str, seed: int, **stage1: Any) -> Backbone:
        size = paper_scale(str(folder / selection))
        task = dataclasses.replace(size.task, selection=selection)  # type: ignore[arg-type]
        config = Stage1Config(**{"lr": 0.01, "weight_decay": 5e-3, "epochs": 320, "seed": seed, **stage1})
        return Backbone.of(protocol, task, config)

    def all_of_them() -> Iterator[Backbone]:
        yield from (of("paper_leak", selection, seed) for seed in (0, 1) for selection in both)
        yield from (of("paper_leak", main, s, epochs=SHORT, precision=p) for s in (0, 1) for p in precisions)
        yield of("paper_leak", main, 2)
        yield from (of("honest", main, seed) for seed in (0, 1, 2))
        yield from (of(p, main, s, weight_decay=0.0) for s in (0, 1, 2) for p in ("paper_leak", "honest"))
        yield of("paper_leak", "seed0", 2)
        yield of("paper_leak", main, 0, precision="fp32")

    return list(dict.fromkeys(backbone for backbone in all_of_them() if backbone.task.selection in images))


def planned_toy() -> list[Backbone]:
    """The first of them on the embedded digits."""
    size = toy_scale()
    plan = [b for b in planned(("first_n", "seed0"), Path()) if b.stage1.precision == "auto"][:TOY_BACKBONES]

    def small(backbone: Backbone) -> Backbone:
        task = dataclasses.replace(size.task, selection=backbone.task.selection)
        stage1 = dataclasses.replace(backbone.stage1, epochs=size.most_epochs or backbone.stage1.epochs)
        return Backbone.of(backbone.protocol, task, stage1)

    return [small(backbone) for backbone in plan]


def scale_and_plan(keep: Path, *, toy: bool) -> tuple[Scale, list[Backbone]]:
    """The toy, or what the images linked in `keep` allow."""
    if toy:
        return toy_scale(), planned_toy()
    return paper_scale("unused"), planned(linked(keep), keep / "data")


def main(arguments: list[str] | None = None) -> int:
    """Does what fits into the minutes left. Returns 0 when all is done, 75 when more is due, 2 when it never could."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_campaign_paper", description="part of gpu_campaign")
    parser.add_argument("--keep", type=Path, required=True)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--minutes", type=float, required=True, help="of a whole call")
    parser.add_argument("--deadline", type=float, help="of this call, by time.monotonic()")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--way", choices=get_args(StepWay), default=DEFAULT_WAY)
    asked = parser.parse_args(arguments)
    try:
        size, plan = scale_and_plan(asked.keep, toy=asked.toy)
        campaign = Campaign(
            size, out=asked.keep, cache=asked.keep / "cache", minutes=asked.minutes, deadline=asked.deadline,
            at_once=asked.at_once, way=asked.way,
        )  # fmt: skip
        campaign.run(plan)
    except MinutesOverError:
        return NOT_YET
    except (TooFewMinutesError, TrainerError) as error:
        print(error, file=sys.stderr)
        return WRONG
    return DONE


if __name__ == "__main__":
    sys.exit(main())
