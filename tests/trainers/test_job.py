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

from trainers import features
from trainers.config import Stage1Config, Stage2Config, TaskConfig, TrialConfig
from trainers.errors import ConfigError, DivergedError
from trainers.files.cache import Cache
from trainers.files.model_file import describe_model, load_model, save_model
from trainers.job import Job, Progress, Trained, load_task_once, run_job
from trainers.results import HeadFailure, HeadResult
from trainers.stage1.backbone import Training

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


MEDIUM = replace(JOB, task=TaskConfig(many=1000, few=0))  # every class is of the medium group
GROUPS = {"val.many", "val.medium", "val.few"}


def test_epochs_are_grouped_by_the_thresholds_of_the_task() -> None:
    last = finished(MEDIUM)[0].result.backbone.epochs[-1].metrics
    assert (last["val.many"], last["val.few"]) == (None, None)
    assert last["val.medium"] == last["val.balanced_accuracy"]


def test_epochs_that_a_study_of_other_thresholds_grouped_are_left_without_groups(
    tmp_path: Path, whole: Trained
) -> None:
    cache = Cache(tmp_path)
    events = run_job(JOB, cache=cache, device=CPU)
    next(events), next(events)
    events.close()
    after_checkpoint, cached = (finished(job, cache)[0].result.backbone for job in (MEDIUM, JOB))
    assert [row.metrics.keys() >= GROUPS for row in after_checkpoint.epochs] == [False, False, True]
    assert [row.metrics.keys() >= GROUPS for row in cached.epochs] == [False, False, False]
    for row, before in zip(cached.epochs, whole.result.backbone.epochs, strict=True):
        assert row.metrics["val.balanced_accuracy"] == before.metrics["val.balanced_accuracy"]


def test_a_cache_that_names_no_thresholds_was_grouped_by_100_and_20(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    fingerprint = finished(MEDIUM, cache)[0].result.backbone.fingerprint
    found = cache.load(fingerprint, "backbone")
    assert found is not None
    del found[1]["thresholds"]
    cache.publish(fingerprint, "backbone", *found)
    assert all(not GROUPS & row.metrics.keys() for row in finished(MEDIUM, cache)[0].result.backbone.epochs)
    assert all(row.metrics.keys() >= GROUPS for row in finished(JOB, cache)[0].result.backbone.epochs)


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
    training = Training(config=TaskConfig(), stage1=STAGE1, task=load_task_once(TaskConfig()), device=CPU)
    known = training.fingerprint
    assert known == replace(training, config=TaskConfig(many=50)).fingerprint
    assert known != replace(training, stage1=replace(STAGE1, lr=0.06)).fingerprint
    assert known != replace(training, task=load_task_once(TaskConfig(imbalance_factor=20))).fingerprint


def test_a_lost_head_leaves_its_neighbours_untouched() -> None:
    """Bit for bit, beside a healthy head of the same form: a batch of another size may use another kernel."""
    healthy = Stage2Config(epochs=3, lr=0.1, weight_decay=0.5, maxnorm_radius=None)
    lost = replace(healthy, lr=1e30)
    beside = [finished(replace(JOB, heads=(HEADS[0], other)))[0].result for other in (healthy, lost)]
    assert isinstance(beside[1].heads[1], HeadFailure)
    assert "stage 2" in beside[1].heads[1].reason
    wanted, kept = (result.heads[0] for result in beside)
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
    card = describe_model(whole.task, model="cnn-small", temperature=0.5, config={"stage1.precision": "fp32"})
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


def test_a_reading_extracts_test_images_and_nothing_else(
    tmp_path: Path, whole: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, passes = Cache(tmp_path), list[int]()
    extract = features.Extractor.extract

    def counted(self: Any, split: Any, *args: Any, **named: Any) -> Any:
        passes.append(len(split))
        return extract(self, split, *args, **named)

    monkeypatch.setattr(features.Extractor, "extract", counted)
    finished(JOB, cache)
    assert passes == [len(whole.task.train)] * 3 + [len(whole.task.val)]
    passes.clear()
    read = finished(replace(JOB, read_test=True), cache)[0]
    assert passes == [len(whole.task.test)]
    assert read.result.backbone.posthoc == whole.result.backbone.posthoc  # the grid is never measured on test
    passes.clear()
    finished(replace(JOB, heads=(Stage2Config(epochs=2), Stage2Config(features="search"))), cache)
    assert passes == []  # its views are the first ones of those that are there


def test_fewer_views_are_the_first_of_more(tmp_path: Path) -> None:
    job = replace(JOB, heads=(Stage2Config(epochs=2), Stage2Config(method="ncm", features="search")))
    alone = finished(job)[0]
    cache = Cache(tmp_path)
    finished(JOB, cache)  # leaves three views
    assert plain(finished(job, cache)[0])["heads"] == plain(alone)["heads"]


def test_stage1_that_ends_outside_the_numbers_says_so() -> None:
    job = replace(JOB, stage1=replace(STAGE1, epochs=1, lr=1e30, batch_size=512))  # one step: its loss is finite
    with pytest.raises(DivergedError, match=r"no longer finite after epoch 1; lower stage1\.lr"):
        finished(job)


def test_a_last_batch_of_one_image_harms_no_network() -> None:
    images = len(load_task_once(TaskConfig()).train)
    assert images % 55 == 1
    job = Job(
        task=TaskConfig(model="resnet18"),  # ends in maps of single pixels: BatchNorm refuses one image there
        stage1=replace(STAGE1, epochs=1, batch_size=55),
        heads=(Stage2Config(epochs=1, features="replay", batch_size=55),),
    )
    assert isinstance(finished(job)[0].result.heads[0], HeadResult)
