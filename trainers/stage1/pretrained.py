"""torchvision's ImageNet weights, loaded without running code from the file.

torchvision itself unpickles any file with the right name in torch's cache folder. Here a file is first checked against
the eight digits of its SHA-256 in its published name, which catches accidents, not attackers; then it is read with
`weights_only`.
"""

from __future__ import annotations

import hashlib
import pickle
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import torch
import torchvision
from torch import Tensor, nn

from trainers.errors import ConfigError

_OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.([12]\.(?:weight|bias|running_mean|running_var))")


def pretrained_model(name: str, *, image_size: int | None = None) -> nn.Module:
    """A torchvision model with its default weights, downloaded into torch's cache folder if needed.

    Raises ConfigError for a size that does not suit the weights, and for a file that differs from the published one.
    """
    weights = torchvision.models.get_model_weights(name).DEFAULT
    options: dict[str, Any] = {}
    if image_size is not None:
        _check_size(name, image_size, wanted=weights.meta["min_size"][0])
        options["image_size"] = image_size
    if name.startswith("vgg"):
        options["init_weights"] = False  # as torchvision does: else the classifier gets other random numbers
    model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    model.load_state_dict(_current_names(_read(name, weights)))
    return model


def _check_size(name: str, image_size: int, *, wanted: int) -> None:
    if image_size != wanted:
        raise ConfigError(
            f"task.image_size: the pretrained weights of {name} are for {wanted}x{wanted} images, but got "
            f"{image_size}x{image_size}; set it to {wanted}, or task.pretrained=false"
        )


def _read(name: str, weights: Any) -> dict[str, Tensor]:
    file = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlsplit(weights.url).path).name
    if file.exists():
        _check_hash(file)
    try:
        found: dict[str, Tensor] = weights.get_state_dict(
            progress=False, check_hash=True, weights_only=True, map_location="cpu"
        )
    except (pickle.UnpicklingError, EOFError) as error:
        raise ConfigError(
            f"task.pretrained: {file} holds more than weights, and was not opened; remove it, and the weights of "
            f"{name} are fetched again"
        ) from error
    return found


def _check_hash(file: Path) -> None:
    published = re.search(r"-([0-9a-f]{8,})\.", file.name)
    with file.open("rb") as handle:
        found = hashlib.file_digest(handle, "sha256").hexdigest()
    if published is None or not found.startswith(published[1]):
        wanted = "no hash is part of its name" if published is None else f"it should begin with {published[1]}"
        raise ConfigError(
            f"task.pretrained: {file} is not the file that torchvision published (its SHA-256 begins with "
            f"{found[:8]}, and {wanted}); remove it, and it is fetched again"
        )


def _current_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames DenseNet's weights, whose published names are outdated."""
    for key in list(state):
        old = _OLD_DENSENET.fullmatch(key)
        if old:
            state[old[1] + old[2]] = state.pop(key)
    return state
