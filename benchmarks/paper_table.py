"""The paper's table on CIFAR-100-LT, in pieces for a GPU that is there for minutes only; PAPER.md has the commands.

It needs torch, torchvision, numpy, pyarrow (scikit-learn for --toy) and the folder trainers/. Pieces that are done have
a line in `lines.jsonl` and are not done again; a stage 1 out of its minutes leaves a checkpoint in --cache and goes
on from it. Two protocols: `paper_leak` chooses epoch and everything else on test images, as released; `honest`
chooses on 20 images a class that were cut from training, and reads test once for each row of the table.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.paper_pack import Pack, write_pack
from benchmarks.paper_summary import summary
from benchmarks.record import hardware, versions
from trainers.cache import Cache
from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.features import extract_bank
from trainers.job import Job, Trained, run_job
from trainers.results import HeadFailure
from trainers.stage1 import stage1_head

LINES, TEMPORARY_FAILURE = "lines.jsonl", 75
MINUTES = {"stage1": 6.0, "heads": 1.5, "rows": 0.5, "pack": 0.2}  # guesses for a large GPU, until a record says better
VALUE = "val.balanced_accuracy"  # of what selects: test images under paper_leak


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is."""

    task: TaskConfig
    epochs: int
    heads: int  # per backbone and kind of projection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Backbone:
    """One stage 1 of the table."""

    protocol: str
    lr: float
    weight_decay: float
    seed: int

    @property
    def name(self) -> str:
        """What its lines are found by."""
        return f"{self.protocol}-lr{self.lr:g}-wd{self.weight_decay:g}-seed{self.seed}"


def scale(data: str | None, *, epochs: int) -> Scale:
    """CIFAR-100-LT at factor 100 as in the paper, or without `data` the embedded digits at toy scale."""
    if data is None:
        return Scale(task=TaskConfig(dataset="digits-lt", flip_average=True), epochs=min(epochs, 3), heads=4)
    task = TaskConfig(dataset="cifar100-lt", data=data, imbalance_factor=100, model="resnet34", flip_average=True)
    return Scale(task=task, epochs=epochs, heads=200)


def job(backbone: Backbone, size: Scale, heads: Sequence[Stage2Config], *, read_test: bool = False) -> Job:
    """Heads on a backbone. `honest` lets the largest class have 480 images, since 20 of its 500 are validation."""
    honest = backbone.protocol == "honest"
    task = dataclasses.replace(
        size.task, protocol=backbone.protocol, max_count=480 if honest and size.task.data else None
    )
    stage1 = Stage1Config(
        epochs=size.epochs, lr=backbone.lr, weight_decay=backbone.weight_decay, seed=backbone.seed,
        schedule="cosine" if honest else "cosine_ahead",
    )  # fmt: skip
    return Job(task=task, stage1=stage1, heads=tuple(heads), read_test=read_test)


def released_head(protocol: str, seed: int) -> Stage2Config:
    """Stage 2 as released; only `paper_leak` chooses its epoch."""
    return Stage2Config(
        loss="cb_bce_softmax", lr=0.01, weight_decay=0.1, maxnorm_radius=0.1, radius_unit="norm_span",
        projection="epoch", schedule="cosine_ahead", features="replay", seed=seed,
        epoch_rule="best" if protocol == "paper_leak" else "last",
    )  # fmt: skip


def drawn_heads(count: int, *, seed: int) -> list[Stage2Config]:
    """As many random heads for MaxNorm per step, and the same settings per epoch; the ranges belong to their loss."""
    rng = np.random.default_rng(seed)
    heads = []
    for index in range(count):
        loss, most = (("cb_ce", 1.0), ("cb_bce_softmax", 1.0))[index % 2]
        lr, decay, radius = (10 ** rng.uniform(np.log10(low), np.log10(high)) for low, high in
                             ((1e-3, 0.3), (1e-4, most), (0.1, 3.0)))  # fmt: skip
        heads += [
            Stage2Config(loss=loss, lr=lr, weight_decay=decay, maxnorm_radius=radius, projection=projection, seed=seed)
            for projection in ("step", "epoch")
        ]
    return heads


class Campaign:
    """The pieces, in order, until the minutes are over."""

    def __init__(self, size: Scale, *, out: Path, cache: Path, minutes: float) -> None:
        self.size, self.out = size, out
        self._cache = Cache(cache)
        self._deadline = time.monotonic() + 60 * minutes
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        out.mkdir(parents=True, exist_ok=True)
        _end_last_line(out / LINES)
        self.done = {(line["backbone"], line["piece"]): line for line in read_lines(out)}

    def run(self, backbones: Sequence[Backbone]) -> bool:
        """Whether all is done; False when the minutes were over first."""
        for backbone in backbones:
            for piece in MINUTES:
                if (backbone.name, piece) not in self.done and not self._piece(backbone, piece):
                    return False
        return True

    def _piece(self, backbone: Backbone, piece: str) -> bool:
        began = time.monotonic()
        found = getattr(self, f"_{piece}")(backbone)
        if found is None:
            return False
        line = {
            "backbone": backbone.name, "piece": piece, **dataclasses.asdict(backbone), **found,
            "dataset": self.size.task.dataset,
            "epochs": self.size.epochs, "seconds": round(time.monotonic() - began, 1), "hardware": hardware(),
            "versions": versions(), "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }  # fmt: skip
        with (self.out / LINES).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.done[backbone.name, piece] = line
        print(f"{backbone.name} {piece}: {line['seconds']} s", flush=True)
        return True

    def _stage1(self, backbone: Backbone) -> dict[str, Any] | None:
        """Trains; keeps the learning curve and the post-hoc grid's values on the selecting split."""
        trained = self._finished(job(backbone, self.size, ()))
        if trained is None:
            return None
        result = trained.result
        curve = [[row.epoch, row.metrics.get(VALUE), row.metrics["loss"]] for row in result.backbone.epochs]
        posthoc = [{"config": _method(head.config), VALUE: head.metrics[VALUE]} for head in result.backbone.posthoc]
        return {
            "curve": curve, "posthoc": posthoc, "training_seconds": result.backbone.seconds,
            "parameters": result.backbone.parameters, "counts": result.backbone.train_counts,
            "device": result.backbone.device,
        }  # fmt: skip

    def _heads(self, backbone: Backbone) -> dict[str, Any] | None:
        """Trains hundreds of heads and the released one; keeps their values on the selecting split."""
        heads = [released_head(backbone.protocol, backbone.seed), *drawn_heads(self.size.heads, seed=backbone.seed)]
        trained = self._finished(job(backbone, self.size, heads))
        if trained is None:
            return None
        return {"heads": [_described(config, head) for config, head in zip(heads, trained.result.heads, strict=True)]}

    def _rows(self, backbone: Backbone) -> dict[str, Any] | None:
        """Chooses a head for each row of the table, and reads test."""
        chosen = dict(chosen_heads(self.done[backbone.name, "stage1"], self.done[backbone.name, "heads"]))
        trained = self._finished(job(backbone, self.size, list(chosen.values()), read_test=True))
        if trained is None:
            return None
        rows = {}
        for row, head in zip(chosen, trained.result.heads, strict=True):
            rows[row] = None if isinstance(head, HeadFailure) else {"config": head.config, **head.metrics}
        return {"rows": rows}

    def _pack(self, backbone: Backbone) -> dict[str, Any] | None:
        """Leaves the features for a replay of the search elsewhere; the honest protocol's alone are worth one."""
        if backbone.protocol != "honest":
            return {"files": []}
        asked = job(backbone, self.size, ())
        trained = self._finished(asked)
        if trained is None:
            return None
        bank = extract_bank(
            trained.model, trained.task, mode="search", epochs=2, batch_size=64, seed=backbone.seed,
            splits=("val", "test"), device=self._device, precision="auto", mirrored=("test",),
        )  # fmt: skip
        pack = Pack(
            name=backbone.name,
            params={"stage1.lr": backbone.lr, "stage1.weight_decay": backbone.weight_decay},
            seconds=trained.result.backbone.seconds,
            counts=trained.task.counts,
            start=stage1_head(trained.model, asked.stage1),
            bank=bank,
        )
        return {"files": [path.name for path in write_pack(self.out / "packs", pack)]}

    def _finished(self, asked: Job) -> Trained | None:
        """The finished job; None, with a checkpoint left, when the minutes were over first."""
        events = run_job(asked, cache=self._cache, device=self._device, checkpoint_every=60.0)
        while True:
            if time.monotonic() > self._deadline:
                events.close()
                return None
            try:
                next(events)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]


def chosen_heads(stage1: Mapping[str, Any], heads: Mapping[str, Any]) -> Iterator[tuple[str, Stage2Config]]:
    """Rows of the table and the head of each that is best on the selecting split, the first of equals."""
    for method in ("none", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm"):
        best = max((h for h in stage1["posthoc"] if h["config"]["method"] == method), key=lambda h: h[VALUE])
        yield method, Stage2Config(**best["config"])
    released, *drawn = heads["heads"]
    yield "released", Stage2Config(**released["config"])
    for projection in ("step", "epoch"):
        known = [h for h in drawn if h["config"]["projection"] == projection and VALUE in h]
        if known:
            yield f"maxnorm_{projection}", Stage2Config(**max(known, key=lambda h: h[VALUE])["config"])


def _described(config: Stage2Config, head: Any) -> dict[str, Any]:
    if isinstance(head, HeadFailure):
        return {"config": dataclasses.asdict(config), "reason": head.reason}
    acted = {name: head.metrics[f"stage2.{name}"] for name in ("forgetting", "projected_at_step1", "projected_rows")}
    epochs = [epoch.metrics["projected_rows"] for epoch in head.epochs]
    return {
        "config": dataclasses.asdict(config), VALUE: head.metrics[VALUE], "norm.slope": head.metrics["norm.slope"],
        **acted, "projected_by_epoch": epochs,
    }  # fmt: skip


def _method(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a post-hoc head, as Stage2Config's arguments."""
    return {"method": config["stage2.method"], "tau": config["stage2.tau"]}


def read_lines(out: Path) -> list[dict[str, Any]]:
    """The lines that are there; one cut short by a kill is not."""
    path, found = out / LINES, list[dict[str, Any]]()
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            found.append(json.loads(text))
        except json.JSONDecodeError:
            print(f"{path}: a line was cut short; its piece is done again", file=sys.stderr)
    return found


def _end_last_line(path: Path) -> None:
    """So that the next line is one of its own, whatever a kill has left."""
    if path.exists() and not path.read_bytes().endswith(b"\n"):
        with path.open("a") as file:
            file.write("\n")


def main(arguments: list[str] | None = None) -> int:
    """Does what is due; returns 75 when the minutes were over first, and the same command goes on."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper_table", description=__doc__.partition("\n")[0])
    parser.add_argument("data", nargs="?", help="folder with train_if10.parquet and test.parquet")
    parser.add_argument("--toy", action="store_true", help="the embedded digits, three epochs: a minute on a CPU")
    parser.add_argument("--out", type=Path, required=True, help="lines.jsonl: small, to be kept")
    parser.add_argument("--cache", type=Path, required=True, help="backbones, features, checkpoints: gigabytes")
    parser.add_argument("--protocol", nargs="+", choices=("paper_leak", "honest"), default=["paper_leak", "honest"])
    parser.add_argument("--weight-decay", nargs="+", type=float, default=[0.0, 5e-3])
    parser.add_argument("--lr", nargs="+", type=float, default=[0.01])
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=320)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--list", action="store_true", help="only say what is done and what is due")
    parser.add_argument("--summary", action="store_true", help="only print the tables of what is done")
    asked = parser.parse_args(arguments)
    if not asked.toy and asked.data is None:
        parser.error("name the folder of CIFAR-100-LT, or say --toy")
    if asked.summary:
        print(summary(read_lines(asked.out)))
        return 0
    size = scale(None if asked.toy else asked.data, epochs=asked.epochs)
    wanted = [
        Backbone(protocol=protocol, lr=lr, weight_decay=decay, seed=seed)
        for seed in asked.seed for protocol in asked.protocol for decay in asked.weight_decay for lr in asked.lr
    ]  # fmt: skip
    campaign = Campaign(size, out=asked.out, cache=asked.cache, minutes=asked.minutes)
    if asked.list:
        for backbone in wanted:
            for piece, minutes in MINUTES.items():
                state = "done" if (backbone.name, piece) in campaign.done else f"due, about {minutes:g} min on a GPU"
                print(f"{backbone.name} {piece}: {state}")
        return 0
    if campaign.run(wanted):
        print(summary(read_lines(asked.out)))
        return 0
    print("the minutes are over; the same command goes on")
    return TEMPORARY_FAILURE


if __name__ == "__main__":
    sys.exit(main())
