"""What a careful reader is told, and what failed."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest

from studies.findings.cautions import cautions, remarks
from studies.findings.failures import failures, lost_backbones
from studies.findings.headline import headline
from studies.report.write import write_report
from studies.wording import per_cent
from tests.support.synthetic import Generator


@pytest.fixture(scope="module")
def data():
    return Generator().study()


def test_cautions_say_what_matters(data):
    names = "\n".join(cautions(data))
    at_edge = dataclasses.replace(
        data.best, params={**data.best.params, "stage2.weight_decay": 0.19}, notes=("x inactive",)
    )
    changed = dataclasses.replace(data, trials=tuple(at_edge if r.number == at_edge.number else r for r in data.trials))
    assert "stage2.weight_decay of the best trial" not in names
    told = "\n".join(cautions(changed))
    assert "weight_decay of the best trial is 0.19, at the high end of its range (0.0001 to 0.2, logarithmic):" in told
    assert f"Trial {data.best.number}: x inactive" not in told
    assert f"Trial {data.best.number}: x inactive" in remarks(changed)
    leaky = dataclasses.replace(data.best, config={**data.best.config, "task.protocol": "paper_leak"})
    assert any("selected on test" in c for c in cautions(dataclasses.replace(data, trials=(leaky,))))
    assert any("not been read" in c for c in cautions(dataclasses.replace(data, readings=())))
    other = dataclasses.replace(data.reading("best"), number=1)
    assert any("Another trial became the best" in c for c in cautions(dataclasses.replace(data, readings=(other,))))


def test_a_gain_that_may_be_none_is_told(data):
    best = data.reading("best")
    same = dataclasses.replace(data.reading("naive"), classes=best.classes, metrics=best.metrics)
    assert any("includes zero" in c for c in cautions(dataclasses.replace(data, readings=(best, same))))


def test_a_baseline_that_guesses_and_a_small_test_set_are_told(data):
    naive = data.reading("naive")
    guesses = dataclasses.replace(naive, metrics={**naive.metrics, "test.balanced_accuracy": 0.01})
    assert not any("guessing" in c or "points wide" in c for c in cautions(data))
    readings = tuple(guesses if row.role == "naive" else row for row in data.readings)
    told = cautions(dataclasses.replace(data, readings=readings))
    assert any(c.startswith("Baseline naive reads 1.0 % on test, and guessing") for c in told)
    best = data.reading("best")
    few = tuple(dataclasses.replace(row, correct=min(row.correct, 1), total=2) for row in best.classes)
    small = dataclasses.replace(best, classes=few)
    readings = tuple(small if row.role == "best" else row for row in data.readings)
    assert any("points wide" in c for c in cautions(dataclasses.replace(data, readings=readings)))


def replaced(data, role, **changed):
    reading = data.reading(role)
    metrics = {**reading.metrics, **changed}
    readings = [dataclasses.replace(row, metrics=metrics) if row.role == role else row for row in data.readings]
    return dataclasses.replace(data, readings=tuple(readings))


def test_the_difference_to_the_best_baseline_is_told_when_it_may_be_none(data):
    line = headline(data)
    rival = line.baseline.role
    near = replaced(data, rival, **{"test.balanced_accuracy": line.accuracy.value - 0.002})
    (told,) = [caution for caution in cautions(near) if "includes zero" in caution]
    assert "+0.2 points" in told
    assert "as if the two were measured on different images" in told
    far = replaced(data, rival, **{"test.balanced_accuracy": 0.2})
    assert not any("includes zero" in caution for caution in cautions(far))


def test_a_naive_training_that_looks_broken_is_told(data):
    tuned = data.reading("weight_decay").metrics["test.balanced_accuracy"]
    assert not any("naive training reads" in caution for caution in cautions(data))
    broken = replaced(data, "naive", **{"test.balanced_accuracy": tuned - 0.2})
    (told,) = [caution for caution in cautions(broken) if "naive training reads" in caution]
    assert f"{per_cent(tuned - 0.2)}, −20.0 points from weight decay only" in told
    assert "stage1.lr of 0.01" in told


def test_classes_without_images_are_named(data):
    best, reading = data.best, data.reading("best")
    empty = [
        dataclasses.replace(row, correct=0, total=0) if row.class_index in (8, 9) else row for row in reading.classes
    ]
    validation = [dataclasses.replace(row, split="val") for row in empty]
    readings = tuple(
        dataclasses.replace(reading, classes=tuple(empty)) if r.role == "best" else r for r in data.readings
    )
    lacking = dataclasses.replace(data, classes={best.number: tuple(validation)}, readings=readings)
    told = cautions(lacking)
    assert any(caution.startswith("No validation image of 8 and 9: no trial was chosen for it") for caution in told)
    assert any(caution.startswith("No test image of 8 and 9") for caution in told)
    assert not any("image of" in caution for caution in cautions(data))


def lose(data, backbone, *, reason="stage 1: the loss is nan after epoch 3; lower stage1.lr (0.1)"):
    """The same study with the first job on a backbone failed, so that its second was never asked for."""
    job = min(row.job for row in data.trials if row.backbone_index == backbone and row.role == "search")
    kept = []
    for row in data.trials:
        if row.role != "search" or row.backbone_index != backbone:
            kept.append(row)
        elif row.job == job:
            kept.append(dataclasses.replace(row, state="FAIL", value=None, metrics={}, reason=reason))
    return dataclasses.replace(data, trials=tuple(kept))


def test_trials_that_were_never_asked_for_are_told_with_the_backbone_that_was_lost():
    budget = "budget: {backbones: 8, heads_per_backbone: 8}"
    data = Generator(budget=budget).study(failed=0)
    assert headline(data).never_asked == 0
    lost = lose(data, 3)
    missing = len(data.trials) - len(lost.trials)
    assert missing > 0
    assert lost_backbones(lost) == (3,)
    assert headline(lost).never_asked == missing
    told = f"{missing} of the 65 trials of the budget were never asked for: backbone 3 failed"
    assert any(caution.startswith(told) for caution in cautions(lost))
    running = dataclasses.replace(lost, study=dataclasses.replace(lost.study, state="running"))
    assert headline(running).never_asked == 0  # they may still be


def test_trials_of_one_job_that_failed_alike_are_one_row(tmp_path):
    data = Generator().study(failed=0)
    reasons = {2: "loss is nan; lower stage2.lr (0.09)", 4: "loss is nan; lower stage2.lr (0.012)", 6: "no space"}
    trials = [
        dataclasses.replace(row, state="FAIL", value=None, metrics={}, reason=reasons[row.number], job=2)
        if row.number in reasons
        else row
        for row in data.trials
    ]
    failed = dataclasses.replace(data, trials=tuple(trials))
    found = failures(failed)
    assert [(one.numbers, one.reason, one.whole) for one in found] == [
        ((2, 4), reasons[2], False), ((6,), "no space", False),
    ]  # fmt: skip
    assert lost_backbones(failed) == ()
    page, as_json, *_ = write_report(failed, tmp_path / "report.html")
    tables = json.loads(as_json.read_text())["tables"]
    assert [row[:2] for row in tables["failed_jobs"]["rows"]] == [["2, 4", 2], ["6", 1]]
    assert [row[0] for row in tables["failures"]["rows"]] == [2, 4, 6]
    section = re.search(r'id="failures".*?</section>', page.read_text(encoding="utf-8"), re.DOTALL)[0]
    assert section.count("<tr>") == 3


def test_many_failures_are_told():
    assert any("of 65 trials failed" in c for c in cautions(Generator().study(failed=12)))
    assert not any("trials failed" in c for c in cautions(Generator().study(failed=2)))
