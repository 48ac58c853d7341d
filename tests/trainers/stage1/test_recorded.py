"""A recorded step is the step itself: on a GPU for real, elsewhere with a recorder that plays the step again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.config import Stage1Config, TaskConfig
from trainers.data.task import Task, load_task
from trainers.stage1 import cuda_graph, loop
from trainers.stage1.cuda_graph import RecordedStep, Step, WrapStep, recorded_on_cuda

CONFIG = Stage1Config(epochs=3, lr=0.05, batch_size=50, precision="fp32", loss="ldam", drw=0.6)


class Recorder:
    """Stands for CUDA: what is asked for while it records is not computed, and each replay asks for it again."""

    def __init__(self, spoil: Callable[[], None] = lambda: None, *, counter: Recorder | None = None) -> None:
        self.spoil = spoil
        self.counter = counter or self
        self.replays = 0
        self.recording: Callable[[], None] | None = None

    def replay(self) -> None:
        self.counter.replays += 1
        assert self.recording is not None
        self.recording()
        self.spoil()


class Whole(RecordedStep):
    """With a graph that is the step on the kept batch."""

    recorder: Recorder

    def capture(self, images: Tensor, labels: Tensor, kept: cuda_graph.Snapshot) -> Any:
        for _ in range(3):
            self._step(images, labels)
        self._put_back(kept)
        self.recorder.recording = lambda: self._step(images, labels)
        return self.recorder


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskConfig())


def trained(
    task: Task, device: torch.device, config: Stage1Config = CONFIG, wrap_step: WrapStep = recorded_on_cuda
) -> tuple[dict[str, Tensor], list[float]]:
    state = loop.start(task, config, model="cnn-small", pretrained=False, device=device)
    if device.type == "cpu":
        loop.make_recordable(state.optimizer, device)
    epochs = loop.train(state, task, config, device=device, wrap_step=wrap_step)
    losses = [row.metrics["loss"] or 0.0 for row in epochs]
    return state.model.state_dict(), losses


def as_on_a_gpu(recorder: Recorder) -> WrapStep:
    """Records each step by a recorder of its own; `recorder` counts the replays of all."""

    def whole(step: Step, changed: Callable[[], cuda_graph.Snapshot], device: torch.device) -> Step:
        made = Whole(step, changed)
        made.recorder = Recorder(recorder.spoil, counter=recorder)
        return made

    return whole


def test_a_training_of_recorded_steps_is_the_training_bitwise(task: Task) -> None:
    plain, losses = trained(task, torch.device("cpu"))
    recorder = Recorder()
    played, others = trained(task, torch.device("cpu"), wrap_step=as_on_a_gpu(recorder))
    assert recorder.replays == 3 * (len(task.train) // 50) + 2  # and the last, smaller batch of each epoch as it is
    assert losses == others
    assert all(torch.equal(plain[name], played[name]) for name in plain)


def test_a_recording_that_does_something_else_is_not_used(
    task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = trained(task, torch.device("cpu"))
    state: list[loop.Stage1State] = []
    started = loop.start

    def remembered(*args: Any, **named: Any) -> loop.Stage1State:
        state.append(started(*args, **named))
        return state[-1]

    def spoil() -> None:
        with torch.no_grad():
            state[-1].model.classifier.weight.add_(0.1)

    recorder = Recorder(spoil)
    monkeypatch.setattr(loop, "start", remembered)
    played, _ = trained(task, torch.device("cpu"), wrap_step=as_on_a_gpu(recorder))
    assert recorder.replays == 2  # one a loss, to compare
    assert "changes the weights differently" in caplog.text
    assert all(torch.equal(plain[name], played[name]) for name in plain)


def test_where_nothing_can_be_recorded_training_goes_on(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    total = torch.zeros(())

    def step(images: Tensor, labels: Tensor) -> None:
        total.add_(images.sum())

    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    slow = RecordedStep(step, lambda: {"total": [total]})
    slow.capture = refuse  # type: ignore[method-assign, assignment]
    slow(torch.ones(2, 1), torch.zeros(2))
    slow(torch.ones(2, 1), torch.zeros(2))
    assert total == 4
    assert caplog.text.count("not recorded") == 1


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu_recorded_and_plain_training_agree(
    task: Task, precision: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    config, device = replace(CONFIG, precision=precision), torch.device("cuda")
    played, losses = trained(task, device, config)
    assert "not recorded" not in caplog.text
    monkeypatch.setattr(loop, "RecordedStep", lambda step, changed: step)
    plain, others = trained(task, device, config)
    tolerance = 1e-4 if precision == "fp32" else 0.05
    assert losses == pytest.approx(others, rel=tolerance)
    for name in plain:
        if plain[name].is_floating_point():
            torch.testing.assert_close(played[name], plain[name], rtol=10 * tolerance, atol=tolerance, msg=name)
