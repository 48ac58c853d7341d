"""A trained model for machines without this package: torch.export or ONNX, from pixels to calibrated probabilities.

The file includes normalisation and temperature, because a deployment that forgets them is silently wrong. It is loaded
again, run on several batch sizes, and kept only if its logits are the model's.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from trainers.files.model_file import LoadedModel
from tuner.errors import TunerError, UsageError

Format = Literal["torch-export", "onnx"]
EXPORT_FORMATS: tuple[str, ...] = get_args(Format)
_LOGIT_TOLERANCE = 1e-3  # of a logit, times the largest one: float32 in another order of operations
_ONNX = ("onnx", "onnxruntime", "onnxscript")
_CARD = "card.json"

Runner = Callable[[Tensor], Tensor]


class PixelsToProbabilities(nn.Module):
    """Maps images (B, C, S, S) in [0, 1] to logits and calibrated probabilities, both (B, num_classes)."""

    mean: Tensor
    scale: Tensor

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self.network = model.network
        self.temperature = model.card.temperature
        self.averages_mirror = model.card.averages_mirror
        self.register_buffer("mean", torch.tensor(model.card.mean).view(1, -1, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(model.card.std).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        seen = (images - self.mean) * self.scale
        features = self.network.features(seen)
        if self.averages_mirror:
            features = (features + self.network.features(seen.flip(3))) / 2
        logits = self.network.classifier(features)
        return logits, torch.softmax(logits / self.temperature, dim=1)


def write_checked(model: LoadedModel, path: Path, *, form: Format) -> float:
    """Writes the model to `path` and runs the file; returns the largest difference of a logit.

    A failed export leaves nothing at `path`. Raises TunerError if the file gives other logits or the packages for ONNX
    are missing, UsageError if `path` is a folder.
    """
    card = model.card
    if path.is_dir():
        raise UsageError(f"{path} is a folder; give the file to write, such as {path / 'model.pt2'}")
    module = PixelsToProbabilities(model).eval()
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(3, card.channels, card.image_size, card.image_size, generator=generator)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        runner = (
            _to_onnx(module, images, unfinished, card) if form == "onnx" else to_torch(module, images, unfinished, card)
        )
        difference = max(_logit_difference(module, runner, images[:count]) for count in (1, 2, 3))
        if not difference <= _LOGIT_TOLERANCE:
            raise TunerError(f"the exported file answers other logits, by {difference:.2g}; nothing was written")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
    return difference


def to_torch(module: nn.Module, images: Tensor, path: Path, card: Any) -> Runner:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module, (images,), dynamic_shapes={"images": {0: batch}})
    with path.open("wb") as file:
        torch.export.save(program, file, extra_files={_CARD: json.dumps(dataclasses.asdict(card))})
    with path.open("rb") as file:
        loaded = torch.export.load(file).module()
    return lambda some: loaded(some)[0]


def _to_onnx(module: nn.Module, images: Tensor, path: Path, card: Any) -> Runner:
    missing = [name for name in _ONNX if importlib.util.find_spec(name) is None]
    if missing:
        raise TunerError(
            f"--format onnx needs {', '.join(missing)}; install them with: pip install 'longtail-tuner[onnx]'"
        )
    import onnxruntime

    batch = torch.export.Dim("batch", min=1)
    program = torch.onnx.export(
        module,
        (images,),
        dynamo=True,
        dynamic_shapes={"images": {0: batch}},
        input_names=["images"],
        output_names=["logits", "probabilities"],
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise TunerError("torch made no ONNX program of this network; export it with --format torch-export")
    program.model.metadata_props[_CARD] = json.dumps(dataclasses.asdict(card))
    program.save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda some: torch.from_numpy(session.run(["logits"], {"images": some.numpy()})[0])


@torch.no_grad()
def _logit_difference(module: nn.Module, runner: Runner, images: Tensor) -> float:
    """Largest difference of a logit, divided by the largest logit if that is above 1."""
    wanted: Tensor = module(images)[0]
    found = runner(images)
    if found.shape != wanted.shape:
        raise TunerError(
            f"the exported file answers {tuple(found.shape)} for {tuple(wanted.shape)}; nothing was written"
        )
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1))
