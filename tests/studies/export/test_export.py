"""best.yaml comes back as it went out, and every mistake in one is told with its place."""

from __future__ import annotations

import dataclasses
import math
import socket
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from studies.export.read import BLOCKS
from studies.export.write import ExportError, dump_config, export_config, load_config
from tests.support.synthetic import Generator
from trainers.config import FLAT_NAMES, TrialConfig


@pytest.fixture(scope="module")
def data():
    return Generator().study()


@pytest.fixture
def exported(data, tmp_path):
    path = tmp_path / "best.yaml"
    path.write_text(dump_config(export_config(data)), encoding="utf-8")
    return path


def test_round_trip_is_exact(data, exported):
    found = load_config(exported)
    assert dict(found.config) == dict(data.best.config)
    assert TrialConfig.from_flat(found.config).to_flat() == data.best.config
    assert found.provenance == export_config(data)["provenance"]
    assert found.expect["val.balanced_accuracy"].value == data.best.metrics["val.balanced_accuracy"]
    assert found.expect["test.few"].value == data.reading("best").metrics["test.few"]


def test_the_hardware_says_what_stage_1_computed_in(data, exported):
    hardware = load_config(exported).provenance["hardware"]
    assert hardware == {"device": "cpu", "precision": "bf16", "threads": 1, "parameters": 123_456}
    assert data.best.config["stage1.precision"] == "auto"


def test_the_text_is_plain_yaml_for_others_too(data, exported):
    plain = YAML(typ="safe", pure=True).load(exported.read_text())
    assert plain["stage2"]["weight_decay"] == data.best.config["stage2.weight_decay"]
    assert plain["kind"] == "tuner/config"
    assert plain == export_config(data)


@settings(max_examples=50, deadline=None)
@given(value=st.floats(1e-12, 1e12))
def test_floats_survive(value, tmp_path_factory):
    data = Generator().study(trials=2, failed=0, backbones=1, readings=False, epochs=False)
    best = dataclasses.replace(data.best, config={**data.best.config, "stage1.lr": value})
    changed = dataclasses.replace(data, trials=(best,))
    path = tmp_path_factory.getbasetemp() / "floats.yaml"
    path.write_text(dump_config(export_config(changed)), encoding="utf-8")
    assert load_config(path).config["stage1.lr"] == value


def test_blocks_hold_every_setting_of_the_trainer():
    assert {f"{part}.{name}" for part, names in BLOCKS.items() for name in names} == set(FLAT_NAMES)


def test_tolerances_come_from_the_images(data):
    expect = export_config(data)["expect"]
    assert expect["norm.slope"]["tolerance"] is None
    assert all(0.01 <= pair["tolerance"] < 0.2 for name, pair in expect.items() if name != "norm.slope")
    assert expect["test.few"]["tolerance"] > expect["test.balanced_accuracy"]["tolerance"]


def test_with_fresh_seeds_the_value_is_their_mean_and_their_deviation_widens_the_tolerance(data):
    alone = export_config(data)
    reading = data.reading("best")
    name, values = "test.balanced_accuracy", (0.70, 0.74, 0.78)
    fresh = tuple(
        dataclasses.replace(
            reading, role="fresh_seed", number=None, metrics={**data.best.metrics, **reading.metrics, name: value},
            config={**data.best.config, "stage1.seed": seed, "stage2.seed": seed},
        )
        for seed, value in enumerate(values, start=1)
    )  # fmt: skip
    assert alone["provenance"]["expect"]["from"] == "study run"
    one = export_config(dataclasses.replace(data, fresh=fresh[:1]))
    assert one["expect"] == alone["expect"]  # one seed has no deviation
    several = export_config(dataclasses.replace(data, fresh=fresh))
    assert several["provenance"]["expect"]["seeds"] == [1, 2, 3]
    assert several["provenance"]["expect"]["deviation"][name] == pytest.approx(0.04)
    assert several["expect"][name]["value"] == pytest.approx(0.74)
    own, half = alone["expect"][name]["value"], alone["expect"][name]["tolerance"]
    wanted = max(2 * 0.04 + half, abs(own - 0.74) + 0.01)
    assert several["expect"][name]["tolerance"] == pytest.approx(wanted, abs=1e-4)
    other = tuple(dataclasses.replace(row, config={**row.config, "stage1.lr": 9.0}) for row in fresh)
    assert export_config(dataclasses.replace(data, fresh=other)) == alone


def test_an_empty_group_and_an_unread_test_are_left_out():
    data = Generator(dataset="cifar10-lt", largest=5000, factor=100.0, data="d").study(readings=False)
    assert export_config(data)["expect"].keys() == {"val.balanced_accuracy", "val.many", "val.medium", "norm.slope"}


def test_another_trial_can_be_named(data):
    other = next(row for row in data.searched if row is not data.best)
    config = export_config(data, number=other.number)
    assert config["provenance"]["trial"] == other.number
    assert config["provenance"]["selected_by"]["rule"] == "named by its number"
    assert not any(name.startswith("test.") for name in config["expect"])


@pytest.mark.parametrize(("number", "words"), [(999, "has no trial 999"), (64, "is FAIL")])
def test_what_cannot_be_exported_is_told(data, number, words):
    with pytest.raises(ExportError, match=words):
        export_config(data, number=number)
    with pytest.raises(ExportError, match="no finished trial"):
        export_config(dataclasses.replace(data, trials=()))


def test_the_same_data_gives_the_same_file(data):
    assert export_config(data) == export_config(data)
    assert export_config(data)["provenance"]["created"] == "2026-03-01T10:00:00Z"  # of the last reading


@pytest.mark.parametrize("role", ["naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment"])
def test_a_baseline_can_be_exported_with_its_own_settings_and_figures(data, tmp_path, role):
    path = tmp_path / f"{role}.yaml"
    path.write_text(dump_config(export_config(data, baseline=role), file=path.name), encoding="utf-8")
    found, reading = load_config(path), data.reading(role)
    assert dict(found.config) == dict(reading.config)
    assert found.expect["test.balanced_accuracy"].value == reading.metrics["test.balanced_accuracy"]
    assert found.expect["test.balanced_accuracy"].tolerance > 0
    assert found.provenance["baseline"] == role
    assert found.provenance["trial"] == reading.number
    assert found.provenance["temperature"] == (data.naive.temperature if role == "naive" else reading.temperature)
    chosen_from = found.provenance["selected_by"]["among"]
    assert chosen_from == (1 if role == "naive" else 8)  # the method on each of the backbones
    # classes of validation are kept of trials alone, and without them there is no sampling error to tolerate
    assert (found.expect["val.balanced_accuracy"].tolerance is None) == (role != "naive")


def test_a_baseline_that_was_not_read_is_told_with_those_that_were(data):
    with pytest.raises(ExportError, match="no reading of a baseline 'ncm'; it has naive, weight_decay, l2_norm"):
        export_config(data, baseline="ncm")
    with pytest.raises(ExportError, match="are read when the search ends"):
        export_config(dataclasses.replace(data, readings=()), baseline="tau_norm")
    with pytest.raises(ExportError, match="no reading of a baseline 'best'"):
        export_config(data, baseline="best")


def test_nothing_says_who_or_where(data, exported):
    text = exported.read_text()
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert "sqlite" not in text


def test_leaking_protocol_is_stamped(data):
    leaky = dataclasses.replace(data.best, config={**data.best.config, "task.protocol": "paper_leak"})
    changed = dataclasses.replace(data, trials=(leaky,))
    assert export_config(changed)["provenance"]["selected_by"]["split"] == "test (leaks)"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("stage1:\n", "stage1:\n  wieght_decay: 1\n", "stage1.wieght_decay: unknown key; did you mean 'weight_decay'?"),
        ("version: 1", "version: 2", "version: must be 1, but got 2"),
        ("version: 1\n", "", "version: is missing"),
        ("tuner/config", "tuner/space", "kind: must be tuner/config, but got 'tuner/space'; a search space goes to"),
        ("  momentum: 0.9\n", "  momentum: 0.9\n  momentum: 0.8\n", "stage1.momentum: stands twice"),
        ("  epochs: 40\n", "  epochs: !!python/object:os.system 40\n", "tags"),
        ("  epochs: 40\n", "  epochs: &a 40\n", "anchors"),
        ("  epochs: 40\n", "  epochs: {low: 1, high: 2}\n", "must be one value, but got a mapping"),
        ("  epochs: 40\n", "  epochs: .nan\n", "must be finite"),
        ("provenance:", "provenence:", "provenence: unknown key; did you mean 'provenance'?"),
        ("expect:\n", "expect:\n  val.top5: high\n", "expect.val.top5: must be {value: number"),
        ("stage1:\n", "stage1: 3\nstage3:\n", "stage1: must be a mapping, but got 3"),
        ("kind:", "\tkind:", "is not valid YAML"),
    ],
)
def test_mistakes_are_told_with_their_place(exported, old, new, said):
    text = exported.read_text()
    assert old in text
    exported.write_text(text.replace(old, new, 1))
    with pytest.raises(ExportError) as caught:
        load_config(exported)
    line = next(line for line in str(caught.value).splitlines() if said in line)
    file, row, column, rest = line.split(":", 3)
    assert file == str(exported)
    assert int(row) > 0
    assert int(column) > 0
    assert rest.startswith(" error: ")


def test_all_mistakes_at_once_in_the_order_of_the_text(exported):
    text = (
        exported.read_text().replace("version: 1", "version: 9").replace("stage2:\n", "stage2:\n  foo: 1\n")
        + "bar: 2\n"
    )
    exported.write_text(text)
    with pytest.raises(ExportError) as caught:
        load_config(exported)
    said = str(caught.value).splitlines()
    assert len(said) == 3
    assert [int(line.split(":")[1]) for line in said] == sorted(int(line.split(":")[1]) for line in said)


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "- a\n- b\n", "\x00", "a: *b", "{" * 200])
def test_what_is_no_export_at_all_is_refused(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ExportError, match="error"):
        load_config(path)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(ExportError, match=r"none\.yaml: error: cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_places_point_at_the_values(exported):
    found = load_config(exported)
    row = int(found.places["stage2.maxnorm_radius"].split(":")[-2])
    line = exported.read_text().splitlines()[row - 1]
    assert line == f"  maxnorm_radius: {found.config['stage2.maxnorm_radius']!r}"
    assert math.isfinite(found.config["stage2.maxnorm_radius"])
