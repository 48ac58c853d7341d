"""Uses a trained model: classifies single images, and measures a labelled split."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor
from torchvision.transforms import v2

from trainers.config import TaskConfig, TrialConfig
from trainers.data.decoding import first_frame, look
from trainers.data.deep_pixels import CLIPPED
from trainers.data.folder_tree import read_tree
from trainers.data.image_files import IMAGE_SUFFIXES
from trainers.data.pixel_scale import PixelScale, alone
from trainers.data.shown_names import suffix_counts
from trainers.data.splits import MemorySplit, Split, StreamedSplit, center_view, normalizer
from trainers.data.task import Task
from trainers.errors import DataError, DeepImageError
from trainers.features import extraction_batch
from trainers.files.model_file import LoadedModel, ModelCard
from trainers.measures.metrics import evaluate_logits
from trainers.results import ClassCounts, Metrics

logger = logging.getLogger(__name__)
_IMAGES_AT_ONCE = 32  # images per pass of the network


@dataclass(frozen=True)
class Prediction:
    """One image and its class probabilities, in the order of the model's `class_names`."""

    path: Path
    probabilities: tuple[float, ...]  # (C,), calibrated
    clipped: float = 0.0  # share of its values beyond the black and white of the training images


@dataclass(frozen=True)
class Unreadable:
    """A file that is not a readable image, and why."""

    path: Path
    reason: str


def image_files(paths: Iterable[Path]) -> list[Path]:
    """The given files, and the images of given folders by name; other files there are logged.

    Raises DataError for a folder without images.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            tree = read_tree(path)
            inside = tree.image_paths()
            if not inside:
                raise DataError(f"{path}: no image in this folder; it looks for {', '.join(sorted(IMAGE_SUFFIXES))}")
            found += inside
            if odd := [name for folder in tree.all_folders() for name, _ in folder.odd]:
                logger.warning("%s: not used, as they are no images by name: %s", path, suffix_counts(odd))
        else:
            found.append(path)
    return found


def predict(model: LoadedModel, paths: Sequence[Path], *, device: torch.device) -> Iterator[Prediction | Unreadable]:
    """Classifies images in order; an unreadable one does not stop the rest."""
    model.network.to(device)
    for start in range(0, len(paths), _IMAGES_AT_ONCE):
        part = paths[start : start + _IMAGES_AT_ONCE]
        opened = [_read_pixels(path, model.card) for path in part]
        seen = [found.pixels for found in opened if isinstance(found, _Read)]
        rows = iter(_probabilities(model, torch.stack(seen), device) if seen else [])
        for path, found in zip(part, opened, strict=True):
            yield Prediction(path, next(rows), found.clipped) if isinstance(found, _Read) else found


@dataclass(frozen=True, eq=False)
class _Read:
    """One image as uint8 (C, S, S), with the view of the training images."""

    pixels: Tensor
    clipped: float


def _read_pixels(path: Path, card: ModelCard) -> _Read | Unreadable:
    if not path.is_file():
        return Unreadable(path, f"{path}: there is no such file")
    try:
        image = _opened(str(path), PixelScale.of_card(card.pixel_scale))
    except DataError as error:
        return Unreadable(path, str(error))
    view: Tensor = v2.functional.pil_to_tensor(_framed(image.convert("L") if card.channels == 1 else image, card))
    return _Read(view, image.info.get(CLIPPED, 0.0))


def _opened(path: str, scale: PixelScale) -> Image.Image:
    """The image by the model's scale, or by its own values if the model has none for them and they leave no doubt."""
    try:
        return first_frame(path, path, scale)
    except DeepImageError:
        content = look(path, path)
        return first_frame(path, path, scale if content is None else alone(content))


def _framed(image: Image.Image, card: ModelCard) -> Image.Image:
    size = (card.image_size, card.image_size)
    if card.view == "center_crop":
        return center_view(image, card.image_size)
    return image if image.size == size else ImageOps.fit(image, size, Image.Resampling.BILINEAR)


def _probabilities(model: LoadedModel, pixels: Tensor, device: torch.device) -> list[tuple[float, ...]]:
    normalize = normalizer((model.card.mean, model.card.std), device)
    return [tuple(row) for row in model.probabilities(normalize(pixels.to(device))).cpu().tolist()]


def task_of(card: ModelCard, *, data: str | None, dataset: str | None = None) -> TaskConfig:
    """The model's task with other `data`; with another `dataset`, the images are taken without a cut.

    Raises ConfigError for an unknown dataset.
    """
    told = _task_config(card)  # from a file, which must not cause downloads
    task = dataclasses.replace(told, image_size=card.image_size, pretrained=False, download=False)
    flat = {"task.data": data or task.data, "task.dataset": dataset or task.dataset}
    asked = TrialConfig.from_flat(flat).task
    task = dataclasses.replace(task, data=asked.data, dataset=asked.dataset)
    if task.dataset == _task_config(card).dataset:
        return task
    return dataclasses.replace(task, imbalance_factor=None, max_count=None, protocol="honest")


def _task_config(card: ModelCard) -> TaskConfig:
    return TrialConfig.from_flat({k: v for k, v in card.config.items() if k.startswith("task.")}).task


@torch.no_grad()
def evaluate(model: LoadedModel, task: Task, *, device: torch.device) -> tuple[Metrics, ClassCounts]:
    """Measures a model on the test split of `task`: `test.balanced_accuracy`, `test.few`, `test.ece` ...

    Groups are by the model's training images. Raises DataError when classes or channels do not fit the model.
    """
    card = model.card
    if task.channels != card.channels:
        raise DataError(f"the model takes images of {card.channels} channel(s), but these have {task.channels}")
    labels = _renumbered(task, card)
    model.network.to(device)
    split = _as_trained(task.test, card)
    batches = split.batches(None, batch_size=extraction_batch(device), device=device, generator=None)
    logits = torch.cat([model.logits(images) for images, _ in batches])  # (N, C)
    thresholds = _task_config(card)
    return evaluate_logits(
        logits,
        labels,
        card.train_counts or task.counts,
        many=thresholds.many,
        few=thresholds.few,
        prefix="test",
        temperature=card.temperature,
    )


def _renumbered(task: Task, card: ModelCard) -> Tensor:
    """Test labels (N,) in the model's numbering."""
    strange = [name for name in task.class_names if name not in card.class_names]
    if strange:
        raise DataError(
            f"the model knows no class {', '.join(map(repr, strange[:5]))}; its classes are "
            f"{', '.join(card.class_names[:10])}{' ...' if len(card.class_names) > 10 else ''}"
        )
    place = torch.tensor([card.class_names.index(name) for name in task.class_names])
    return place[task.test.labels]


def _as_trained(split: Split, card: ModelCard) -> Split:
    """The split with the model's normalisation instead of the data's."""
    if isinstance(split, MemorySplit | StreamedSplit):
        return dataclasses.replace(split, normalization=(card.mean, card.std))
    raise TypeError(f"a split must be in memory or streamed, but is {type(split).__name__}")
