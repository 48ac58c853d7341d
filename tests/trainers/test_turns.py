"""Several jobs in one process: each gets the result of running alone, and ends alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers import turns
from trainers.config import Stage1Config, Stage2Config, StepWay, TaskConfig
from trainers.errors import DivergedError
from trainers.files.cache import Cache
from trainers.job import Job, Trained, job_in_turns, run_job
from trainers.results import Progress
from trainers.turns import Clock, Events, JobEnd, SharedClock, Together, Turn

CPU = torch.device("cpu")


def job(seed: int, *, lr: float = 0.05, epochs: int = 3, model: str = "cnn-small") -> Job:
    return Job(
        task=TaskConfig(model=model, max_count=40, imbalance_factor=10),
        stage1=Stage1Config(seed=seed, epochs=epochs, lr=lr, precision="fp32"),
        heads=(Stage2Config(epochs=2), Stage2Config(epochs=2, lr=0.1)),
    )


def alone(wanted: Job, *, device: torch.device = CPU) -> Trained:
    events = run_job(wanted, cache=None, device=device)
    while True:
        try:
            next(events)
        except StopIteration as stop:
            result: Trained = stop.value
            return result


def together(
    *jobs: Job, at_once: int = 8, cache: Cache | None = None, way: StepWay = "recorded", device: torch.device = CPU
) -> Together:
    def starts(wanted: Job) -> Any:
        return lambda clock: job_in_turns(wanted, cache=cache, device=device, way=way, clock=clock, checkpoint_every=0)

    return Together([starts(wanted) for wanted in jobs], device, at_once)


def ends(running: Together) -> dict[int, JobEnd]:
    found = {}
    while not running.over:
        found |= {index: event for index, event in running.round() if isinstance(event, JobEnd)}
    return found


def assert_same(one: object, other: Trained) -> None:
    assert isinstance(one, Trained)
    ours, theirs = one.model.state_dict(), other.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert figures(one) == figures(other)


def figures(trained: Trained) -> list[Any]:
    """All numbers of a result but seconds."""
    backbone = trained.result.backbone
    return [
        backbone.fingerprint,
        backbone.metrics,
        [{**row.metrics, "seconds": 0} for row in backbone.epochs],
        [(head.metrics, head.classes) for head in trained.result.heads],  # type: ignore[union-attr]
    ]


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_jobs_that_take_turns_give_the_results_of_each_alone_bitwise(at_once: int) -> None:
    jobs = [job(seed) for seed in range(3)]
    found = ends(together(*jobs, at_once=at_once))
    for index, wanted in enumerate(jobs):
        assert_same(found[index].result, alone(wanted))


def test_a_network_that_draws_numbers_draws_its_own() -> None:
    """Its dropout draws from torch's global state."""
    jobs = [job(seed, epochs=1, model="mobilenet_v3_small") for seed in range(2)]
    found = ends(together(*jobs))
    for index, wanted in enumerate(jobs):
        assert_same(found[index].result, alone(wanted))


def test_jobs_of_different_length_and_batch_take_turns() -> None:
    long = Job(task=job(0).task, stage1=Stage1Config(epochs=3, batch_size=50, precision="fp32"), heads=job(0).heads)
    found = ends(together(job(1, epochs=1), long, way="lean"))
    assert_same(found[0].result, alone(job(1, epochs=1)))
    assert_same(found[1].result, alone(long))


def test_a_job_that_diverges_fails_alone() -> None:
    found = ends(together(job(0), job(1, lr=1e30), job(2)))
    assert isinstance(found[1].error, DivergedError)
    assert_same(found[0].result, alone(job(0)))
    assert_same(found[2].result, alone(job(2)))


def test_jobs_stop_at_the_end_of_their_epochs_and_go_on_bitwise(tmp_path: Path) -> None:
    cache, jobs = Cache(tmp_path), [job(seed) for seed in range(2)]
    running = together(*jobs, job(2), at_once=2, cache=cache)
    epochs: list[int] = []
    while not epochs and not running.over:
        epochs += [event.epoch for _, event in running.round() if isinstance(event, Progress) and event.epoch]
    for _ in range(3):  # into the second epoch
        list(running.round())
    epochs += [event.epoch for _, event in running.finish_epochs() if isinstance(event, Progress)]
    running.close()
    assert running.over
    assert epochs == [1, 1, 2, 2]
    found = ends(together(*jobs, cache=cache))
    for index, wanted in enumerate(jobs):
        trained = found[index].result
        assert isinstance(trained, Trained)
        assert_same(trained, alone(wanted))


def test_two_jobs_on_one_backbone_train_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "WAIT_SECONDS", 0.01)
    found = ends(together(job(0), job(0), cache=Cache(tmp_path)))
    cached = [end.result.result.backbone.cached for _, end in sorted(found.items())]  # type: ignore[attr-defined]
    assert cached == [False, True]


def test_the_seconds_of_jobs_that_take_turns_add_up() -> None:
    now = 0.0
    clock = SharedClock(lambda: now)
    clock.divide(2)
    began = clock()
    now = 10.0
    clock.divide(4)
    now = 18.0
    assert clock() - began == 10 / 2 + 8 / 4


def test_a_speed_is_that_on_the_wall_though_the_seconds_are_a_share() -> None:
    """Else each of three jobs side by side would seem as fast as alone."""
    shares_nothing = job_in_turns(job(0, epochs=2), cache=None, device=CPU, clock=lambda: 0.0)
    first = next(event for event in shares_nothing if isinstance(event, Progress))
    assert first.metrics["seconds"] == 0.0
    assert first.images_per_second is not None
    assert 0 < first.images_per_second < 1e9


def scripted(*events: Progress | Turn | Exception) -> Any:
    def start(clock: Clock) -> Events[str]:
        for event in events:
            if isinstance(event, Exception):
                raise event
            yield event
        return "done"

    return start


EPOCH = Progress(stage=1, epoch=1, epochs=2, metrics={})


def seated(running: Together) -> Iterator[set[int]]:
    while not running.over:
        yield {index for index, _ in running.round()}


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A GPU that says what its memory holds, in bytes."""
    memory = {"free": 100, "reserved": 0, "peak": 0}
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: memory["reserved"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: memory["reserved"])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: memory["peak"])
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (memory["free"], 100))
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: type("S", (), {"wait_stream": lambda *_: None})())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: None)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: turns.contextlib.nullcontext())
    return memory


def test_on_a_gpu_a_job_begins_when_the_first_has_shown_its_need_and_there_is_room(card: dict[str, int]) -> None:
    both = scripted(Turn.STEP, EPOCH, Turn.STEP, EPOCH)
    running = Together([both, both], torch.device("cuda"), at_once=2)
    rounds = []
    for free in (60, 40, 40, 60, 60, 60, 60, 60, 60):
        rounds.append({index for index, _ in running.round()})
        card |= {"free": free, "peak": 40, "reserved": 40}
    # the first needs 40, so the second begins when 50 are free: in round 5, when the first is over
    assert rounds == [set(), {0}, set(), {0}, {0}, {1}, set(), {1}, {1}]
    assert running.over


def test_a_job_out_of_memory_fails_alone_and_leaves_a_seat_empty(
    card: dict[str, int], caplog: pytest.LogCaptureFixture
) -> None:
    good = scripted(EPOCH, EPOCH, EPOCH)
    bad = scripted(EPOCH, torch.OutOfMemoryError("CUDA out of memory"))
    running = Together([good, bad, good], torch.device("cuda"), at_once=2)
    found = ends(running)
    assert [type(found[index].error).__name__ for index in range(3)] == ["NoneType", "OutOfMemoryError", "NoneType"]
    assert running.at_once == 1
    assert "from now on 1 train at a time" in caplog.text
