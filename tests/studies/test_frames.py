"""Frames are tidy: one row a thing, one dotted column a quantity; and their door does not import what it need not."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from studies import Study, open_study
from studies.errors import StudyNotFoundError
from studies.store import Store


@pytest.fixture
def study(file_url: str, new_store: Any, record: Callable[..., Any], answer: Callable[..., Any]) -> Study:
    store: Store = new_store(file_url)
    first = record(store)
    store.finish_job(first.id, answer(first))
    second = record(store, index=1)
    result = answer(second, fingerprint="9" * 64, broken={1: "diverged"}, test=True)
    store.finish_job(second.id, result)
    store.record_reading("best", second.configs[0], result.heads[0], number=2, backbone=result.backbone)
    store.record_reading("tau_norm", second.configs[1], result.heads[0], backbone=result.backbone)
    return Study(store)


def test_trials_are_one_row_each_with_dotted_columns(study: Study) -> None:
    frame = study.trials()
    assert list(frame["number"]) == [0, 1, 2, 3]
    assert list(frame["state"]) == ["COMPLETE", "COMPLETE", "COMPLETE", "FAIL"]
    assert list(frame["stage2.loss"]) == ["ce", "cb_ce", "ce", "cb_ce"]
    assert list(frame["stage1.lr"]) == [0.01] * 4
    assert frame["val.few"].isna().all()
    assert math.isnan(frame["value"][3])
    assert frame["reason"][3] == "diverged"
    assert frame["backbone"].nunique() == 2
    assert str(frame["started"].dt.tz) == "UTC"
    assert frame["val.balanced_accuracy"].equals(frame["value"].rename("val.balanced_accuracy"))


def test_classes_are_one_row_a_trial_split_and_class(study: Study) -> None:
    frame = study.classes()
    assert len(frame) == 3 + 3 + 6
    assert not frame.duplicated(["number", "split", "class_index"]).any()
    first = frame[(frame["number"] == 0) & (frame["split"] == "val")]
    assert list(first["class_name"]) == ["cat", "dog", "eel"]
    assert list(first["recall"])[:2] == [0.9, 0.5]
    assert math.isnan(list(first["recall"])[2])  # no image, so no recall: not 0 %
    assert list(first["train_count"]) == [100, 20, 2]


def test_epochs_belong_to_a_backbone_or_to_a_trial(study: Study) -> None:
    frame = study.epochs()
    assert len(frame) == 2 * 3 + 3 * 2
    assert (frame["backbone"].isna() != frame["number"].isna()).all()
    assert list(frame.loc[frame["stage"] == 2, "number"].unique()) == [0, 1, 2]
    assert str(frame["number"].dtype) == "Int64"


def test_backbones_posthoc_and_readings(study: Study) -> None:
    assert list(study.backbones()["stage1.fdr"]) == [1.5, 1.5]
    posthoc = study.posthoc()
    assert list(posthoc["stage2.method"]) == ["none", "tau_norm"] * 2
    assert set(posthoc["backbone"]) == set(study.backbones()["fingerprint"])
    readings = study.readings()
    assert list(readings["role"]) == ["best", "tau_norm"]
    assert readings["number"][0] == 2
    assert readings["number"].isna()[1]


def test_an_empty_study_gives_empty_frames_with_their_columns(file_url: str, new_store: Any) -> None:
    study = Study(new_store(file_url))
    frames = [study.trials(), study.classes(), study.epochs(), study.backbones(), study.posthoc(), study.readings()]
    assert [len(frame) for frame in frames] == [0] * 6
    assert {"number", "state", "value", "role"} <= set(frames[0].columns)


def test_a_study_opens_by_name_from_a_home_or_a_storage(study: Study, file_url: str, tmp_path: Any) -> None:
    with open_study("tail", home=tmp_path) as by_home, open_study("tail", storage=file_url) as by_storage:
        assert by_home.info() == by_storage.info()
        assert len(by_home.trials()) == 4
    with pytest.raises(StudyNotFoundError, match="tail"):
        open_study("head", home=tmp_path)


def _imported(statement: str) -> set[str]:
    script = f"{statement}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {module.partition(".")[0] for module in set(done.stdout.split()) - VOCABULARY}


VOCABULARY = {"trainers", "trainers.config", "trainers.errors", "trainers.results"}  # standard library only
HEAVY = {"torch", "ray", "plotly", "pandas", "trainers", "tuner"}


def test_the_studies_package_imports_nothing_heavy() -> None:
    assert not _imported("import studies") & (HEAVY | {"optuna", "sqlalchemy"})
    assert not _imported("import studies.store, studies.locks.study_lock, studies.notebook; studies.open_study") & HEAVY


def test_the_test_above_can_fail() -> None:
    assert "pandas" in _imported("import studies.frames") & HEAVY
