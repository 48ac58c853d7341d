"""The pieces of the paper's table, done until the minutes are over, stage 1 of several backbones at once."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.paper_backbones import PIECES, Backbone, Scale
from benchmarks.paper_heads import VALUE, asked_digest, asked_heads, chosen_rows, described, digest, posthoc_described
from benchmarks.paper_lines import Line, Lines
from benchmarks.paper_pack import Pack, write_pack
from benchmarks.paper_together import train_together
from benchmarks.record import hardware, versions
from trainers.config import Stage2Config
from trainers.errors import TrainerError
from trainers.features import extract_bank
from trainers.files.cache import Cache
from trainers.job import Job, Trained, job_in_turns, run_job
from trainers.results import HeadFailure
from trainers.stage1.loop import stage1_head
from trainers.stage1.step_ways import DEFAULT_WAY, StepWay
from trainers.turns import Clock, Events, JobEnd

LEAST_EPOCHS = 2  # for fewer, stage 1 is not begun


class MinutesOverError(Exception):
    """What is next does not fit into the minutes that are left."""


class TooFewMinutesError(Exception):
    """What is next would not fit into all the minutes of a call."""


class Campaign:
    """What is due of some backbones, and how it is done. `final` trains `final_head`, which stood for `final_row`."""

    def __init__(
        self, size: Scale, *, out: Path, cache: Path, minutes: float, deadline: float | None = None, at_once: int = 1,
        way: StepWay = DEFAULT_WAY,
    ) -> None:  # fmt: skip
        """`minutes` are those of a whole call; it ends at `deadline` of time.monotonic(), by default after them."""
        self.size, self.out, self.at_once, self.way = size, out, at_once, way
        self.lines = Lines(out)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.final_head: Stage2Config | None = None
        self.final_row = ""
        self._gpu = hardware()["gpu"]
        self._cache = Cache(cache)
        self._whole = 60 * minutes
        self._deadline = time.monotonic() + self._whole if deadline is None else deadline
        self._is_over = False  # several backbones were stopped in the middle of stage 1
        self._cached_weights: dict[str, str | None] = {}  # by fingerprint
        self._pieces: dict[str, Callable[[Backbone], dict[str, Any]]] = {
            "stage1": lambda backbone: self._trained(self._finished(backbone), at_once=1),
            "heads": self._heads, "rows": self._rows, "pack": self._pack, "final": self._final,
        }  # fmt: skip

    def run(self, backbones: Sequence[Backbone]) -> None:
        """Does all that is due. Raises MinutesOverError, after which the same call goes on, or TooFewMinutesError."""
        while group := self._next(backbones):
            new = [backbone for backbone in group if self.due(backbone)[0] == "stage1"]
            if len(new) > 1:
                self._train_together(new)
            for backbone in group:
                while (due := self.due(backbone)) and (due[0] != "stage1" or len(new) == 1):
                    self._do(backbone, due[0])
            if self._is_over:
                raise MinutesOverError

    def _next(self, backbones: Sequence[Backbone]) -> list[Backbone]:
        """The first that are due, as many as are trained at once; looks at no others, which would load their images."""
        return [*itertools.islice(filter(self.due, backbones), self.at_once)]

    def due(self, backbone: Backbone) -> list[str]:
        """The pieces without a line, in order; none after one that failed.

        Stage 1 comes first once more where its weights are still wanted and those in the cache are others, or none.
        """
        known = {piece: self.find(backbone, piece) for piece in PIECES[backbone.protocol]}
        if any(line is not None and "failed" in line for line in known.values()):
            return []
        left = [piece for piece, line in known.items() if line is None]
        first = known["stage1"]
        if first is not None and left and self._weights_kept(backbone) != first["weights"]:
            return ["stage1", *left]
        return left

    def find(self, backbone: Backbone, piece: str) -> Line | None:
        """The line of a piece, where it is done or has failed."""
        return self.lines.find(backbone.key(self.device), piece, self._digest(backbone, piece))

    def minutes(self, backbone: Backbone, piece: str) -> float:
        """What a piece is thought to take: the longest of its kind that has a line from such a device, else a guess."""

        def scaled(line: Line) -> float:
            return backbone.stage1.epochs / line["setting"]["epochs"] if piece == "stage1" else 1.0

        like = [
            line["seconds"] * scaled(line) / 60 for line in self.lines.all()
            if line["piece"] == piece and line["hardware"]["gpu"] == self._gpu and "failed" not in line
            and line["setting"]["dataset"] == backbone.task.dataset
            and (piece == "stage1" or line["protocol"] == backbone.protocol)
            and (piece != "stage1" or line["setting"]["precision"] == backbone.stage1.precision)
        ]  # fmt: skip
        if piece != "stage1":
            return max(like, default=self.size.minutes[piece])
        guess = self.size.minutes.get(f"stage1 {backbone.stage1.precision}", self.size.minutes["stage1"])
        return max(like, default=guess * backbone.stage1.epochs / 320)

    def _do(self, backbone: Backbone, piece: str) -> None:
        self._check_time([backbone], piece)
        began = time.monotonic()
        try:
            found = self._pieces[piece](backbone)
        except TrainerError as error:
            found = {"failed": str(error)}
        self._write(backbone, piece, found, round(time.monotonic() - began, 1))

    def _write(self, backbone: Backbone, piece: str, found: dict[str, Any], seconds: float) -> None:
        """Writes the line of a piece."""
        if piece != "stage1":
            found["weights"] = self._line(backbone, "stage1")["weights"]
        key = backbone.key(self.device)
        line = {
            "key": key, "piece": piece, "digest": self._digest(backbone, piece), **backbone.described(), **found,
            "seconds": seconds if piece != "stage1" else max(seconds, found.get("training_seconds", 0.0)),
            "hardware": hardware(), "versions": versions(), "date": time.strftime("%Y-%m-%d", time.gmtime()),
        }  # fmt: skip
        self.lines.add(line)
        print(f"{key} {piece}: " + (f"failed: {found['failed']}" if "failed" in found else f"{seconds} s"), flush=True)

    def _train_together(self, group: Sequence[Backbone]) -> None:
        """Trains stage 1 of a group side by side. One that finds no room on the GPU stays due."""
        self._check_time(group, "stage1")
        jobs = [functools.partial(self._in_turns, backbone) for backbone in group]
        ended: list[Backbone] = []
        closing = self.size.closing * (1 + len(group) / 10)  # a checkpoint of each
        reserved = 0.0  # for what is made of those that have ended

        def is_over(epoch: float) -> bool:
            self._is_over = time.monotonic() + closing + epoch + reserved > self._deadline
            return self._is_over

        for index, end in train_together(jobs, device=self.device, is_over=is_over):
            backbone = group[index]
            found = self._stage1_found(end, len(group))
            if found is not None:
                self._write(backbone, "stage1", found, round(found.get("training_seconds", 0.0), 1))
                ended.append(backbone)
                reserved = 60 * sum(self.minutes(one, piece) for one in ended for piece in self.due(one))

    def _in_turns(self, backbone: Backbone, clock: Clock) -> Events[object]:
        """Stage 1 as a job that takes turns with others."""
        return job_in_turns(
            Job(task=backbone.task, stage1=backbone.stage1), cache=self._cache, device=self.device,
            checkpoint_every=120.0, task=backbone.load(), way=self.way, clock=clock,
        )  # fmt: skip

    def _stage1_found(self, end: JobEnd, at_once: int) -> dict[str, Any] | None:
        """What a line says of a stage 1 that has ended; None if there was no room for it beside the others.

        Raises other errors.
        """
        if isinstance(end.error, TrainerError):
            return {"failed": str(end.error)}
        if isinstance(end.error, torch.OutOfMemoryError) and self.at_once > 1:
            self.at_once -= 1
            return None
        if end.error is not None:
            raise end.error
        if not isinstance(end.result, Trained):
            raise TypeError(f"a job ends with what it trained, but got {type(end.result).__name__}")
        return self._trained(end.result, at_once)

    def _check_time(self, group: Sequence[Backbone], piece: str) -> None:
        """A piece is begun if it fits; stage 1, which can be cut anywhere, if a few epochs of each of the group do."""
        needed = 60 * sum(self.minutes(backbone, piece) for backbone in group)
        if piece == "stage1":
            few = sum(60 * self.minutes(one, piece) * LEAST_EPOCHS / one.stage1.epochs for one in group)
            needed = min(needed, self.size.closing + few)
        if needed > self._whole:
            raise TooFewMinutesError(
                f"{group[0].key(self.device)} {piece} takes about {needed / 60:.1f} minutes, so --minutes must be more "
                f"than that, but got {self._whole / 60:g}"
            )
        if time.monotonic() + needed > self._deadline:
            raise MinutesOverError

    def _digest(self, backbone: Backbone, piece: str) -> str | None:
        """What a piece asks for beyond its backbone."""
        if piece in ("heads", "rows"):
            return asked_digest(backbone.protocol, self.size.heads, seed=backbone.stage1.seed)
        return digest([self.final_head]) if piece == "final" else None

    def _weights_kept(self, backbone: Backbone) -> str | None:
        """Hash of the weights that the cache has of a backbone."""
        fingerprint = backbone.fingerprint(self.device)
        if fingerprint not in self._cached_weights:
            pair = self._cache.load(fingerprint, "backbone")
            self._cached_weights[fingerprint] = None if pair is None else hashed(pair[0])
        return self._cached_weights[fingerprint]

    def _trained(self, trained: Trained, at_once: int) -> dict[str, Any]:
        """The learning curve, and the post-hoc grid's values on the selecting split."""
        result = trained.result.backbone
        weights = hashed(trained.model.state_dict())
        self._cached_weights[result.fingerprint] = weights
        return {
            "weights": weights, "fingerprint": result.fingerprint, "data": result.data_fingerprint,
            "curve": [[row.epoch, row.metrics.get(VALUE), row.metrics["loss"]] for row in result.epochs],
            "posthoc": posthoc_described(result.posthoc), "training_seconds": result.seconds,
            "parameters": result.parameters, "counts": result.train_counts, "device": result.device,
            "notes": result.notes, "way": self.way, "at_once": at_once,
        }  # fmt: skip

    def _heads(self, backbone: Backbone) -> dict[str, Any]:
        """Trains hundreds of heads and the released ones; keeps their values on the selecting split."""
        asked = asked_heads(backbone.protocol, self.size.heads, seed=backbone.stage1.seed)
        trained = self._finished(backbone, [head for _, head in asked])
        results = zip(asked, trained.result.heads, strict=True)
        return {"heads": [described(row, config, head) for (row, config), head in results]}

    def _rows(self, backbone: Backbone) -> dict[str, Any]:
        """Chooses a head for each row of the table, and reads test."""
        chosen = chosen_rows(self._line(backbone, "stage1"), self._line(backbone, "heads"))
        trained = self._finished(backbone, list(chosen.values()), read_test=True)
        return {"rows": dict(zip(chosen, map(_measured, trained.result.heads), strict=True))}

    def _final(self, backbone: Backbone) -> dict[str, Any]:
        """The chosen configuration on all published images; test is read this once."""
        if self.final_head is None:
            raise TypeError("a final backbone needs a head")
        head = dataclasses.replace(self.final_head, seed=backbone.stage1.seed)
        trained = self._finished(backbone, [head], read_test=True)
        return {"row": self.final_row, "head": _measured(trained.result.heads[0])}

    def _pack(self, backbone: Backbone) -> dict[str, Any]:
        """Leaves the features for a replay of the search elsewhere."""
        trained, stage1 = self._finished(backbone), backbone.stage1
        bank = extract_bank(
            trained.model, trained.task, mode="search", epochs=2, batch_size=64, seed=stage1.seed,
            splits=("val", "test"), device=self.device, precision=stage1.precision, mirrored=("test",),
        )  # fmt: skip
        pack = Pack(
            name=backbone.key(self.device),
            params={"stage1.lr": stage1.lr, "stage1.weight_decay": stage1.weight_decay},
            seed=stage1.seed,
            setting=backbone.described()["setting"],
            seconds=trained.result.backbone.seconds,
            counts=trained.task.counts,
            start=stage1_head(trained.model, stage1),
            bank=bank,
        )
        return {"files": [path.name for path in write_pack(self.out / "packs", pack)]}

    def _line(self, backbone: Backbone, piece: str) -> Line:
        line = self.find(backbone, piece)
        if line is None:
            raise LookupError(f"{backbone.key(self.device)}: there is no line of {piece} yet")
        return line

    def _finished(self, backbone: Backbone, heads: Sequence[Stage2Config] = (), *, read_test: bool = False) -> Trained:
        """The finished job. Raises MinutesOverError, with a checkpoint left, when stage 1 would not end in time."""
        asked = Job(task=backbone.task, stage1=backbone.stage1, heads=tuple(heads), read_test=read_test)
        events = run_job(
            asked, cache=self._cache, device=self.device, checkpoint_every=60.0, task=backbone.load(), way=self.way
        )  # fmt: skip
        while True:
            try:
                event = next(events)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            reserved = self.size.closing + (event.metrics.get("seconds") or 0.0)
            if event.stage == 1 and time.monotonic() + reserved > self._deadline:
                events.close()
                raise MinutesOverError


def _measured(head: Any) -> dict[str, Any] | None:
    """What a line keeps of a head whose test was read; None for one that was lost."""
    return None if isinstance(head, HeadFailure) else {"config": head.config, **head.metrics}


def hashed(weights: Mapping[str, Tensor]) -> str:
    """SHA-256 of names and bytes."""
    found = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        found.update(name.encode() + tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return found.hexdigest()
