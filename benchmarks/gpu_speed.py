"""Speed on a GPU against the straightforward loop, in one run: the step in every way, several backbones, heads.

`python -m benchmarks.gpu_speed [PART ...]` needs what the trainers need; without a GPU only --toy runs, to test the
code. Parts: `step` (straightforward, recorded, plain, lean), `compiled` (recorded, compiled), `together` (1 to 8
backbones at once, their steps computed in --way), `heads` (extraction, and stage 2 with and without all measures).
`recorded` is the step of commit ab14781, so each part compares the others with it in the same run. Images are noise in
the shape of CIFAR-100-LT at factor 100, since time does not depend on what is in them.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Mapping
from statistics import median
from typing import Literal, get_args

import torch
from torch.utils.data import DataLoader

from benchmarks.gpu_peak import flops_per_image, peak_flops
from benchmarks.gpu_together import Rate, rate_together
from benchmarks.noise import Noise
from benchmarks.record import record
from benchmarks.straightforward import PilImages, stage1_step
from benchmarks.timing import Pairs, all_in_turn, in_turn, seconds
from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.data.task import Task
from trainers.features import FeatureBank, extract_bank
from trainers.long_tail import long_tail_counts
from trainers.measures.evaluation import evaluate_heads
from trainers.results import HeadFailure
from trainers.stage1 import loop
from trainers.stage1.cuda_graph import RecordedStep, Step, StepCandidate, VerifiedStep
from trainers.stage1.models import Network, build_model
from trainers.stage1.step_ways import StepWay
from trainers.stage2.heads import train_heads
from trainers.weight_balance import LinearHead

VIEWS = 10  # and epochs of stage 2
ROUNDS = 3
HEADS_A_SECOND = 600
EPOCH, TOGETHER = 0.40, 45_000.0  # targets on an H200: seconds of a backbone's epoch, images/s of eight
OF_RECORDED = {"epoch": 0.6, "together": 2.7}  # targets on other cards, of the recorded step in the same run
BASELINE = "PIL transforms in worker processes, float32, for-loop SGD, item() per step"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """What is measured, and on what."""

    device: torch.device
    model: str
    counts: tuple[int, ...]  # training images a class
    heads: int
    workers: int  # of the straightforward loop's loader
    at_once: tuple[int, ...] = (1, 2, 4, 8)

    @property
    def precision(self) -> Literal["bf16", "fp32"]:
        """bfloat16 where it is meant to be fast."""
        return "bf16" if self.device.type == "cuda" else "fp32"

    @property
    def is_h200(self) -> bool:
        """True on the card that has absolute targets."""
        return self.device.type == "cuda" and "H200" in torch.cuda.get_device_name(self.device)

    def judge(self, met: bool) -> bool | None:
        """Targets are for a GPU."""
        return met if self.device.type == "cuda" else None

    def wait(self) -> None:
        """Until the device has finished."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


PAPER = Setting(
    device=torch.device("cuda"), model="resnet34", counts=tuple(long_tail_counts(100, 500, 100)), heads=256, workers=4
)
TOY = Setting(
    device=torch.device("cpu"), model="cnn-small", counts=(40, 20, 10, 5), heads=8, workers=2, at_once=(1, 2)
)  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Prints one line per figure; returns 1 if nothing could be measured."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_speed", description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--toy", action="store_true", help="small enough for a CPU")
    parser.add_argument("--way", choices=get_args(StepWay), default="recorded", help="of a step, for `together`")
    asked = parser.parse_args(arguments)
    for part in asked.parts:
        if part not in PARTS:
            parser.error(f"PART must be one of {', '.join(PARTS)}, but got {part!r}")
    if not asked.toy and not torch.cuda.is_available():
        print("no GPU here: nothing was measured; --toy runs the code on a CPU", file=sys.stderr)
        return 1
    setting = TOY if asked.toy else PAPER
    noise = Noise.draw(setting.counts, val=20, test=1)
    for part in asked.parts or PARTS:
        PARTS[part](setting, noise, asked.way)
    return 0


def _step(setting: Setting, noise: Noise, _way: StepWay) -> None:
    """Epochs in every way that needs no compiler, and of the straightforward loop, in turn."""
    _ways(setting, noise, ("recorded", "plain", "lean"), straightforward=True)


def _compiled(setting: Setting, noise: Noise, _way: StepWay) -> None:
    """Epochs with the compiled network, which takes about a minute to make, beside the recorded step's."""
    _ways(setting, noise, ("recorded", "compiled"), straightforward=False)


def _ways(setting: Setting, noise: Noise, ways: tuple[StepWay, ...], *, straightforward: bool) -> None:
    config = Stage1Config(epochs=10_000, batch_size=64, lr=0.01, precision=setting.precision)  # few are validated
    epochs = {way: WayOfEpoch(setting, noise.task, config, way) for way in ways}
    works: dict[str, Callable[[], object]] = dict(epochs.items())
    if straightforward:
        works["straightforward"] = _straightforward(setting, noise)
    taken = all_in_turn(works, rounds=ROUNDS)
    flops, peak = flops_per_image(epochs["recorded"].state.model, setting.device), peak_flops(setting.device)
    for way in ways:
        epoch, of_recorded = median(taken[way][1:]), _ratio(taken, way, "recorded")
        target = EPOCH if setting.is_h200 else OF_RECORDED["epoch"] * median(taken["recorded"][1:])
        rate = len(noise.train) / epoch
        extra = {"straightforward": median(taken["straightforward"][1:])} if straightforward else {}
        extra |= {"ratio": 1 / _ratio(taken, way, "straightforward")} if straightforward else {}
        record(
            name=_name("gpu_step", way, ways), figure=epoch, unit="s an epoch", n=ROUNDS,
            target=target if way in ("lean", "compiled") else None,
            met=setting.judge(epoch <= target) if way in ("lean", "compiled") else None,
            baseline=BASELINE if straightforward else "the recorded step, in the same run", way=way,
            used=epochs[way].used, of_recorded=of_recorded, best=min(taken[way][1:]), first=taken[way][0],
            images_per_second=rate, share_of_measured_peak=flops * rate / peak, peak_flops=peak,
            images=len(noise.train), precision=setting.precision, **extra,
        )  # fmt: skip


def _name(prefix: str, way: StepWay, ways: tuple[StepWay, ...]) -> str:
    """`recorded` is measured beside each of the others, and has a file in each part."""
    return f"{prefix}_{way}" + ("_beside_compiled" if way == "recorded" and "compiled" in ways else "")


def _ratio(taken: Mapping[str, tuple[float, ...]], one: str, other: str) -> float:
    """The median over rounds of one's seconds over the other's."""
    return median(a / b for a, b in zip(taken[one][1:], taken[other][1:], strict=True))


class WayOfEpoch:
    """One training, an epoch a call, its steps computed in one way."""

    def __init__(self, setting: Setting, task: Task, config: Stage1Config, way: StepWay) -> None:
        self._made: list[VerifiedStep] = []
        self._kind = RecordedStep if setting.device.type == "cuda" else VerifiedStep
        self.state = loop.start(task, config, model=setting.model, pretrained=False, device=setting.device)
        self._epochs = loop.train(
            self.state, task, config, device=setting.device, way=way, recorder=self._remembered
        )  # fmt: skip

    def __call__(self) -> None:
        """One epoch; the host waits for its loss."""
        next(self._epochs)

    @property
    def used(self) -> str:
        """The name of the step that was used in fact: a way that cannot be made falls back to a simpler one."""
        used = (step.candidate.name for step in reversed(self._made) if step.is_used)  # simpler ones are made first
        return next(used, "plain")

    def _remembered(self, candidate: StepCandidate, otherwise: Step) -> VerifiedStep:
        self._made.append(self._kind(candidate, otherwise))
        return self._made[-1]


def _straightforward(setting: Setting, noise: Noise) -> Callable[[], None]:
    model = build_model(setting.model, len(setting.counts)).to(setting.device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, foreach=False)
    loader = DataLoader(
        PilImages(noise.train.images, noise.train.labels, augment=True), batch_size=64, shuffle=True,
        num_workers=setting.workers, persistent_workers=True, pin_memory=setting.device.type == "cuda",
    )  # fmt: skip

    def epoch() -> None:
        for images, labels in loader:
            stage1_step(model, optimizer, images.to(setting.device), labels.to(setting.device))

    return epoch


def _together(setting: Setting, noise: Noise, way: StepWay) -> None:
    """Images a second of 1 to 8 backbones at once, and of one with the recorded step."""

    def rate(count: int, way: StepWay) -> Rate:
        return rate_together(
            noise.task, count, way=way, model=setting.model, precision=setting.precision, device=setting.device,
            rounds=ROUNDS,
        )  # fmt: skip

    recorded = rate(1, "recorded")
    flops = flops_per_image(build_model(setting.model, len(setting.counts)).to(setting.device), setting.device)
    peak, one = peak_flops(setting.device), None
    for count in setting.at_once:
        found = recorded if (count, way) == (1, "recorded") else rate(count, way)
        one = one or found.images_per_second
        target = TOGETHER if setting.is_h200 else OF_RECORDED["together"] * recorded.images_per_second
        reached = found.images_per_second
        record(
            name=f"gpu_backbones_at_once_{count}", figure=reached, unit="images/s of all together",
            target=target if count == 8 else None, met=setting.judge(reached >= target) if count == 8 else None,
            baseline="one backbone with the recorded step, in the same run", n=ROUNDS, best=found.best,
            ratio=reached / one, of_recorded=reached / recorded.images_per_second, way=way, at_once=found.at_once,
            share_of_measured_peak=flops * reached / peak, peak_flops=peak, gpu_bytes=found.gpu_bytes,
            precision=setting.precision,
        )  # fmt: skip


def _heads(setting: Setting, noise: Noise, _way: StepWay) -> None:
    """Extraction of ten views, and stage 2 on them."""
    config = Stage1Config(precision=setting.precision)
    state = loop.start(noise.task, config, model=setting.model, pretrained=False, device=setting.device)
    bank = _extraction(setting, noise.task, state.model)
    _stage2(setting, noise.task, bank, loop.stage1_head(state.model, config))


def _extraction(setting: Setting, task: Task, model: Network) -> FeatureBank:
    banks: list[FeatureBank] = []

    def extract() -> None:
        banks[:] = [
            extract_bank(
                model, task, mode="default", epochs=VIEWS, batch_size=64, seed=0, splits=("val",),
                device=setting.device, precision=setting.precision,
            )
        ]  # fmt: skip
        setting.wait()

    first, *again = [seconds(extract) for _ in range(ROUNDS + 1)]
    record(
        name="gpu_extraction", figure=median(again), unit=f"s for {VIEWS} views", baseline="none: absolute", target=5,
        met=setting.judge(median(again) <= 5), n=len(again), best=min(again), first=first,
    )  # fmt: skip
    return banks[0]


def _stage2(setting: Setting, task: Task, bank: FeatureBank, start: LinearHead) -> None:
    """Configurations a second, without and with all that is measured of each."""
    some = range(setting.heads)
    configs = [Stage2Config(epochs=VIEWS, lr=0.01 * (1 + i / 64), weight_decay=0.01) for i in some]
    heads: list[LinearHead] = []

    def train() -> None:
        trained = train_heads(bank, start, configs, task.counts)
        heads[:] = [head.head for head in trained if not isinstance(head, HeadFailure)]
        setting.wait()

    def train_and_evaluate() -> None:
        train()
        evaluate_heads(heads, {"val": bank.splits["val"]}, task.counts, task=TaskConfig())

    pairs = in_turn(train_and_evaluate, train, rounds=ROUNDS)
    _record_rate(setting, "gpu_stage2_rate", pairs, pairs.fast, "validation's balanced accuracy after each epoch")
    _record_rate(setting, "gpu_stage2_rate_evaluated", pairs, pairs.slow, "all measures of validation")


def _record_rate(setting: Setting, name: str, pairs: Pairs, taken: tuple[float, ...], included: str) -> None:
    rate = setting.heads / median(taken)
    record(
        name=name, figure=rate, unit="configurations/s", baseline=f"none: absolute, with {included}",
        target=HEADS_A_SECOND, met=setting.judge(rate >= HEADS_A_SECOND), n=pairs.n, best=setting.heads / min(taken),
        heads=setting.heads,
    )  # fmt: skip


PARTS: Mapping[str, Callable[[Setting, Noise, StepWay], None]] = {
    "step": _step, "compiled": _compiled, "together": _together, "heads": _heads,
}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
