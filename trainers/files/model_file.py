"""A trained model as one safetensors file: backbone, final classifier, and a card with all it takes to use them."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from trainers.data.splits import StreamedSplit
from trainers.data.task import Task
from trainers.errors import ConfigError, DataError
from trainers.files.card import ModelCard, quoted_value, read_card
from trainers.stage1.models import Network, build_model
from trainers.stage1.precision import Precision, ResolvedPrecision, arithmetic, autocast, usable
from trainers.weight_balance import LinearHead

__all__ = ["FORMAT", "LoadedModel", "ModelCard", "describe_model", "load_model", "save_model"]

FORMAT = 1
_SMALLER = 10  # times at most, without the classifier of 1,000 classes
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for images, in evaluation mode."""

    network: Network
    card: ModelCard

    @torch.no_grad()
    def logits(self, images: Tensor) -> Tensor:
        """Logits (B, num_classes) of normalised images (B, C, H, W), in the precision of the model's measures.

        A device without TF32 uses float32 instead. Raises DataError if the logits are not finite.
        """
        images, precision = images.contiguous(memory_format=torch.channels_last), usable(self._precision, images.device)
        with arithmetic(precision, images.device), autocast(precision, images.device):
            features = self.network.features(images)  # (B, D)
            if self.card.averages_mirror:
                features = (features + self.network.features(images.flip(3))) / 2
        with arithmetic("fp32", images.device):
            found: Tensor = self.network.classifier(features.float())
        return _refuse_non_finite(found)

    @torch.no_grad()
    def probabilities(self, images: Tensor) -> Tensor:
        """Calibrated probabilities (B, num_classes) of normalised images (B, C, H, W). Raises DataError as `logits`."""
        return _refuse_non_finite(torch.softmax(self.logits(images) / self.card.temperature, dim=1))

    @property
    def _precision(self) -> Precision:
        match self.card.config.get("stage1.precision"):
            case "fp32" | "tf32" | "bf16" as named:
                return named
            case _:
                return "auto"


def describe_model(
    task: Task,
    *,
    model: str,
    temperature: float,
    config: dict[str, str | int | float | bool | None],
    precision: ResolvedPrecision | None = None,
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
        precision=precision,
        train_counts=task.counts,
        pixel_scale=task.pixel_scale.stored(),
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
    """Reads a model file. Raises DataError if it is none, has another format, or its card is invalid."""
    if path.is_dir():
        raise DataError(f"{path}: is a folder; give the model.safetensors in it")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except FileNotFoundError:
        raise DataError(f"{path}: no such model file; `tuner train best.yaml` writes one") from None
    except Exception as error:  # safetensors raises its own types for damage
        raise DataError(f"{path}: not a readable safetensors file ({error})") from error
    if metadata.get("format") != str(FORMAT):
        raise DataError(f"{path}: not a model of format {FORMAT}; train it again with this release")
    try:
        card = read_card(metadata.get("card", ""))
        network = _network(card, tensors)
    except (ConfigError, DataError) as error:  # of a later release, or edited
        raise DataError(
            f"{path}: its card and its tensors do not fit this release ({error}); train it again"
        ) from error
    return LoadedModel(network.eval(), card)


def _network(card: ModelCard, tensors: dict[str, Tensor]) -> Network:
    """Builds the card's network. Raises DataError or ConfigError if the tensors do not fit it."""
    _check_sizes(card, tensors)
    network = build_model(card.model, len(card.class_names), in_channels=card.channels, image_size=card.image_size)
    wanted = network.state_dict()
    strange = sorted(wanted.keys() ^ tensors.keys())
    if strange:
        raise DataError(f"{card.model} and the file differ in {len(strange)} tensors, first {quoted_value(strange[0])}")
    for name, tensor in tensors.items():
        _check_tensor(name, tensor, wanted[name])
    network.load_state_dict(tensors)
    return network


def _check_sizes(card: ModelCard, tensors: dict[str, Tensor]) -> None:
    """Raises DataError if the card's network is much larger than the tensors: building it would take memory."""
    rows = tensors["classifier.weight"].shape[:1] if "classifier.weight" in tensors else ()
    if rows != (len(card.class_names),):
        raise DataError(
            f"class_names: has {len(card.class_names)} names, but the classifier has {rows[0] if rows else 'no'} rows"
        )
    held, published = sum(tensor.numel() for tensor in tensors.values()), 0
    if card.model in torchvision.models.list_models(module=torchvision.models):
        published = torchvision.models.get_model_weights(card.model).DEFAULT.meta["num_params"]
    if held < published / _SMALLER:
        raise DataError(f"model: {card.model} has about {published:,} weights, but the file has {held:,}")


def _check_tensor(name: str, tensor: Tensor, wanted: Tensor) -> None:
    kinds = _FLOATS if wanted.is_floating_point() else (wanted.dtype,)
    if tensor.shape != wanted.shape or tensor.dtype not in kinds:
        raise DataError(
            f"tensor {name} must be {wanted.dtype} {tuple(wanted.shape)}, but is {tensor.dtype} {tuple(tensor.shape)}"
        )
    if not torch.isfinite(tensor).all():
        raise DataError(f"tensor {name} has numbers that are not finite")


def _refuse_non_finite(found: Tensor) -> Tensor:
    if not torch.isfinite(found).all():
        raise DataError("the network answers with numbers that are not finite; train the model again")
    return found
