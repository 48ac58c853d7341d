"""Stage 1 goes on bitwise from its last checkpoint after SIGKILL, and starts afresh where that cannot be used."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from trainers.config import Stage1Config, Stage2Config, TaskConfig
from trainers.files.cache import Cache
from trainers.job import Job, Progress, Trained, run_job
from trainers.stage1 import backbone as backbone_module

JOB = Job(
    task=TaskConfig(),
    stage1=Stage1Config(epochs=4, precision="fp32", loss="ldam", drw=0.5),
    heads=(Stage2Config(epochs=2), Stage2Config(method="crt", epochs=2)),
)
KILLED_AFTER_THREE_EPOCHS = """if True:
    import os, signal, sys
    from pathlib import Path
    import torch
    from trainers.files.cache import Cache
    from trainers.config import Stage1Config, Stage2Config, TaskConfig
    from trainers.job import Job, run_job
    torch.set_num_threads(1)
    stage1 = Stage1Config(epochs=4, precision="fp32", loss="ldam", drw=0.5)
    job = Job(task=TaskConfig(), stage1=stage1, heads=(Stage2Config(epochs=2), Stage2Config(method="crt", epochs=2)))
    for event in run_job(job, cache=Cache(Path(sys.argv[1])), device=torch.device("cpu"), checkpoint_every=0.0):
        if event.epoch == 3:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Any:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def finished(cache: Cache | None) -> tuple[Trained, list[int]]:
    """The job's end, and the epochs of stage 1 that it trained."""
    events, epochs = run_job(JOB, cache=cache, device=torch.device("cpu")), list[int]()
    while True:
        try:
            event: Progress = next(events)
        except StopIteration as stop:
            return stop.value, epochs
        if event.stage == 1:
            epochs.append(event.epoch)


@pytest.fixture(scope="module")
def whole() -> Trained:
    return finished(None)[0]


def same(trained: Trained, whole: Trained) -> bool:
    """Bitwise the same network, heads, and measures."""
    weights, wanted = trained.model.state_dict(), whole.model.state_dict()
    pairs = [(weights[name], wanted[name]) for name in wanted]
    for head, other in zip(trained.heads, whole.heads, strict=True):
        assert head is not None
        assert other is not None
        pairs += [(head.weight, other.weight), (head.bias, other.bias)]
    measured = [[head.metrics for head in run.result.heads] for run in (trained, whole)]  # type: ignore[union-attr]
    history = [[{**e.metrics, "seconds": 0} for e in run.result.backbone.epochs] for run in (trained, whole)]
    return all(torch.equal(*pair) for pair in pairs) and measured[0] == measured[1] and history[0] == history[1]


def test_a_killed_trainer_goes_on_bitwise_from_its_last_checkpoint(tmp_path: Path, whole: Trained) -> None:
    ran = subprocess.run([sys.executable, "-c", KILLED_AFTER_THREE_EPOCHS, str(tmp_path)], check=False)
    assert ran.returncode == -signal.SIGKILL
    trained, epochs = finished(Cache(tmp_path))
    assert epochs == [3, 4]  # the last checkpoint was that of epoch 2
    assert same(trained, whole)


def interrupted(cache: Cache) -> str:
    """Leaves a checkpoint after two epochs; returns the fingerprint."""
    events = run_job(JOB, cache=cache, device=torch.device("cpu"))
    next(events), next(events)
    events.close()
    (entry,) = cache.entries()
    return entry.fingerprint


def as_of_another_version(tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
    manifest["version"] = 999


def of_another_network(tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
    for name in [name for name in tensors if name.startswith("model.")]:
        tensors[name] = tensors[name].flatten()[:1].clone()


def without_history(tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
    del manifest["history"]


def without_random_state(tensors: dict[str, Tensor], manifest: dict[str, Any]) -> None:
    tensors["generator"] = tensors["generator"][:8].clone()


@pytest.mark.parametrize(
    "spoil",
    [as_of_another_version, of_another_network, without_history, without_random_state],
    ids=lambda f: f.__name__,
)
def test_a_checkpoint_that_does_not_fit_is_dropped_with_a_warning(
    spoil: Callable[..., None], tmp_path: Path, whole: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)
    fingerprint = interrupted(cache)
    found = cache.load(fingerprint, "checkpoint")
    assert found is not None
    spoil(*found)
    cache.publish(fingerprint, "checkpoint", *found)
    trained, epochs = finished(cache)
    assert "will be made again" in caplog.text
    assert epochs == [1, 2, 3, 4]
    assert same(trained, whole)


@pytest.mark.parametrize("name", ["backbone", "features-seed0", "scores-seed0-views2-many100-few20"])
def test_results_of_another_release_are_made_again_with_a_warning(
    name: str, tmp_path: Path, whole: Trained, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path)
    fingerprint = finished(cache)[0].result.backbone.fingerprint
    found = cache.load(fingerprint, name)
    assert found is not None, [path.name for path in tmp_path.glob("*/*")]
    cache.publish(fingerprint, name, {"other": torch.zeros(1)}, {"version": 1})
    trained, _ = finished(cache)
    assert "will be made again" in caplog.text
    assert same(trained, whole)


def test_what_does_not_fit_is_no_out_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path)
    fingerprint = interrupted(cache)

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(backbone_module, "restore", full)
    with pytest.raises(torch.OutOfMemoryError):
        finished(cache)
    assert cache.load(fingerprint, "checkpoint") is not None


def test_a_worker_waits_for_another_one_at_the_same_backbone_and_can_be_stopped_meanwhile(
    tmp_path: Path, whole: Trained
) -> None:
    cache = Cache(tmp_path)
    fingerprint = interrupted(cache)
    with cache.lease(fingerprint) as mine:
        assert mine
        waiting = run_job(JOB, cache=cache, device=torch.device("cpu"))
        assert [next(waiting).epoch for _ in range(3)] == [0, 0, 0]
        waiting.close()
        second = run_job(JOB, cache=cache, device=torch.device("cpu"))
        next(second)
    trained, epochs = finished(cache)  # the first one has ended, and left its checkpoint
    assert epochs == [3, 4]
    assert next(second).stage == 2  # found, not trained
    second.close()
    assert same(trained, whole)
