"""A trained model at work: evaluate, predict on good and bad files, export-model checked by running it."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from typer.testing import CliRunner, Result

from trainers.config import TrialConfig
from trainers.data.task import load_task
from trainers.errors import ConfigError, DataError
from trainers.files.model_file import ModelCard, describe_model, load_model, save_model
from trainers.job import load_task_once
from trainers.predict import evaluate, task_of
from trainers.stage1.models import build_model
from trainers.weight_balance import LinearHead
from tuner.cli import app
from tuner.errors import NotThereError, TunerError, UsageError
from tuner.retrain import model_export
from tuner.retrain.model_export import PixelsToProbabilities, write_checked


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network in a model file: what comes out means nothing, but is the same each time."""
    config = TrialConfig()
    task = load_task_once(config.task)
    network = build_model("cnn-small", 10, in_channels=1, image_size=8, seed=0)
    generator = torch.Generator().manual_seed(1)
    head = LinearHead(torch.randn(10, 128, generator=generator), torch.zeros(10))
    card = describe_model(task, model="cnn-small", temperature=3.0, config=dict(config.to_flat()))
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    save_model(path, network, head, card)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """The same digit in every form people have, and two files that are no images."""
    digit = np.rint(load_digits().images[3] * (255 / 16)).astype(np.uint8)
    grey = Image.fromarray(digit)
    folder = tmp_path / "images"
    (folder / "inner").mkdir(parents=True)
    grey.save(folder / "grey.png")
    grey.convert("RGB").save(folder / "rgb.png")
    grey.convert("P").save(folder / "palette.png")
    grey.convert("RGBA").save(folder / "inner" / "alpha.PNG")
    Image.fromarray(digit.astype(np.uint16) * 257).save(folder / "deep.png")
    grey.convert("RGB").resize((50, 31)).save(folder / "wide.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6  # as cameras write it: to be turned right by whoever looks
    grey.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.png", exif=turned)
    grey.save(folder / "exif.png", exif=b"Exif\0\0broken")
    (folder / "text.png").write_text("no image")
    (folder / "cut.jpg").write_bytes((folder / "wide.jpg").read_bytes()[:200])
    (folder / "notes.txt").write_text("left alone")
    return folder


def tuner(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def test_every_kind_of_image_has_a_class_and_bad_files_do_not_stop_the_rest(model: Path, images: Path) -> None:
    ran = tuner("predict", model, images, images / "missing.png", "--json")
    assert isinstance(ran.exception, TunerError)
    assert ran.exception.exit_code == 1
    assert "3 of 11 files" in str(ran.exception)
    assert all(name in ran.stderr for name in ("text.png", "cut.jpg", "missing.png"))
    found = {Path(row["file"]).name: row for row in map(json.loads, ran.stdout.splitlines())}
    same = {"rgb.png", "palette.png", "alpha.PNG", "deep.png", "turned.png", "exif.png"}
    assert found.keys() == {"grey.png", "wide.jpg", *same}
    for row in found.values():
        assert row["probabilities"].keys() == {str(k) for k in range(10)}
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=1e-5)
        assert row["probability"] == row["probabilities"][row["class"]] == max(row["probabilities"].values())
    for name in same:
        assert found[name]["probabilities"] == pytest.approx(found["grey.png"]["probabilities"], abs=1e-6)


def test_the_table_names_class_and_probability(model: Path, images: Path) -> None:
    ran = tuner("predict", model, images / "grey.png", "--top", "2")
    assert ran.exit_code == 0
    assert "grey.png" in ran.stdout
    assert ran.stdout.count("%") == 2


def test_json_has_all_classes_or_as_many_as_are_asked_for(model: Path, images: Path) -> None:
    whole = json.loads(tuner("predict", model, images / "grey.png", "--json").stdout)
    few = json.loads(tuner("predict", model, images / "grey.png", "--json", "--top", "2").stdout)
    assert len(whole["probabilities"]) == 10
    assert list(few["probabilities"].items()) == list(whole["probabilities"].items())[:2]
    assert few["class"] == whole["class"]


def test_a_folder_without_images_says_so(model: Path, tmp_path: Path) -> None:
    ran = tuner("predict", model, tmp_path)
    assert "no image in this folder" in str(ran.exception)


def test_evaluate_says_which_data_it_saw(model: Path) -> None:
    ran = tuner("evaluate", model, "--json")
    found = json.loads(ran.stdout)
    assert found["images"] == 400
    assert found["same_data_as_trained"]
    assert found["metrics"]["test.many"] is None
    assert 0 <= found["metrics"]["test.balanced_accuracy"] <= 1
    assert {"test.ece", "test.ece_calibrated", "test.few", "test.medium"} <= found["metrics"].keys()
    assert "balanced accuracy" in tuner("evaluate", model).stdout


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Sevens and twos, as folders."""
    digits = load_digits()
    for k in (7, 2):
        for split in ("train", "test"):
            (tmp_path / "data" / split / str(k)).mkdir(parents=True)
            for i in np.flatnonzero(digits.target == k)[:12]:
                pixels = np.rint(digits.images[i] * (255 / 16)).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "data" / split / str(k) / f"{i}.png")
    return tmp_path / "data"


def test_evaluate_takes_other_data_by_class_name(model: Path, folders: Path, tmp_path: Path) -> None:
    card = load_model(model).card
    card = dataclasses.replace(card, channels=3, mean=(0.5,) * 3, std=(0.25,) * 3)
    always_seven = LinearHead(torch.zeros(10, 128), torch.nn.functional.one_hot(torch.tensor(7), 10).float())
    path = tmp_path / "colour.safetensors"
    save_model(path, build_model("cnn-small", 10, in_channels=3, image_size=8, seed=0), always_seven, card)
    ran = tuner("evaluate", path, "--data", folders, "--dataset", "image-folder", "--json")
    found = json.loads(ran.stdout)
    assert found["metrics"]["test.balanced_accuracy"] == 0.5
    assert found["images"] == 24
    assert not found["same_data_as_trained"]


def test_evaluate_refuses_what_the_model_cannot_know(model: Path, folders: Path) -> None:
    asked = ("evaluate", model, "--data", folders, "--dataset", "image-folder")
    assert "1 channel" in str(tuner(*asked).exception)  # folders are read as colour
    for split in ("train", "test"):
        (folders / split / "7").rename(folders / split / "seven")
    colour = dataclasses.replace(load_model(model).card, channels=3)
    loaded = dataclasses.replace(load_model(model), card=colour)
    task = load_task(task_of(colour, data=str(folders), dataset="image-folder"))
    with pytest.raises(DataError, match="no class 'seven'"):
        evaluate(loaded, task, device=torch.device("cpu"))


def test_a_torch_export_is_checked_and_stands_alone(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "out" / "model.pt2"
    assert tuner("export-model", model, "-o", path).exit_code == 0
    assert [p.name for p in path.parent.iterdir()] == ["model.pt2"]
    extra = {"card.json": ""}
    with path.open("rb") as file:
        program = torch.export.load(file, extra_files=extra).module()
    loaded = load_model(model)
    exactly = dataclasses.replace(loaded.card, config={**loaded.card.config, "stage1.precision": "fp32"})
    loaded = dataclasses.replace(loaded, card=exactly)  # as the exported file computes
    pixels = torch.rand(5, 1, 8, 8)
    logits, probabilities = program(pixels)
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (loaded.card.mean, loaded.card.std))
    assert torch.allclose(probabilities, loaded.probabilities((pixels - mean) / std), atol=1e-5)
    assert torch.allclose(probabilities, torch.softmax(logits / 3.0, dim=1), atol=1e-6)
    fields = json.loads(extra["card.json"])
    assert ModelCard(**fields).temperature == 3.0


def test_a_file_that_answers_otherwise_is_not_kept(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(module: PixelsToProbabilities, images: torch.Tensor, path: Path, card: ModelCard) -> model_export.Runner:
        path.write_text("wrong")
        return lambda some: module(some)[0] + 0.1 * some.sum()

    monkeypatch.setattr(model_export, "to_torch", wrong)
    with pytest.raises(TunerError, match="other logits"):
        write_checked(load_model(model), tmp_path / "model.pt2", form="torch-export")
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_packages_says_how_to_get_them(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TunerError, match=r"pip install 'longtail-tuner\[onnx\]'"):
        write_checked(load_model(model), tmp_path / "model.onnx", form="onnx")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_onnx_answers_the_same_logits(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert write_checked(load_model(model), path, form="onnx") < 1e-4
    session = onnxruntime.InferenceSession(path)
    pixels = np.random.default_rng(0).random((7, 1, 8, 8), dtype=np.float32)
    logits, probabilities = session.run(None, {"images": pixels})
    assert logits.shape == probabilities.shape == (7, 10)
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["card.json"])["temperature"] == 3.0


def test_a_file_that_is_no_model_is_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_text("no model")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "cut.safetensors").write_bytes(model.read_bytes()[:-1000])
    for name in ("x.safetensors", "folder.safetensors", "cut.safetensors"):
        ran = tuner("predict", tmp_path / name, tmp_path)
        assert name in str(ran.exception)
        assert isinstance(ran.exception, DataError)
    missing = tuner("evaluate", tmp_path / "none.safetensors").exception
    assert isinstance(missing, NotThereError)
    assert "tuner train" in str(missing)


@pytest.mark.parametrize("change", [{"model": "resnet20"}, {"unheard_of": 1}, {"class_names": ["a"]}, {"model": "x"}])
def test_a_card_that_does_not_fit_is_no_traceback(model: Path, tmp_path: Path, change: dict[str, object]) -> None:
    with safe_open(model, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    card = json.dumps({**json.loads(metadata["card"]), **change})
    save_file(tensors, tmp_path / "odd.safetensors", metadata={**metadata, "card": card})
    with pytest.raises(DataError, match="do not fit this release"):
        load_model(tmp_path / "odd.safetensors")


def test_an_export_onto_a_folder_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is a folder"):
        write_checked(load_model(model), tmp_path, form="torch-export")


def test_the_embedded_digits_take_no_folder(model: Path, tmp_path: Path) -> None:
    refused = tuner("evaluate", model, "--data", tmp_path).exception
    assert isinstance(refused, ConfigError)
    assert "--dataset" in str(refused)


def test_an_averaging_model_looks_at_the_mirror_image_too(model: Path, tmp_path: Path) -> None:
    loaded = load_model(model)
    both = dataclasses.replace(loaded, card=dataclasses.replace(loaded.card, config={"task.flip_average": True}))
    pixels = torch.rand(3, 1, 8, 8)
    mean = (loaded.logits(pixels) + loaded.logits(pixels.flip(3))) / 2  # the classifier is linear
    assert torch.allclose(both.logits(pixels), mean, atol=1e-2)  # bfloat16 where the machine computes in it
    assert not torch.allclose(both.logits(pixels), loaded.logits(pixels), atol=1e-2)
    assert write_checked(both, tmp_path / "both.pt2", form="torch-export") < 1e-4
