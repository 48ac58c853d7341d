"""A job from configuration to plain numbers, and what the cache saves it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from trainers.cache import Cache
from trainers.config import Stage1Config, Stage2Config, TaskConfig, TrialConfig
from trainers.errors import ConfigError
from trainers.job import Job, Progress, Trained, backbone_fingerprint, load_task_once, run_job
from trainers.model_file import describe, load_model, save_model
from trainers.results import HeadFailure, HeadResult

CPU = torch.device("cpu")
STAGE1 = Stage1Config(epochs=3, precision="fp32")
HEADS = (
    Stage2Config(epochs=3, weight_decay=0.01),
    Stage2Config(method="none"),
    Stage2Config(epochs=3, method="crt", loss="ce", lr=0.1),
    Stage2Config(method="tau_norm", tau=0.7),
)
JOB = Job(task=TaskConfig(), stage1=STAGE1, heads=HEADS)


def finished(job: Job, cache: Cache | None = None) -> tuple[Trained, list[Progress]]:
    events: Generator[Progress, None, Trained] = run_job(job, cache=cache, device=CPU)
    seen: list[Progress] = []
    while True:
        try:
            seen.append(next(events))
        except StopIteration as stop:
            return stop.value, seen


@pytest.fixture(scope="module")
def whole() -> Trained:
    return finished(JOB)[0]


def plain(trained: Trained) -> dict[str, Any]:
    """The result as it travels, without what time or place decides."""
    result = json.loads(json.dumps(dataclasses.asdict(trained.result)))
    result["backbone"] |= {"seconds": 0, "cached": None}
    for rows in (result["backbone"]["epochs"], *(head["epochs"] for head in result["heads"])):
        for row in rows:
            row["metrics"].pop("seconds", None)
    for head in result["heads"]:
        head.pop("seconds")
    return result


def test_a_result_is_json_and_in_the_order_asked(whole: Trained) -> None:
    result = plain(whole)
    assert [head["config"]["stage2.method"] for head in result["heads"]] == [
        "weight_balancing",
        "none",
        "crt",
        "tau_norm",
    ]
    assert result["backbone"]["posthoc"][0]["config"]["stage2.method"] == "none"


def test_test_data_is_not_touched_unless_asked(whole: Trained) -> None:
    head = whole.result.heads[0]
    assert isinstance(head, HeadResult)
    assert not any(name.startswith("test.") for name in head.metrics)
    assert set(head.classes) == {"val"}
    read = finished(replace(JOB, read_test=True))[0].result.heads[0]
    assert isinstance(read, HeadResult)
    assert set(read.classes) == {"val", "test"}
    assert sum(read.classes["test"].total) == 400
    assert read.metrics["val.balanced_accuracy"] == head.metrics["val.balanced_accuracy"]


def test_every_measure_follows_from_the_integers(whole: Trained) -> None:
    head = whole.result.heads[0]
    assert isinstance(head, HeadResult)
    counts = head.classes["val"]
    recalls = [c / t for c, t in zip(counts.correct, counts.total, strict=True)]
    assert head.metrics["val.balanced_accuracy"] == pytest.approx(sum(recalls) / len(recalls))


def test_a_second_job_finds_the_backbone_and_gives_the_same_numbers(tmp_path: Path, whole: Trained) -> None:
    cache = Cache(tmp_path)
    first, seen = finished(JOB, cache)
    again, seen_again = finished(JOB, cache)
    assert (first.result.backbone.cached, again.result.backbone.cached) == (False, True)
    assert [event.stage for event in seen] == [1, 1, 1, 2]
    assert [event.stage for event in seen_again] == [2]
    assert plain(first) == plain(again) == plain(whole)


def test_an_interrupted_job_goes_on_bitwise(tmp_path: Path, whole: Trained) -> None:
    cache = Cache(tmp_path)
    events = run_job(JOB, cache=cache, device=CPU)
    next(events), next(events)
    events.close()
    trained, seen = finished(JOB, cache)
    assert [event.epoch for event in seen if event.stage == 1] == [3]
    assert plain(trained) == plain(whole)
    weights, wanted = trained.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(weights[name], wanted[name]) for name in wanted)


def test_a_damaged_cache_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path)
    first, _ = finished(JOB, cache)
    backbone = tmp_path / first.result.backbone.fingerprint / "backbone.safetensors"
    backbone.write_bytes(backbone.read_bytes()[:-100])
    again, _ = finished(JOB, cache)
    assert not again.result.backbone.cached
    assert "damaged" in caplog.text
    assert plain(again) == plain(first)


def test_the_fingerprint_is_of_what_determines_a_backbone() -> None:
    task = load_task_once(TaskConfig())
    known = backbone_fingerprint(JOB, task, CPU)
    assert known == backbone_fingerprint(replace(JOB, heads=(), read_test=True), task, CPU)
    assert known == backbone_fingerprint(replace(JOB, task=TaskConfig(many=50)), task, CPU)
    assert known != backbone_fingerprint(replace(JOB, stage1=replace(STAGE1, lr=0.06)), task, CPU)
    other = TaskConfig(imbalance_factor=20)
    assert known != backbone_fingerprint(replace(JOB, task=other), load_task_once(other), CPU)


def test_a_lost_head_leaves_its_neighbours_untouched(whole: Trained) -> None:
    lost = Stage2Config(epochs=3, lr=1e30, weight_decay=0.5, maxnorm_radius=None)
    result = finished(replace(JOB, heads=(HEADS[0], lost)))[0].result
    assert isinstance(result.heads[1], HeadFailure)
    assert "stage 2" in result.heads[1].reason
    kept, wanted = result.heads[0], whole.result.heads[0]
    assert isinstance(kept, HeadResult)
    assert isinstance(wanted, HeadResult)
    assert kept.norms == wanted.norms


def test_heads_of_a_job_share_its_backbone() -> None:
    one, other = TrialConfig(), TrialConfig(stage1=Stage1Config(lr=0.3))
    with pytest.raises(ConfigError, match="all of them on one backbone"):
        Job.from_flat([one.to_flat(), other.to_flat()])


def test_a_saved_model_gives_the_same_logits(tmp_path: Path, whole: Trained) -> None:
    head = whole.heads[0]
    assert head is not None
    card = describe(whole.task, model="cnn-small", temperature=0.5, config={"stage1.precision": "fp32"})
    save_model(tmp_path / "model.safetensors", whole.model, head, card)
    loaded = load_model(tmp_path / "model.safetensors")
    images, _ = next(whole.task.test.batches(None, batch_size=16, device=CPU, generator=None))
    whole.model.eval()
    with torch.no_grad():
        wanted = torch.softmax(head.logits(whole.model.features(images)) / 0.5, dim=1)
    assert torch.allclose(loaded.probabilities(images), wanted, atol=1e-6)
    assert loaded.card.class_names == whole.task.class_names


def test_averaging_over_mirror_images_changes_what_test_reads_and_nothing_else(whole: Trained) -> None:
    job = replace(JOB, heads=HEADS[1:2], read_test=True)
    plain_metrics = finished(job)[0].result.heads[0].metrics
    averaged, _ = finished(replace(job, task=replace(JOB.task, flip_average=True)))
    metrics = averaged.result.heads[0].metrics
    assert averaged.result.backbone.fingerprint == whole.result.backbone.fingerprint
    assert {key: value for key, value in metrics.items() if "test." not in key} == {
        key: value for key, value in plain_metrics.items() if "test." not in key
    }
    assert metrics["test.ece"] != plain_metrics["test.ece"]
