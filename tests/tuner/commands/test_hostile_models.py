"""Model files that somebody made to do harm: refused in one sentence, before a network is built."""

from __future__ import annotations

import dataclasses
import json
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from trainers.config import TrialConfig
from trainers.errors import DataError
from trainers.files.model_file import LoadedModel, ModelCard, load_model, save_model
from trainers.predict import task_of
from trainers.stage1.models import build_model
from trainers.weight_balance import LinearHead

CARD = ModelCard(
    model="cnn-small", class_names=tuple("abcdefghij"), channels=1, image_size=8, mean=(0.5,), std=(0.25,),
    temperature=2.0, data_fingerprint="0" * 64, config=dict(TrialConfig().to_flat()), train_counts=(9,) * 10,
)  # fmt: skip
NO_NUMBERS = (float("nan"), float("inf"), -float("inf"), None, "1", True, [1.0], {})


def cards() -> dict[str, dict[str, Any]]:
    """What a card may say that cannot be so, by name."""
    said: dict[str, list[Any]] = {
        "temperature": [0, -1.0, 1e-300, 10**400, *NO_NUMBERS],
        "std": [[0.0], [-1.0], [1e-50], [2.0], [], [0.2, 0.2], [True], ["x"], [None], [float("nan")], 0.25, None],
        "mean": [[1e300], [float("inf")], [], [0.5] * 3, [[0.5]], "0.5"],
        "channels": [0, 2, -1, 3, 1.0, True, "1", None, 10**9],
        "image_size": [0, -8, 8.0, 10**9, 2**70, True, "8", None],
        "class_names": [[], ["a"], "abcdefghij", [1] * 10, [None] * 10, ["\ud800"] * 10, ["a"] * 9, ["a"] * 10**6, {}],
        "train_counts": [[1], [-1] * 10, [1.5] * 10, [None] * 10, [2**80] * 10, "1111111111", {}],
        "config": [[], None, {"a": {}}, {"task.flip_average": [True]}, {"x": float("nan")}],
        "view": ["", "FIT", None, ["fit"], {}],
        "model": ["", "x", "vit_h_14", "regnet_y_128gf", "../cnn-small", "a\x1b[31m", None, 1, ["cnn-small"]],
        "trained_on": [[], "train", ["x"], [1], None],
        "data_fingerprint": [None, 1, []],
        "pixel_scale": [[], {"": [0, 1]}, {"floats": [1, 0]}, {"floats": [0]}, {"integers": [0, float("inf")]}, "0..1"],
        "unheard_of": [1],
    }
    return {f"{name} {index}": {name: value} for name, values in said.items() for index, value in enumerate(values)}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    head = LinearHead(torch.randn(10, 128, generator=torch.Generator().manual_seed(0)), torch.zeros(10))
    save_model(path, build_model("cnn-small", 10, in_channels=1, image_size=8, seed=0), head, CARD)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "image.png"
    Image.linear_gradient("L").resize((8, 8)).save(path)
    return path


@pytest.fixture
def refused(
    model: Path, image: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], None]:
    """The three commands on a file of these bytes: exit code 1, and one sentence that names the file."""
    from tuner import cli

    def ends(*arguments: Path | str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["tuner", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code, *capfd.readouterr()

    def check(data: bytes) -> None:
        path = tmp_path / "hostile.safetensors"
        path.write_bytes(data)
        for arguments in (("predict", path, image), ("evaluate", path), ("export-model", path, "-o", tmp_path / "x")):
            code, out, said = ends(*arguments)
            assert (code, out) == (1, ""), (out, said)
            assert said.startswith(f"error: {path}: ")
            assert len(said.splitlines()) == 1
            assert len(said) < 1_000
            assert "\x1b" not in said
        assert not (tmp_path / "x").exists()

    return check


def file(tensors: dict[str, torch.Tensor], card: str, path: Path, **metadata: str) -> bytes:
    save_file(tensors, path / "made", metadata={"format": "1", "card": card, **metadata})
    return (path / "made").read_bytes()


@pytest.mark.parametrize("name", cards())
def test_a_card_that_cannot_be_is_refused(
    name: str, model: Path, tmp_path: Path, refused: Callable[[bytes], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def builds(*_: object, **__: object) -> None:
        raise AssertionError("a network is built")

    if name.split(maxsplit=1)[0] not in ("channels", "model", "image_size"):
        monkeypatch.setattr("trainers.files.model_file.build_model", builds)
    refused(file(load_file(model), json.dumps(dataclasses.asdict(CARD) | cards()[name]), tmp_path))


@pytest.mark.parametrize(
    "card", ["", "[", "[" * 100_000, "null", "[]", "1", "{}", '{"model": "cnn-small"}', "{'a': 1}"]
)
def test_a_card_that_is_none_is_refused(
    card: str, model: Path, tmp_path: Path, refused: Callable[[bytes], None]
) -> None:
    refused(file(load_file(model), card, tmp_path))


TENSORS: dict[str, Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]] = {
    "none": lambda tensors: {},
    "one more": lambda tensors: tensors | {"\x1b[31m": torch.zeros(1)},
    "one less": lambda tensors: {k: v for k, v in tensors.items() if k != "classifier.bias"},
    "no classifier": lambda tensors: {k: v for k, v in tensors.items() if k != "classifier.weight"},
    "a flat classifier": lambda tensors: tensors | {"classifier.weight": torch.zeros(10)},
    "a scalar": lambda tensors: tensors | {"classifier.weight": torch.tensor(1.0)},
    "fewer rows": lambda tensors: tensors | {"classifier.weight": torch.zeros(9, 128)},
    "nothing": lambda tensors: tensors | {"classifier.weight": torch.zeros(10, 0)},
    "whole numbers": lambda tensors: tensors | {"classifier.weight": torch.zeros(10, 128, dtype=torch.int64)},
    "complex numbers": lambda tensors: tensors | {"classifier.weight": torch.zeros(10, 128, dtype=torch.complex64)},
    "bytes of 8 bits": lambda tensors: tensors | {"classifier.weight": torch.zeros(10, 128).to(torch.float8_e4m3fn)},
    "no number": lambda tensors: tensors | {"classifier.weight": torch.full((10, 128), torch.nan)},
    "infinite": lambda tensors: tensors | {"classifier.bias": torch.full((10,), torch.inf)},
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_that_are_not_the_networks_are_refused(
    name: str, model: Path, tmp_path: Path, refused: Callable[[bytes], None]
) -> None:
    refused(file(TENSORS[name](load_file(model)), json.dumps(dataclasses.asdict(CARD)), tmp_path))


HEADERS = {
    "a huge header": struct.pack("<Q", 2**63) + b"{}",
    "a header of a gigabyte": struct.pack("<Q", 2**30) + b"{",
    "a huge tensor": b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}',
    "a tensor of 2**64": b'{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}',
    "offsets behind each other": b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}',
    "no JSON": b"{" * 1_000,
    "another format": b'{"__metadata__":{"format":"2","card":"{}"}}',
    "no metadata": b"{}",
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_lying_header_is_refused(name: str, refused: Callable[[bytes], None]) -> None:
    said = HEADERS[name]
    refused(said if said[-2:-1] != b"}" and said[:1] != b"{" else struct.pack("<Q", len(said)) + said)


def test_weights_that_overflow_are_no_per_cent(model: Path, tmp_path: Path, refused: Callable[[bytes], None]) -> None:
    """Each weight is a number, and what comes of them is none."""
    tensors = load_file(model)
    tensors["classifier.weight"] = torch.full((10, 128), 3e38)
    path = tmp_path / "overflows.safetensors"
    path.write_bytes(file(tensors, json.dumps(dataclasses.asdict(CARD)), tmp_path))
    loaded = load_model(path)
    with pytest.raises(DataError, match="not finite"):
        loaded.probabilities(torch.ones(1, 1, 8, 8))
    loaded = LoadedModel(load_model(model).network, dataclasses.replace(CARD, temperature=1e-300))
    with pytest.raises(DataError, match="not finite"):
        loaded.probabilities(torch.ones(1, 1, 8, 8))


def test_a_card_cannot_have_anything_fetched() -> None:
    card = dataclasses.replace(CARD, config={**CARD.config, "task.download": True, "task.pretrained": True})
    task = task_of(card, data=None)
    assert (task.download, task.pretrained) == (False, False)


def test_there_are_enough_of_them() -> None:
    assert len(cards()) + len(TENSORS) + len(HEADERS) >= 100


def test_a_good_file_is_read(model: Path) -> None:
    assert load_model(model).card == CARD
