"""The paper's table on CIFAR-100-LT, in pieces for a GPU that is there for minutes only; PAPER.md has the commands.

It needs what the trainers need, and nothing of the service. Pieces that are done have a line in `lines.jsonl` and are
not done again; a stage 1 out of its minutes leaves a checkpoint in --cache and goes on from it. Three protocols:
`paper_leak` chooses epoch and everything else on test images, as released; `honest` chooses on 20 images a class that
the long tail has left over, and reads test once for each row of the table; --final trains what `honest` has chosen on
the whole long tail, and reads test once.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import get_args

from benchmarks.paper_backbones import PIECES, Backbone, Scale, paper_scale, toy_scale
from benchmarks.paper_campaign import Campaign, MinutesOverError, TooFewMinutesError
from benchmarks.paper_choice import NothingChosenError, choose_final
from benchmarks.paper_lines import current, read_lines
from benchmarks.paper_summary import summary
from trainers.config import SETTINGS, LossName, Stage1Config
from trainers.errors import TrainerError
from trainers.stage1.step_ways import DEFAULT_WAY, StepWay

DONE, WRONG, NOT_YET = 0, 2, 75  # the last as in sysexits.h: try again


def main(arguments: list[str] | None = None) -> int:
    """Does what is due. Returns 0 when all is done, 75 when the same command goes on, 2 when it never could."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    if asked.summary:
        print(summary(current(read_lines(asked.out))))
        return DONE
    if not asked.toy and asked.data is None:
        parser.error("name the folder of CIFAR-100-LT, or say --toy")
    size = toy_scale() if asked.toy else paper_scale(asked.data)
    campaign = Campaign(
        size, out=asked.out, cache=asked.cache, minutes=asked.minutes, at_once=asked.at_once, way=asked.way
    )  # fmt: skip
    try:
        wanted = _backbones(asked, size)
        if asked.final:
            wanted = _final(campaign, wanted)
        if asked.list:
            _list(campaign, wanted)
            return DONE
        campaign.run(wanted)
    except MinutesOverError:
        print("the minutes are over; the same command goes on")
        return NOT_YET
    except (TooFewMinutesError, NothingChosenError, TrainerError) as error:
        print(error, file=sys.stderr)
        return WRONG
    print(summary(campaign.lines.all()))
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_table", description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", help="folder with test.parquet and train_if10.parquet or train.parquet")
    parser.add_argument("--toy", action="store_true", help="the embedded digits, three epochs: a minute on a CPU")
    parser.add_argument("--out", type=Path, required=True, help="lines.jsonl and packs: small, to be kept")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="backbones, features, checkpoints: gigabytes")
    parser.add_argument("--minutes", type=float, default=8.0, help="nothing is begun that would take longer")
    parser.add_argument("--at-once", type=int, default=1, help="backbones whose stage 1 is trained side by side")
    parser.add_argument(
        "--way", choices=get_args(StepWay), default=DEFAULT_WAY, help="how a step of stage 1 is computed"
    )
    parser.add_argument("--list", action="store_true", help="only say what is done and what is due")
    parser.add_argument("--summary", action="store_true", help="only print the tables of what is done")
    parser.add_argument("--protocol", nargs="+", choices=("paper_leak", "honest"), default=["paper_leak", "honest"])
    parser.add_argument("--final", action="store_true", help="what honest has chosen, on all published images")
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    stage1 = parser.add_argument_group("stage 1, as in trainers.config; several of a kind are all combined")
    stage1.add_argument("--weight-decay", nargs="+", type=float, default=[0.0, 5e-3])
    stage1.add_argument("--lr", nargs="+", type=float, default=[0.01])
    stage1.add_argument("--epochs", type=int, default=320)
    stage1.add_argument("--precision", choices=SETTINGS["stage1.precision"].choices, default="auto")
    stage1.add_argument("--loss", choices=get_args(LossName), default="ce")
    stage1.add_argument("--drw", type=float, help="fraction of the epochs after which classes are re-weighted")
    stage1.add_argument("--classifier", choices=("linear", "etf"), default="linear")
    stage1.add_argument("--feature-regularization", type=float, default=0.0)
    images = parser.add_argument_group("images")
    images.add_argument(
        "--selection", choices=("seed0", "first_n"), default="seed0", help="first_n, as released, needs train.parquet"
    )
    images.add_argument("--val-per-class", type=int, default=20)
    return parser


def _backbones(asked: argparse.Namespace, size: Scale) -> list[Backbone]:
    task = dataclasses.replace(size.task, selection=asked.selection, val_per_class=asked.val_per_class)
    stage1 = Stage1Config(
        epochs=min(asked.epochs, size.most_epochs or asked.epochs), precision=asked.precision, loss=asked.loss,
        drw=asked.drw, classifier=asked.classifier, feature_regularization=asked.feature_regularization,
    )  # fmt: skip
    return [
        Backbone.of(protocol, task, dataclasses.replace(stage1, lr=lr, weight_decay=decay, seed=seed))
        for seed in asked.seed for protocol in asked.protocol for decay in asked.weight_decay for lr in asked.lr
    ]  # fmt: skip


def _final(campaign: Campaign, wanted: list[Backbone]) -> list[Backbone]:
    """One a seed, at the stage 1 that was chosen among those of `wanted`'s images and settings."""
    one = wanted[0]
    honest = Backbone.of("honest", one.task, one.stage1)
    choice = choose_final(campaign.lines.all(), setting=honest.described()["setting"])
    print(f"chosen under honest: {choice.text}", flush=True)
    campaign.final_head, campaign.final_row = choice.head, choice.row
    stage1 = dataclasses.replace(one.stage1, lr=choice.lr, weight_decay=choice.weight_decay)
    seeds = sorted({backbone.stage1.seed for backbone in wanted})
    return [Backbone.of("final", one.task, dataclasses.replace(stage1, seed=seed)) for seed in seeds]


def _list(campaign: Campaign, wanted: list[Backbone]) -> None:
    for name, state in states(campaign, wanted):
        print(f"{name}: {state}")


def states(campaign: Campaign, backbones: Sequence[Backbone]) -> Iterator[tuple[str, str]]:
    """Each piece, and whether it is due, and for how long, done, failed or left out."""
    for backbone in backbones:
        due = campaign.due(backbone)
        for piece in PIECES[backbone.protocol]:
            line = campaign.find(backbone, piece)
            if piece in due:
                state = f"due, about {max(0.1, campaign.minutes(backbone, piece)):.1f} min"
            elif line is None:
                state = "left out, since an earlier piece failed"
            else:
                state = f"failed: {line['failed']}" if "failed" in line else "done"
            yield f"{backbone.key(campaign.device)} {piece}", state


if __name__ == "__main__":
    sys.exit(main())
