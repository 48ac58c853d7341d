"""Pretrained weights are data: what was published is loaded as torchvision loads it, and nothing else is run."""

import hashlib
import pathlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from trainers.errors import ConfigError
from trainers.stage1.models import build_model

SMALL = "shufflenet_v2_x0_5"
Publish = Callable[..., Path]


class Poison:
    """Makes a file when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.Path.touch, (self.trace,)


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Publishes an object as the weights of a model, at an address of this machine; returns where a copy is kept."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def as_weights(name: str, content: Any, *, digest: str | None = None) -> Path:
        file = tmp_path / "made.pth"
        torch.save(content, file)
        digest = digest or hashlib.sha256(file.read_bytes()).hexdigest()
        there = file.rename(tmp_path / f"{name}-{digest[:8]}.pth")
        weights = torchvision.models.get_model_weights(name).DEFAULT
        monkeypatch.setattr(weights.value, "url", there.as_uri())
        return tmp_path / "torch" / "hub" / "checkpoints" / there.name

    return as_weights


def random_weights(name: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(7)
    state: dict[str, torch.Tensor] = torchvision.models.get_model(name, weights=None).state_dict()
    return state


def old_densenet_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As torchvision published them."""
    older = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    return {re.sub(r"(denselayer\d+\.(?:norm|relu|conv))(\d)", r"\1.\2", key): value for key, value in older.items()}


@pytest.mark.parametrize("name", [SMALL, "densenet121", "resnet18"])
def test_weights_and_what_is_left_to_chance_are_those_of_torchvision(name: str, publish: Publish) -> None:
    state = random_weights(name)
    publish(name, old_densenet_names(state) if name == "densenet121" else state)
    network = build_model(name, 5, image_size=224, pretrained=True, seed=3)
    torch.manual_seed(3)
    theirs = torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    classifier = nn.Linear(network.feature_dim, 5)
    ours = network.trunk.state_dict()
    assert len(ours) == len(state) - 2  # without its last layer
    for key, value in ours.items():
        assert torch.equal(value, theirs.state_dict()[key]), key
    assert torch.equal(network.classifier.weight, classifier.weight)


@pytest.mark.parametrize("cached", [True, False], ids=["in the cache", "fetched"])
def test_code_in_a_file_of_the_right_hash_is_not_run(publish: Publish, tmp_path: Path, cached: bool) -> None:
    trace = tmp_path / "it was run"
    kept = publish(SMALL, {**random_weights(SMALL), "conv1.0.weight": Poison(trace)})
    there = tmp_path / kept.name
    torch.load(there, weights_only=False)
    assert trace.exists()  # it would be
    trace.unlink()
    if cached:
        kept.parent.mkdir(parents=True)
        kept.write_bytes(there.read_bytes())
    with pytest.raises(ConfigError, match="more than weights") as caught:
        build_model(SMALL, 5, image_size=224, pretrained=True)
    assert kept.name in str(caught.value)
    assert not trace.exists()


def test_a_file_that_was_altered_is_not_opened(publish: Publish, tmp_path: Path) -> None:
    kept = publish(SMALL, random_weights(SMALL))
    trace = tmp_path / "it was run"
    kept.parent.mkdir(parents=True)
    torch.save(Poison(trace), kept)
    with pytest.raises(ConfigError, match=r"not the file that torchvision published.*remove it"):
        build_model(SMALL, 5, image_size=224, pretrained=True)
    assert not trace.exists()
    kept.unlink()
    build_model(SMALL, 5, image_size=224, pretrained=True)


def test_an_altered_file_on_the_way_is_not_kept(publish: Publish) -> None:
    kept = publish(SMALL, random_weights(SMALL), digest="0" * 64)
    with pytest.raises(ConfigError, match="invalid hash"):
        build_model(SMALL, 5, image_size=224, pretrained=True)
    assert not kept.exists()


def test_an_interrupted_copy_is_a_sentence(publish: Publish, tmp_path: Path) -> None:
    kept = publish(SMALL, random_weights(SMALL))
    kept.parent.mkdir(parents=True)
    kept.write_bytes((tmp_path / kept.name).read_bytes()[:1000])
    with pytest.raises(ConfigError, match="not the file that torchvision published"):
        build_model(SMALL, 5, image_size=224, pretrained=True)


def test_a_size_that_the_weights_are_not_for_is_refused_before_they_are_fetched(publish: Publish) -> None:
    with pytest.raises(ConfigError, match=r"vit_b_16 are for 224x224 images, but got 64x64"):
        build_model("vit_b_16", 5, image_size=64, pretrained=True)
