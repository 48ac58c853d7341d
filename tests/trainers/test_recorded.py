"""A recorded step is the step itself: on a GPU for real, elsewhere with a recorder that plays the step again."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.config import Stage1Config, TaskConfig
from trainers.data.task import Task, load_task
from trainers.stage1 import cuda_graph, loop
from trainers.stage1.cuda_graph import RecordedStep, Step

CONFIG = Stage1Config(epochs=3, lr=0.05, batch_size=50, precision="fp32", loss="ldam", drw=0.6)


class Recorder:
    """Stands for CUDA: what is asked for while it records is not computed, and each replay asks for it again."""

    def __init__(self, spoil: Callable[[], None] = lambda: None) -> None:
        self.spoil = spoil
        self.replays = 0
        self.recording: Callable[[], None] | None = None

    def replay(self) -> None:
        self.replays += 1
        assert self.recording is not None
        self.recording()
        self.spoil()


class Whole(RecordedStep):
    """With a graph that is the step on the kept batch."""

    recorder: Recorder

    def _capture(self, images: Tensor, labels: Tensor, kept: cuda_graph.Snapshot) -> Any:
        for _ in range(3):
            self._step(images, labels)
        self._put_back(kept)
        self.recorder.recording = lambda: self._step(images, labels)
        return self.recorder


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskConfig())


def trained(task: Task, device: torch.device, config: Stage1Config = CONFIG) -> tuple[dict[str, Tensor], list[float]]:
    state = loop.start(task, config, model="cnn-small", pretrained=False, device=device)
    if device.type == "cpu":
        loop._make_recordable(state.optimizer, device)
    losses = [row.metrics["loss"] or 0.0 for row in loop.train(state, task, config, device=device)]
    return state.model.state_dict(), losses


@contextlib.contextmanager
def recording(monkeypatch: pytest.MonkeyPatch, recorder: Recorder) -> Iterator[None]:
    """Stage 1 on the CPU as it is on a GPU."""
    made = loop._steps

    def on_a_gpu(state: loop.Stage1State, config: Stage1Config, counts: Any, loss_sum: Tensor) -> tuple[Step, Step]:
        steps: list[Step] = []
        for step in made(state, config, counts, loss_sum):
            whole = Whole(step, functools.partial(loop._changed, state, loss_sum))
            whole.recorder = Recorder(recorder.spoil)
            recorders.append(whole.recorder)
            steps.append(whole)
        return steps[0], steps[1]

    recorders: list[Recorder] = []
    with monkeypatch.context() as patched:
        patched.setattr(loop, "_steps", on_a_gpu)
        yield
    recorder.replays = sum(one.replays for one in recorders)


def test_a_training_of_recorded_steps_is_the_training_bitwise(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, losses = trained(task, torch.device("cpu"))
    recorder = Recorder()
    with recording(monkeypatch, recorder):
        played, others = trained(task, torch.device("cpu"))
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
    with recording(monkeypatch, recorder):
        played, _ = trained(task, torch.device("cpu"))
    assert recorder.replays == 2  # one a loss, to compare
    assert "moves the weights otherwise" in caplog.text
    assert all(torch.equal(plain[name], played[name]) for name in plain)


def test_where_nothing_can_be_recorded_training_goes_on(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    total = torch.zeros(())

    def step(images: Tensor, labels: Tensor) -> None:
        total.add_(images.sum())

    def refuse(*_: object) -> None:
        raise RuntimeError("operation not permitted when stream is capturing")

    slow = RecordedStep(step, lambda: {"total": [total]})
    slow._capture = refuse  # type: ignore[assignment]
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
