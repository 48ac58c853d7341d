"""Settings that are a mapping or a list: one value from the file and --set to the trainer, the export and back."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from search_spaces import Space, SpaceError, loads
from studies.export.read import load_config
from studies.export.write import dump_config, export_config
from studies.report.redaction import redacted_study
from tests.support.synthetic import Generator
from trainers.config import TrialConfig, as_plain
from trainers.errors import ConfigError
from tuner.retrain.request import RetrainRequest, configuration

TEXT = """\
version: 1
name: x
task: {dataset: csv, columns: {label: dx, image: image_id}, image_root: [part_1, "/home/me/part 2"], suffix: .jpg}
"""
PLAIN = "version: 1\nname: x\ntask: {dataset: csv}\n"


def task_of(space: Space) -> object:
    return TrialConfig.from_flat(space.fixed).task


def test_a_mapping_and_a_list_reach_the_trainer_frozen() -> None:
    space = loads(TEXT)
    config = TrialConfig.from_flat(space.fixed)
    assert config.task.columns == (("image", "image_id"), ("label", "dx"))
    assert config.task.image_root == ("part_1", "/home/me/part 2")
    assert hash(config.task)
    assert TrialConfig.from_flat(config.to_flat()) == config
    assert all(isinstance(value, str | int | float | bool | None) for value in config.to_flat().values())
    assert loads(space.to_yaml()) == space


def test_set_changes_one_entry() -> None:
    alone = ["task.columns.image=image id: 1", "task.columns.label=7", "task.image_root=[a, b]", "task.suffix=.png"]
    task = task_of(loads(PLAIN, overrides=alone))
    assert (task.columns, task.image_root, task.suffix) == (
        (("image", "image id: 1"), ("label", "7")),
        ("a", "b"),
        ".png",
    )
    assert task_of(loads(TEXT, overrides=["task.columns.label=kind"])).columns[1] == ("label", "kind")
    assert task_of(loads(PLAIN, overrides=["task.image_root=/a: b #1"])).image_root == ("/a: b #1",)
    assert task_of(loads(TEXT, overrides=["task.columns=null"])).columns is None


@pytest.mark.parametrize(
    ("override", "match"),
    [
        ("task.columns.imag=x", "its keys are image, label, split, but got 'imag'; did you mean 'image'?"),
        ("task.columns=x", "must be a mapping such as {image: image_id, label: dx}, but got 'x'"),
        ("task.columns={image: 1}", "must be a mapping"),
        ("task.image_root=[1]", "must be a text or a list of texts"),
        ("task.image_root=[[a]]", "must be a text or a list of texts"),
    ],
)
def test_what_is_none_is_refused(override: str, match: str) -> None:
    with pytest.raises(SpaceError) as raised:
        loads(PLAIN, overrides=[override])
    assert match in str(raised.value)


def test_existing_spaces_keep_their_hash_and_paths_do_not_count() -> None:
    assert "columns" not in loads(PLAIN).to_yaml()
    moved = loads(TEXT, overrides=["task.image_root=elsewhere"])
    assert moved.sha256 == loads(TEXT).sha256
    assert loads(TEXT, overrides=["task.columns.label=kind"]).sha256 != loads(TEXT).sha256


def test_an_export_holds_them_as_a_person_writes_them_and_a_retraining_changes_one(tmp_path: Path) -> None:
    data = Generator().study(trials=2, failed=0, backbones=1, readings=False, epochs=False)
    told = {name: value for name, value in loads(TEXT).fixed.items() if name != "task.dataset"}
    data = dataclasses.replace(data, trials=(dataclasses.replace(data.best, config={**data.best.config, **told}),))
    path = tmp_path / "best.yaml"
    path.write_text(dump_config(export_config(data)), encoding="utf-8")
    assert "  columns: {image: image_id, label: dx}\n" in path.read_text()
    found = load_config(path)
    assert TrialConfig.from_flat(found.config).task.columns == (("image", "image_id"), ("label", "dx"))
    again = configuration(found, RetrainRequest(overrides=("task.columns.label=kind",)))
    assert as_plain("task.columns", again["task.columns"]) == {"image": "image_id", "label": "kind"}
    with pytest.raises(ConfigError, match="its keys are"):
        configuration(found, RetrainRequest(overrides=("task.columns.lable=kind",)))
    (clean,) = redacted_study(data).trials
    assert as_plain("task.image_root", clean.config["task.image_root"]) == ["part_1", "…/part 2"]
