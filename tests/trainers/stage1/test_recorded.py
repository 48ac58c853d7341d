"""A recorded step is the step itself: on a GPU for real, elsewhere with a recorder that plays the step again."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from trainers.config import Stage1Config, StepWay, TaskConfig
from trainers.data.task import Task, load_task
from trainers.stage1 import cuda_graph, loop, step_ways
from trainers.stage1.cuda_graph import RecordedStep, Step, StepCandidate
from trainers.stage1.models import Network, build_model
from trainers.stage1.step import LeanStep, PlainStep, Stage1State

CPU = torch.device("cpu")
CONFIG = Stage1Config(epochs=3, lr=0.05, batch_size=50, precision="fp32", loss="ldam", drw=0.6)


class Tape:
    """Stands for a CUDA graph: while it records nothing is computed, and each replay asks for the step again."""

    def __init__(self, play: Callable[[], None], count: Callable[[], None]) -> None:
        self.play, self.count = play, count

    def replay(self) -> None:
        self.count()
        self.play()


class Recorder:
    """Records each step by a tape of its own; counts the replays of all. `spoil` follows each replay."""

    def __init__(self, spoil: Callable[[], None] = lambda: None, *, bakes_in_rate: bool = False) -> None:
        self.spoil, self.bakes_in_rate = spoil, bakes_in_rate
        self.replays = 0

    def __call__(self, candidate: StepCandidate, otherwise: Step) -> RecordedStep:
        recorder = self

        class Taped(RecordedStep):
            def capture(self, images: Tensor, labels: Tensor, kept: cuda_graph.Snapshot) -> Any:
                for _ in range(3):
                    candidate.step(images, labels)
                cuda_graph.put_back(candidate.changed, kept)
                rates = [rate.clone() for rate in candidate.rates]

                def play() -> None:
                    now = [rate.clone() for rate in candidate.rates]
                    for rate, value in zip(candidate.rates, rates if recorder.bakes_in_rate else now, strict=True):
                        rate.copy_(value)
                    candidate.step(images, labels)
                    for rate, value in zip(candidate.rates, now, strict=True):
                        rate.copy_(value)
                    recorder.spoil()

                return Tape(play, recorder.count)

        return Taped(candidate, otherwise)

    def count(self) -> None:
        self.replays += 1


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task(TaskConfig())


def trained(
    task: Task,
    device: torch.device,
    config: Stage1Config = CONFIG,
    *,
    way: StepWay = "recorded",
    recorder: Recorder | None = None,
) -> tuple[dict[str, Tensor], list[float]]:
    state = loop.start(task, config, model="cnn-small", pretrained=False, device=device)
    if device.type == "cpu":
        loop.make_recordable(state.optimizer, device)
    epochs = loop.train(state, task, config, device=device, way=way, recorder=recorder)
    losses = [row.metrics["loss"] or 0.0 for row in epochs]
    return state.model.state_dict(), losses


def assert_equal(ones: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    assert ones.keys() == others.keys()
    for name, value in ones.items():
        assert torch.equal(value, others[name]), name


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name.startswith("trainers")]


@pytest.mark.parametrize("way", ["recorded", "lean"])
def test_a_training_of_recorded_steps_is_the_training_bitwise(task: Task, way: StepWay) -> None:
    plain, losses = trained(task, CPU, way="plain")
    recorder = Recorder()
    played, others = trained(task, CPU, way=way, recorder=recorder)
    assert recorder.replays == 3 * (len(task.train) // 50) + 4  # two checks a loss; the last, smaller batch is as it is
    assert losses == others
    assert_equal(plain, played)


@pytest.mark.parametrize("loss", ["ce", "ldam"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("model", ["cnn-small", "resnet20", "vit_b_16"])
def test_a_lean_step_changes_the_same_bits(model: str, precision: Any, loss: Any) -> None:
    """Three steps; vit has no BatchNorm, dropout layers of rate 0, and weights that are no layer's."""
    config = replace(CONFIG, precision=precision, loss=loss, drw=None)
    size = 32 if model == "vit_b_16" else 16
    images = torch.randn(3, 6, 3, size, size, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(6) % 4
    ends = []
    for way in ("plain", "lean"):
        network = small_vit() if model == "vit_b_16" else build_model(model, 4, image_size=size, seed=1)
        network.to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01, fused=True)
        state = Stage1State(network, optimizer, torch.Generator(), history=[])
        plain = PlainStep(state, config, loop.criteria(config, [4, 3, 2, 1])[0], torch.zeros(()))
        step = plain if way == "plain" else LeanStep(plain)
        for batch in images:
            step(batch.contiguous(memory_format=torch.channels_last), labels)
        ends.append({**network.state_dict(), "loss": plain.loss_sum})
    assert_equal(*ends)


def small_vit() -> Network:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        trunk = torchvision.models.VisionTransformer(32, 8, 1, 2, 16, 32, num_classes=2)
        trunk.heads = torch.nn.Identity()
        return Network(trunk, 16, 4)


class WithUnused(torch.nn.Module):
    def __init__(self, used: torch.nn.Module) -> None:
        super().__init__()
        self.used, self.unused = used, torch.nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.used(x)
        return found


def test_a_lean_step_leaves_a_weight_alone_that_took_no_part() -> None:
    """SGD would shrink it if its gradient were 0 instead of none."""
    network = build_model("cnn-small", 4, in_channels=1, image_size=8, seed=1)
    network.trunk = WithUnused(network.trunk)
    before = network.trunk.unused.weight.detach().clone()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1, fused=True)
    config = replace(CONFIG, precision="bf16", loss="ce")
    state = Stage1State(network, optimizer, torch.Generator(), history=[])
    plain = PlainStep(state, config, loop.criteria(config, [4, 3, 2, 1])[0], torch.zeros(()))
    LeanStep(plain)(torch.randn(4, 1, 8, 8), torch.arange(4))
    assert torch.equal(network.trunk.unused.weight, before)


@pytest.mark.parametrize("what", ["weights", "rate"])
def test_a_recording_that_does_something_else_is_not_used(
    task: Task, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain, _ = trained(task, CPU, way="plain")
    state: list[Stage1State] = []
    started = loop.start

    def remembered(*args: Any, **named: Any) -> Stage1State:
        state.append(started(*args, **named))
        return state[-1]

    def spoil() -> None:
        if what == "weights":
            with torch.no_grad():
                state[-1].model.classifier.weight.add_(0.1)

    recorder = Recorder(spoil, bakes_in_rate=what == "rate")
    monkeypatch.setattr(loop, "start", remembered)
    played, _ = trained(task, CPU, recorder=recorder)
    assert recorder.replays == (2 if what == "weights" else 4)  # a baked-in rate is found by the second check
    assert "differently from the step" in caplog.text
    assert_equal(plain, played)


def test_where_nothing_can_be_recorded_training_goes_on(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(RecordedStep):
        def capture(self, *_: object) -> Any:
            raise RuntimeError("operation not permitted when stream is capturing\nmore lines")

    plain, losses = trained(task, CPU, way="plain")
    played, others = trained(task, CPU, way="lean", recorder=Refusing)
    assert losses == others
    assert_equal(plain, played)
    said = warnings_in(caplog)
    assert len(said) == 4  # lean, then recorded; for each of two losses
    assert "not lean" in said[0]
    assert "not recorded" in said[1]
    assert "more lines" not in caplog.text


def test_auto_measures_all_ways_once_and_leaves_no_trace(
    task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_ways, "quickest_ways", {})
    monkeypatch.setattr(step_ways, "compiled_features", lambda: lambda model, images: model.features(images))
    monkeypatch.setattr(step_ways, "MEASURED_STEPS", 2)
    caplog.set_level("INFO", logger="trainers")
    config = replace(CONFIG, drw=None)
    plain, losses = trained(task, CPU, config, way="plain")
    for _ in range(2):
        played, others = trained(task, CPU, config, way="auto")
        assert losses == others
        assert_equal(plain, played)
    assert caplog.text.count("a training step takes plain") == 1
    assert all(f"{way} " in caplog.text for way in ("plain", "lean", "compiled"))


def test_a_way_that_is_wrong_is_not_chosen_by_auto(
    task: Task, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(step_ways, "quickest_ways", {})
    monkeypatch.setattr(step_ways, "compiled_features", lambda: lambda model, images: model.features(images) * 0)
    monkeypatch.setattr(step_ways, "MEASURED_STEPS", 2)
    config = replace(CONFIG, drw=None)
    plain, _ = trained(task, CPU, config, way="plain")
    played, _ = trained(task, CPU, config, way="auto")
    assert_equal(plain, played)
    assert "not compiled" in caplog.text
    assert "compiled" not in step_ways.quickest_ways.values()


@pytest.mark.slow
def test_a_compiled_step_agrees(task: Task, caplog: pytest.LogCaptureFixture) -> None:
    """torch.compile fuses, so the last digits differ; it takes half a minute on a CPU."""
    config = replace(CONFIG, drw=None, epochs=1)
    plain, losses = trained(task, CPU, config, way="plain")
    compiled, others = trained(task, CPU, config, way="compiled")
    assert not warnings_in(caplog)
    assert losses == pytest.approx(others, rel=1e-3)
    for name in plain:
        torch.testing.assert_close(compiled[name], plain[name], rtol=1e-2, atol=1e-3, msg=name)


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

# What kernels that add in any order may change in 18 steps, from an emulation on a CPU: losses, relative; and the
# distance of the weights, of the distance they moved. A rate baked into a recording changes 0.045 and 0.28.
APART = {"fp32": (5e-3, 0.08), "tf32": (1e-2, 0.12), "bf16": (2e-2, 0.16)}


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")  # torch 2.11's compiler uses torch.jit
@pytest.mark.parametrize("way", ["recorded", "lean", "compiled"])
@pytest.mark.parametrize("precision", APART)
def test_on_a_gpu_every_way_and_plain_training_agree(
    task: Task, precision: Any, way: StepWay, caplog: pytest.LogCaptureFixture
) -> None:
    config, device = replace(CONFIG, precision=precision), torch.device("cuda")
    start = loop.start(task, config, model="cnn-small", pretrained=False, device=device).model.state_dict()
    begun = {name: value.clone() for name, value in start.items()}
    played, losses = trained(task, device, config, way=way)
    assert not warnings_in(caplog)
    plain, others = trained(task, device, config, way="plain")
    of_losses, of_weights = APART[precision]
    assert losses == pytest.approx(others, rel=of_losses)
    assert distance(played, plain) < of_weights * distance(plain, begun)


def distance(ones: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    floats = [name for name in ones if ones[name].is_floating_point()]
    return math.sqrt(sum(float((ones[name].double() - others[name].double()).square().sum()) for name in floats))


BITWISE = """
import dataclasses, re, sys, torch
from tests.trainers.stage1.test_recorded import CONFIG, assert_equal, trained
from tests.trainers.test_turns import alone, ends, figures, job, together
from trainers.config import TaskConfig
from trainers.data.task import load_task

torch.use_deterministic_algorithms(True, warn_only=True)  # some have no such kernel, but no two of their terms meet
torch.backends.cudnn.deterministic = True
device, task = torch.device("cuda"), load_task(TaskConfig())
config = dataclasses.replace(CONFIG, precision=sys.argv[1])
plain, losses = trained(task, device, config, way="plain")
for way in ("recorded", "lean"):
    played, others = trained(task, device, config, way=way)
    assert losses == others, way
    assert_equal(plain, played)
jobs = [job(seed) for seed in range(3)]
for place, end in ends(together(*jobs, device=device)).items():
    single = alone(jobs[place], device=device)
    assert_equal(end.result.model.state_dict(), single.model.state_dict())
    both = [str(figures(one)) for one in (end.result, single)]
    numbers = [[float(word) for word in re.findall(r"-?[0-9]+[.][0-9e+-]+", text)] for text in both]
    apart = [(a, b) for a, b in zip(*numbers, strict=True) if a != b]
    print(place, "figures that differ:", apart, file=sys.stderr)
    assert all(abs(a - b) <= 1e-4 * max(abs(a), 1) for a, b in apart), apart  # sums of measures, in any order
"""


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("precision", APART)
def test_with_deterministic_kernels_recorded_and_lean_steps_and_jobs_side_by_side_change_no_bit(precision: str) -> None:
    """In a process of its own: cuBLAS reads its setting as it starts."""
    env = {**os.environ, "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    command = [sys.executable, "-c", BITWISE, precision]
    ended = subprocess.run(command, env=env, cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False)
    sys.stderr.write(ended.stderr[-2000:])
    assert ended.returncode == 0
