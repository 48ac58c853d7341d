"""A trained model as one safetensors file: backbone, final classifier, and all that is needed to use it on an image."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.data.splits import StreamedSplit
from trainers.data.task import Task
from trainers.errors import ConfigError, DataError
from trainers.models import Network, build_model
from trainers.precision import Precision, autocast
from trainers.weight_balance import LinearHead

FORMAT = 1
View = Literal["fit", "center_crop"]  # as splits in memory and streamed ones show an image


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a model file says of itself."""

    model: str
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    temperature: float  # fitted on validation; softmax(logits / temperature) is calibrated
    data_fingerprint: str  # of the splits as the study had them
    config: dict[str, str | int | float | bool | None]
    train_counts: tuple[int, ...] = ()  # per class, of the training split; they make a class many, medium or few
    trained_on: tuple[str, ...] = ("train",)  # splits
    view: View = "fit"  # how an image of another size becomes one of `image_size`

    @property
    def averages_mirror(self) -> bool:
        """Whether test features are the mean over image and mirror image."""
        return self.config.get("task.flip_average") is True


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for images, in evaluation mode."""

    network: Network
    card: ModelCard

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised images (B, C, H, W), in the precision in which it was measured."""
        images = images.contiguous(memory_format=torch.channels_last)
        with autocast(self._precision, images.device):
            features = self.network.features(images)  # (B, D)
            if self.card.averages_mirror:
                features = (features + self.network.features(images.flip(3))) / 2
        found: Tensor = self.network.classifier(features.float())
        return found

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities (B, num_classes) of normalised images (B, C, H, W)."""
        return torch.softmax(self.logits(images) / self.card.temperature, dim=1)

    @property
    def _precision(self) -> Precision:
        match self.card.config.get("stage1.precision"):
            case "fp32" | "bf16" as named:
                return named
            case _:
                return "auto"


def describe(
    task: Task, *, model: str, temperature: float, config: dict[str, str | int | float | bool | None]
) -> ModelCard:
    """The card of a model trained on `task`."""
    return ModelCard(
        model=model,
        class_names=task.class_names,
        channels=task.channels,
        image_size=task.image_size,
        mean=tuple(task.mean),
        std=tuple(task.std),
        temperature=temperature,
        data_fingerprint=task.fingerprint,
        config=config,
        train_counts=task.counts,
        view="center_crop" if isinstance(task.test, StreamedSplit) else "fit",
    )


def save_model(path: Path, network: Network, head: LinearHead, card: ModelCard) -> None:
    """Writes the network with `head` as its classifier."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    tensors |= {"classifier.weight": head.weight.cpu().contiguous(), "classifier.bias": head.bias.cpu().contiguous()}
    metadata = {"format": str(FORMAT), "card": json.dumps(dataclasses.asdict(card))}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata=metadata)


def load_model(path: Path) -> LoadedModel:
    """Reads a model file. Raises DataError when it is not one, or of another format."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give the model.safetensors in it")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise DataError(f"{path}: no such model file; `tuner train best.yaml` writes one") from None
    except Exception as error:  # safetensors raises its own type for any damage
        raise DataError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != str(FORMAT):
        raise DataError(f"{path}: not a model of format {FORMAT}; train it again with this release")
    try:
        said = json.loads(metadata["card"]).items()
        fields: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in said}
        card = ModelCard(**fields)
        network = build_model(card.model, len(card.class_names), in_channels=card.channels, image_size=card.image_size)
        network.load_state_dict(tensors)
    except (
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        AttributeError,
        ConfigError,
    ) as error:  # of a later release, or edited
        raise DataError(
            f"{path}: its card and its tensors do not fit this release ({error}); train it again"
        ) from error
    return LoadedModel(network.eval(), card)
