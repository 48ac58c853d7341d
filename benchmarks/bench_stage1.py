"""A stage-1 step: the trainer's own loop against the straightforward one, one thread; and in the way `lean`.

Both take steps of 64 images, in turn, so that a change of the machine's speed meets both. The trainer's loop crops and
flips them, too; the other gets them ready made.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import median

import torch

from benchmarks.noise import Noise
from benchmarks.record import record
from benchmarks.straightforward import stage1_step
from benchmarks.timing import in_turn
from trainers.config import Stage1Config, StepWay
from trainers.stage1 import loop
from trainers.stage1.models import build_model
from trainers.stage1.precision import resolve_precision

TARGETS = {"resnet32": 2.0, "resnet18": 2.7, "resnet34": 2.7}
NEEDS_AMX = ("resnet18", "resnet34")  # what their targets are for
ROUNDS, STEPS = 5, 4
CPU = torch.device("cpu")
PRECISION = resolve_precision("auto", CPU)  # bf16 where the processor computes in it


def main() -> None:
    """Prints one line a network."""
    torch.set_num_threads(1)
    amx = torch.cpu._is_amx_tile_supported()
    for name, target in TARGETS.items():
        pairs = in_turn(_straightforward(name), _fast(name), rounds=ROUNDS)
        met = pairs.ratio >= target if amx or name not in NEEDS_AMX else None
        record(
            name=f"stage1_step_{name}", figure=pairs.ratio, unit="x", target=target, met=met, n=pairs.n,
            baseline="float32, NCHW, for-loop SGD, item() per step", best=pairs.best, amx=amx,
            images_per_second=STEPS * 64 / median(pairs.fast), precision=PRECISION, instructions=_instructions(),
        )  # fmt: skip
        lean = in_turn(_fast(name), _fast(name, way="lean"), rounds=ROUNDS)
        record(
            name=f"stage1_step_lean_{name}", figure=lean.ratio, unit="x", target=None, met=None, n=lean.n,
            baseline="the same step with a cast a weight and a count a BatchNorm", best=lean.best,
            precision=PRECISION, instructions=_instructions(),
        )  # fmt: skip


def _instructions() -> str:
    """What the processor offers of that which decides the speed of bfloat16."""
    offered = {
        "AMX": torch.cpu._is_amx_tile_supported(),
        "AVX-512 bf16": torch.cpu._is_avx512_bf16_supported(),
        "AVX2": torch.cpu._is_avx2_supported(),
    }
    return ", ".join(name for name, there in offered.items() if there) or "none of them"


def _straightforward(name: str) -> Callable[[], object]:
    model = build_model(name, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, foreach=False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(64, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (64,), generator=generator)
    return lambda: [stage1_step(model, optimizer, images, labels) for _ in range(STEPS)]


def _fast(name: str, *, way: StepWay = "plain") -> Callable[[], object]:
    """An epoch of four steps; among so many epochs these are not validated."""
    task = Noise.draw([STEPS * 64 // 10 + (k < STEPS * 64 % 10) for k in range(10)], val=1, test=1).task
    config = Stage1Config(epochs=10_000, batch_size=64, lr=0.1, weight_decay=5e-4, precision=PRECISION)
    state = loop.start(task, config, model=name, pretrained=False, device=CPU)
    epochs = loop.train(state, task, config, device=CPU, way=way)
    return lambda: next(epochs)


if __name__ == "__main__":
    main()
