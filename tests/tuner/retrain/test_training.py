"""An export trained again: the same figures, several seeds, refusals, all images, and the card beside the model."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from search_spaces.canonical import dump
from studies.export.provenance import library_versions
from studies.export.read import Expectation, ExportError, load_config
from studies.findings.spread import Spread
from trainers.config import TrialConfig
from trainers.files.model_file import load_model
from trainers.job import load_task_once
from trainers.predict import evaluate, task_of
from trainers.stage1.precision import resolve_precision
from tuner.cli import app
from tuner.errors import NotThereError, TunerError, UsageError
from tuner.retrain.precision import precision_note
from tuner.retrain.request import RetrainRequest, changes, configuration, parse_seeds
from tuner.retrain.threads import exported_threads
from tuner.retrain.tolerances import comparison, differences, origin, within
from tuner.retrain.train import TrainedExport, compare, describe_trained, train_export

QUICK = {"stage1.epochs": 3, "stage1.lr": 0.08, "stage2.epochs": 2, "stage2.features": "search"}


def write_export(path: Path, *, expect: dict[str, Any] | None = None, **provenance: Any) -> Path:
    blocks: dict[str, dict[str, Any]] = {"task": {}, "stage1": {}, "stage2": {}}
    for key, value in TrialConfig.from_flat(QUICK).to_flat().items():
        part, _, name = key.partition(".")
        blocks[part][name] = value
    whole = {"kind": "tuner/config", "version": 1, **blocks, "expect": expect or {}, "provenance": provenance}
    path.write_text(dump(whole))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="module")
def once(folder: Path) -> TrainedExport:
    """One plain training."""
    return train_export(write_export(folder / "once.yaml"), output=folder / "once", asked=RetrainRequest())


@pytest.fixture(scope="module")
def promised(once: TrainedExport, folder: Path) -> Path:
    """An export of what that training gave, as `tuner export` would write it."""
    names = ("val.balanced_accuracy", "test.balanced_accuracy", "test.few")
    expect = {name: {"value": once.metrics[name].mean, "tolerance": 0.01} for name in names}
    card = load_model(once.model).card
    return write_export(
        folder / "promised.yaml",
        expect={**expect, "norm.slope": {"value": 9.0, "tolerance": None}},
        study="s",
        trial=3,
        temperature=2.5,
        dataset={"fingerprint": card.data_fingerprint, "classes": 10, "training_images": 276},
        selected_by={"metric": "val.balanced_accuracy", "split": "val", "among": 7, "rule": "highest objective"},
        versions={**library_versions(), "torch": "0.1"},
    )


def test_a_promise_is_met_by_the_same_seed(promised: Path, folder: Path) -> None:
    trained = train_export(promised, output=folder / "again", asked=RetrainRequest(check=True))
    assert trained.outside == ()
    assert trained.same_data
    lines = compare(trained)
    (few,) = [line.split() for line in lines if line.startswith("test.few")]
    assert (few[2], few[4]) == ("1.0", "+0.0")  # tolerance and difference, in points
    assert few[1] == few[3]
    assert any(line.startswith("norm.slope") and "9.000" in line for line in lines)


def test_an_export_is_trained_with_the_threads_of_the_study(once: TrainedExport, folder: Path) -> None:
    expect = {"val.balanced_accuracy": {"value": once.metrics["val.balanced_accuracy"].mean, "tolerance": 0.01}}
    path = write_export(folder / "threads.yaml", expect=expect, hardware={"device": "cpu (1 threads)"})
    seen = []
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        watched = {"watch": lambda seed, progress: seen.append(torch.get_num_threads())}
        trained = train_export(path, output=folder / "threads", asked=RetrainRequest(), **watched)
        assert torch.get_num_threads() == 2  # as before
    finally:
        torch.set_num_threads(before)
    assert set(seen) == {1}
    assert "trained with 1 thread, as in the study: more or fewer move the last digits" in compare(trained)
    assert once.threads == ""  # nothing was on record
    assert not any("thread" in line for line in compare(once))


OLD_GPU = {"device": "NVIDIA H200", "threads": None}


@pytest.mark.parametrize(
    ("hardware", "asked", "here", "words"),
    [
        ({**OLD_GPU, "precision": "bf16"}, "auto", "fp32", "in fp32 here, and in bf16 in the study.*=bf16, which is"),
        ({**OLD_GPU, "precision": "tf32"}, "fp32", "fp32", "=tf32, on a GPU that has TF32$"),
        ({**OLD_GPU, "precision": "bf16"}, "auto", "bf16", "^$"),
        (OLD_GPU, "fp32", "fp32", "let convolutions on 'NVIDIA H200' use TF32 for fp32.*=tf32$"),
        ({**OLD_GPU, "precision": None}, "fp32", "fp32", "=tf32$"),  # exported by this release
        (OLD_GPU, "auto", "bf16", "does not say what `auto` was on 'NVIDIA H200'$"),
        (OLD_GPU, "bf16", "bf16", "^$"),
        ({"device": "cpu (2 threads)"}, "fp32", "fp32", "^$"),
        ({**OLD_GPU, "precision": ["x"]}, "auto", "fp32", "^$"), ("x", "auto", "fp32", "^$"),
        ({}, "auto", "fp32", "^$"),
    ],
)  # fmt: skip
def test_another_precision_than_the_studys_is_said(hardware: Any, asked: str, here: Any, words: str) -> None:
    assert re.search(words, precision_note({"hardware": hardware}, {"stage1.precision": asked}, here))


def test_files_of_a_training_say_what_stage_1_computed_in(once: TrainedExport, folder: Path) -> None:
    here = resolve_precision("auto", torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    other = {"fp32": "bf16", "bf16": "fp32"}[here]
    path = write_export(folder / "other.yaml", hardware={"device": "x", "precision": other, "threads": 1})
    lines = compare(train_export(path, output=folder / "other", asked=RetrainRequest()))
    assert any(f"computed in {here} here, and in {other} in the study" in line for line in lines)
    assert json.loads(once.metrics_file.read_text())["backbone"]["precision"] == here
    assert load_model(once.model).card.precision == here
    assert f"computed in {here}" in once.card.read_text()


@pytest.mark.parametrize(
    ("hardware", "number"),
    [
        ({"device": "cpu (4 threads)"}, 4), ({"device": "NVIDIA H100 80GB HBM3"}, None), ({}, None), (None, None),
        ({"device": "cpu (0 threads)"}, None), ("cpu (4 threads)", None),
    ],
)  # fmt: skip
def test_threads_are_read_where_they_are_on_record(hardware: Any, number: int | None) -> None:
    assert exported_threads({"hardware": hardware} if hardware is not None else {}) == number


def test_check_exits_1_outside_the_tolerance(promised: Path, folder: Path) -> None:
    wrong = folder / "wrong.yaml"
    exported = load_config(promised)
    off = {"value": 0.05, "tolerance": 0.01}
    write_export(wrong, expect={"test.balanced_accuracy": off}, dataset=dict(exported.provenance["dataset"]))
    ran = CliRunner().invoke(app, ["train", str(wrong), "-o", str(folder / "wrong"), "--check"])
    assert isinstance(ran.exception, TunerError)
    assert ran.exception.exit_code == 1
    assert "test.balanced_accuracy" in str(ran.exception)
    assert "OUTSIDE" in ran.stdout
    assert (folder / "wrong" / "model.safetensors").exists()


def test_other_data_is_refused_before_training_unless_forced(promised: Path, folder: Path) -> None:
    other = ("task.split_seed=1",)
    with pytest.raises(TunerError, match=r"other data.*--data.*--force") as refused:
        train_export(promised, output=folder / "refused", asked=RetrainRequest(check=True, overrides=other))
    assert refused.value.exit_code == 1
    assert not (folder / "refused").exists()
    forced = train_export(
        promised, output=folder / "forced", asked=RetrainRequest(check=True, force=True, overrides=other)
    )
    assert not forced.same_data
    assert "the data differs" in compare(forced)[0]
    assert not train_export(promised, output=folder / "plain", asked=RetrainRequest(overrides=other)).same_data


def test_seeds_give_mean_and_deviation(once: TrainedExport, promised: Path, folder: Path) -> None:
    trained = train_export(promised, output=folder / "seeds", asked=RetrainRequest(seeds=(0, 1)))
    written = json.loads(trained.metrics_file.read_text())
    assert [row["seed"] for row in written["seeds"]] == [0, 1]
    values = [row["metrics"]["val.balanced_accuracy"] for row in written["seeds"]]
    assert values[0] == pytest.approx(once.metrics["val.balanced_accuracy"].mean)  # seed 0 is the file's own
    assert written["mean"]["val.balanced_accuracy"] == pytest.approx(sum(values) / 2)
    assert written["deviation"]["val.balanced_accuracy"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert load_model(trained.model).card.config["stage1.seed"] == 0
    assert "mean ± deviation over 2 seeds" in trained.card.read_text()
    assert any("mean of 2" in line for line in compare(trained))


def test_full_trains_on_all_but_test_with_the_exported_temperature(promised: Path, folder: Path) -> None:
    trained = train_export(promised, output=folder / "full", asked=RetrainRequest(full=True))
    card = load_model(trained.model).card
    assert card.trained_on == ("train", "val")
    assert card.temperature == 2.5
    assert not any(name.startswith("val.") for name in trained.metrics)
    assert trained.metrics["test.balanced_accuracy"].mean > 0.2
    text = trained.card.read_text()
    assert "trained on the first two" in text
    assert "taken from the export" in text
    assert not any(line.startswith("val.") for line in compare(trained))


def test_full_needs_a_temperature_and_does_not_go_with_check(promised: Path, folder: Path) -> None:
    with pytest.raises(TunerError, match=r"provenance\.temperature is None"):
        train_export(folder / "once.yaml", output=folder / "no", asked=RetrainRequest(full=True))
    with pytest.raises(UsageError, match="leave out --full"):
        train_export(promised, output=folder / "no", asked=RetrainRequest(full=True, check=True))
    with pytest.raises(NotThereError, match="tuner export"):
        train_export(folder / "none.yaml", output=folder / "no", asked=RetrainRequest())


def test_the_card_says_what_how_good_and_where_it_ends(promised: Path, folder: Path) -> None:
    text = train_export(promised, output=folder / "card", asked=RetrainRequest()).card.read_text()
    for heading in ("Data", "Protocol", "Figures on test images", "Calibration", "Limits"):
        assert f"\n## {heading}\n" in text
    assert "trial 3 of study `s`" in text
    assert "| many | none | none |" in text  # no digit has more than 100 images
    assert "| 0 | 100 | medium |" in text
    assert "among 7 trials" in text


def test_other_versions_are_a_note_not_a_failure() -> None:
    here = library_versions()
    assert differences({"versions": here}) == []
    (line,) = differences({"versions": {**here, "torch": "0.1", "unheard_of": "1"}})
    assert line.startswith(f"torch is {here['torch']} here, and was 0.1")


def test_tolerances_are_kept_by_the_mean() -> None:
    wanted = Expectation(value=0.5, tolerance=0.0625)
    assert within(wanted, Spread(0.5625, 0.2))
    assert not within(wanted, Spread(0.5626, None))
    assert not within(wanted, None)  # a group that is gone is no success
    assert within(Expectation(value=0.5), None)
    header, row = comparison({"test.few": wanted}, {}, runs=1)
    assert header.split() == ["per", "cent", "expected", "tolerance", "now", "off"]
    assert row.split() == ["test.few", "50.0", "6.2", "none", "none", "OUTSIDE"]


def test_the_comparison_fits_a_terminal() -> None:
    expect = {"test.balanced_accuracy": Expectation(value=0.5, tolerance=0.01), "norm.slope": Expectation(value=0.25)}
    found = {"test.balanced_accuracy": Spread(0.4375, 0.0312), "norm.slope": Spread(0.2499, 1e-9)}
    head, accuracy, slope = comparison(expect, found, runs=12)
    assert accuracy.split() == ["test.balanced_accuracy", "50.0", "1.0", "43.8", "3.1", "-6.2", "OUTSIDE"]
    assert slope.split()[-1] == "+0.000"  # and no "-0.000"
    assert len(head) <= 80


def test_what_cannot_be_is_refused_before_any_data_is_read(promised: Path, folder: Path) -> None:
    file = folder / "a file"
    file.write_text("")
    for asked, output, words in (
        (RetrainRequest(force=True), folder / "no", "give it with --check"),
        (RetrainRequest(), file, "is a file; give a folder"),
        (RetrainRequest(overrides=("lr=3",)), folder / "no", r"did you mean stage1\.lr or stage2\.lr"),
        (RetrainRequest(overrides=("stage1.wieght_decay=3",)), folder / "no", r"did you mean 'stage1\.weight_decay'"),
        (RetrainRequest(overrides=("stage1.lr",)), folder / "no", "write name=value"),
    ):
        with pytest.raises(UsageError, match=words):
            train_export(promised, output=output, asked=asked)
    with pytest.raises(UsageError, match="no expected value with a tolerance"):
        train_export(write_export(folder / "bare.yaml"), output=folder / "no", asked=RetrainRequest(check=True))
    assert not (folder / "no").exists()


def test_values_that_cannot_be_are_told_all_at_once_with_their_places(folder: Path) -> None:
    path = write_export(folder / "values.yaml")
    path.write_text(path.read_text().replace("lr: 0.08", "lr: -1").replace("protocol: honest", "protocol: hones"))
    with pytest.raises(ExportError) as caught:
        configuration(load_config(path), RetrainRequest())
    said = str(caught.value).splitlines()
    assert [line.split(": error: ")[1].split(":")[0] for line in said] == ["task.protocol", "stage1.lr"]
    assert all(line.startswith(f"{path}:") for line in said)


def test_another_configuration_is_said_to_be_one(once: TrainedExport) -> None:
    assert once.changed == ()
    changed = dataclasses.replace(once, changed=("stage1.epochs 3 -> 1",))
    assert "another configuration than the export's: stage1.epochs 3 -> 1" in compare(changed)[0]
    asked = RetrainRequest(data=Path("elsewhere"), overrides=("stage1.epochs=1", "task.dataset=npz"))
    assert changes(once.exported, configuration(once.exported, asked)) == ["stage1.epochs 3 -> 1"]


def test_a_saved_model_measures_as_it_was_measured(once: TrainedExport) -> None:
    loaded = load_model(once.model)
    task = load_task_once(task_of(loaded.card, data=None))
    metrics, _ = evaluate(loaded, task, device=torch.device("cpu"))
    for name in ("test.balanced_accuracy", "test.few", "test.ece_calibrated"):
        assert metrics[name] == pytest.approx(once.metrics[name].mean, abs=1e-6)


def test_where_the_expected_values_are_from_is_said() -> None:
    assert "fresh seeds 1, 2" in origin({"expect": {"from": "fresh seeds", "seeds": [1, 2]}})[0]
    assert "sampling error alone" in origin({"expect": {"from": "study run", "seeds": [0]}})[0]
    assert origin({}) == origin({"expect": "?"}) == []


@pytest.mark.parametrize("text", ["", "a", "1,1", "-1", "0;1", "1.5"])
def test_seeds_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="such as 0,1,2"):
        parse_seeds(text)


def test_seeds_are_read_in_order() -> None:
    assert parse_seeds("2, 0") == (2, 0)
    assert parse_seeds(None) == ()


def test_files_beside_a_model_say_no_more_of_its_user_than_a_run_needs() -> None:
    config = TrialConfig.from_flat(QUICK).to_flat()
    task = load_task_once(TrialConfig.from_flat(config).task)
    card = describe_trained({**config, "task.data": str(Path.home() / "sets" / "birds")}, task, 1.5, full=False)
    assert card.config["task.data"] == "~/sets/birds"
    assert describe_trained(config, task, 1.5, full=False).config == config
