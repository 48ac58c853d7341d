"""The ways of computing a training step, which one setting chooses; each falls back to the next simpler one.

`plain` asks for PyTorch's operations one by one. `recorded` is plain as a CUDA graph, on a CPU plain itself. `lean` has
fewer operations for the same bits, on a GPU as a CUDA graph. `compiled` is lean with features by torch.compile, which
takes about a minute once per worker. `auto` measures the others in the first training of a kind and keeps the quickest.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Hashable
from typing import get_args

import torch
from torch import Tensor

from trainers.config import StepWay
from trainers.stage1.cuda_graph import RecordedStep, Step, StepCandidate, VerifiedStep, put_back, snapshot
from trainers.stage1.random_numbers import same_draws
from trainers.stage1.step import LeanStep, PlainStep, compiled_features

logger = logging.getLogger(__name__)

DEFAULT_WAY: StepWay = "recorded"
Recorder = Callable[[StepCandidate, Step], VerifiedStep]

MEASURED_STEPS, _MEASURED_SECONDS = 30, 1.0
quickest_ways: dict[Hashable, StepWay] = {}  # by kind of training, for this process


def make_step(way: StepWay, plain: PlainStep, *, recorder: Recorder | None = None) -> Step:
    """The training step in a way; `recorder` stands for CUDA graphs, which only a GPU has."""
    device = plain.loss_sum.device
    recorder = recorder or (RecordedStep if device.type == "cuda" else None)
    if way == "plain" or (way == "recorded" and recorder is None):
        return plain
    _begin_momenta(plain.state.optimizer)
    if way == "auto":
        return QuickestStep(plain, recorder)
    step: Step = plain
    simpler: StepWay = "plain"
    exact: Step | None = None
    if way == "lean":
        step, simpler = LeanStep(plain), "recorded"
    elif way == "compiled":
        step, simpler = LeanStep(plain, compiled_features()), "lean"
        exact = dataclasses.replace(plain, config=dataclasses.replace(plain.config, precision="fp32"))
    name = "recorded as a CUDA graph" if way == "recorded" else way
    rates = [group["lr"] for group in plain.state.optimizer.param_groups if isinstance(group["lr"], Tensor)]
    candidate = StepCandidate(name=name, step=step, plain=plain, changed=plain.changed, rates=rates, exact=exact)
    return (recorder or VerifiedStep)(candidate, make_step(simpler, plain, recorder=recorder))


def _begin_momenta(optimizer: torch.optim.SGD) -> None:
    """Gives the optimiser its momenta before the first step, so that they can be compared and have fixed addresses.

    Momentum 0 gives the same first step as no momentum: m = mu 0 + g.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"] if group["momentum"] else ():
            optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))


class QuickestStep:
    """The quickest of all ways, measured on the first batch of a kind of training in this process."""

    def __init__(self, plain: PlainStep, recorder: Recorder | None) -> None:
        self._plain, self._recorder = plain, recorder
        self._chosen: Step | None = None

    def __call__(self, images: Tensor, labels: Tensor) -> None:
        """One step."""
        if self._chosen is None:
            kind = self._kind(images)
            if kind not in quickest_ways:
                quickest_ways[kind] = self._measured(images, labels)
            self._chosen = make_step(quickest_ways[kind], self._plain, recorder=self._recorder)
        self._chosen(images, labels)

    def _kind(self, images: Tensor) -> Hashable:
        parameters = tuple(parameter.shape for parameter in self._plain.state.model.parameters())
        return (images.shape, images.device, self._plain.config.precision, self._plain.config.loss, parameters)

    def _measured(self, images: Tensor, labels: Tensor) -> StepWay:
        """The way with the shortest step; leaves everything as it was."""
        kept = snapshot(self._plain.changed)
        seconds: dict[StepWay, float] = {}
        for way in get_args(StepWay):
            if way == "auto":
                continue
            step = make_step(way, self._plain, recorder=self._recorder)
            with same_draws(images.device):
                step(images, labels)  # records, compiles, verifies
                if not isinstance(step, VerifiedStep) or step.is_used:
                    seconds[way] = _seconds_a_step(step, images, labels)
            put_back(self._plain.changed, kept)
        chosen = min(seconds, key=lambda way: seconds[way])
        figures = ", ".join(f"{way} {1000 * value:.2f} ms" for way, value in seconds.items())
        # a warning, because a worker's other messages do not reach the user
        logger.warning("--step auto: a training step takes %s; this worker uses %s", figures, chosen)
        return chosen


def _seconds_a_step(step: Step, images: Tensor, labels: Tensor) -> float:
    """The shortest of up to 30 steps, or of one second of them."""
    end = time.perf_counter() + _MEASURED_SECONDS
    found: list[float] = []
    while len(found) < MEASURED_STEPS and (not found or time.perf_counter() < end):
        _wait(images.device)
        began = time.perf_counter()
        step(images, labels)
        _wait(images.device)
        found.append(time.perf_counter() - began)
    return min(found)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
