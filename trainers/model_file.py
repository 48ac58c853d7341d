"""A trained model as one safetensors file: backbone, final classifier, and all that is needed to use it on an image."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.data.splits import StreamedSplit
from trainers.data.task import Task
from trainers.errors import DataError
from trainers.models import Network, build_model
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


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for images, in evaluation mode."""

    network: Network
    card: ModelCard

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities (B, num_classes) of normalised images (B, C, H, W)."""
        logits: Tensor = self.network(images)
        return torch.softmax(logits.float() / self.card.temperature, dim=1)


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
    fields = json.loads(metadata["card"])
    for name in ("class_names", "mean", "std", "train_counts", "trained_on"):
        if name in fields:
            fields[name] = tuple(fields[name])
    card = ModelCard(**fields)
    network = build_model(card.model, len(card.class_names), in_channels=card.channels, image_size=card.image_size)
    network.load_state_dict(tensors)
    return LoadedModel(network.eval(), card)
