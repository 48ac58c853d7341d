"""What crosses the border to a worker comes back to the bit, and no text of it decides anything."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Space, loads
from studies.records import Failure, FailureKind
from studies.store import Store
from tests.support.pretend import job_result
from trainers.config import Stage2Config, TrialConfig
from trainers.results import EpochResult, HeadFailure, HeadResult, JobResult, Progress
from tuner.execution.messages import JobRequest, Report, TrainRequest, WorkerSettings
from tuner.search.planner import Planner

NUMBERS = st.floats() | st.none()
SCALARS = st.text() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False) | st.booleans() | st.none()
METRICS = st.dictionaries(st.text(), NUMBERS, max_size=4)


def through(content: Progress | JobResult | Failure) -> Progress | JobResult | Failure:
    report = Report.from_tune(Report(contents={3: content}, over=True).to_tune())
    assert report is not None
    assert report.over
    return report.contents[3]


@given(METRICS, st.lists(st.floats(), max_size=4), st.dictionaries(st.text(), SCALARS, max_size=4))
def test_a_result_comes_back_to_the_bit(
    metrics: dict[str, float | None], norms: list[float], config: dict[str, str | int | float | bool | None]
) -> None:
    result = job_result([TrialConfig(stage2=Stage2Config(method="none")).to_flat()] * 3, read_test=True)
    first = result.heads[0]
    assert isinstance(first, HeadResult)
    epochs = (EpochResult(epoch=1, metrics=metrics, norms=tuple(norms)),)
    head = dataclasses.replace(first, metrics=metrics, norms=tuple(norms), config=config, epochs=epochs)
    lost = HeadFailure(config=config, reason="its norms", diverged=False)
    sent = JobResult(backbone=dataclasses.replace(result.backbone, config=config), heads=(head, lost, first))
    assert repr(through(sent)) == repr(sent)  # which tells NaN, -0.0, 1 and True apart


def test_the_parts_of_a_result_keep_their_types() -> None:
    result = job_result([TrialConfig(stage2=Stage2Config(method="none")).to_flat()])
    assert through(result) == result
    progress = Progress(stage=1, epoch=3, epochs=40, metrics={"loss": math.inf}, images_per_second=None)
    assert through(progress) == progress
    assert through(Failure(FailureKind.FILE, "no such file")) == Failure(FailureKind.FILE, "no such file")
    assert Report.from_tune({"done": True}) is None
    assert Report.from_tune(None) is None


def test_a_request_comes_back_as_it_was() -> None:
    configs = (TrialConfig().to_flat(), TrialConfig(stage2=Stage2Config(lr=0.1)).to_flat())
    settings = WorkerSettings(threads=2, cache="runs/cache", cache_bytes=10**12, checkpoint_seconds=0.0, gpu=True)
    jobs = (JobRequest(configs=configs, read_test=True), JobRequest(configs=configs[:1]))
    request = TrainRequest(jobs=jobs, settings=settings, code="ab")
    assert repr(TrainRequest.from_tune(request.to_tune())) == repr(request)


SPACE = """
version: 1
name: words
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1:
  epochs: 1
  lr: {low: 1e-2, high: 1e-1, log: true}
stage2:
  epochs: 1
  weight_decay: {low: 1e-4, high: 1.0, log: true}
budget: {backbones: 4, heads_per_backbone: 4, rounds: 2, max_failed: 9, max_retries: 1}
sampler: {stage1: random, stage2: tpe, seed: 3}
baselines: [naive]
"""


def test_no_wording_of_a_failure_decides_anything(tmp_path: Path) -> None:
    """Each kind fails jobs of two studies, in its own words and in words that say another kind; both go on alike."""
    own, other = (_course(loads(SPACE), tmp_path / name, reworded=reworded) for name, reworded in
                  (("own", False), ("other", True)))  # fmt: skip
    assert own == other
    assert len(own) > 2 * len(FailureKind)


def _course(space: Space, folder: Path, *, reworded: bool) -> list[object]:
    """What a study hands out and keeps while its jobs fail, one kind after another; resumed after each."""
    kinds, seen = [*FailureKind], list[object]()
    folder.mkdir()
    while True:
        with _store(space, folder) as store:
            planner = Planner(space, store)
            task = planner.next_task()
            if task is None:
                return [*seen, *((row.number, row.state, row.failure) for row in store.trials())]
            seen += [(task.kind, task.configs), dataclasses.astuple(planner.tally)]
            if kinds and task.job is not None:
                kind = kinds.pop()
                text = "not run: the worker process died: out of memory" if reworded else f"it is {kind.value}"
                seen.append(planner.fail(task, Failure(kind, text)))
            else:
                planner.complete(task, job_result(task.configs, read_test=task.kind == "reading"))


def _store(space: Space, folder: Path) -> Store:
    return Store.create_or_open(
        f"sqlite:///{folder / 'studies.db'}", name=space.name, space_yaml=space.to_yaml(), space_sha256=space.sha256,
        objective=space.objective,
    )  # fmt: skip
