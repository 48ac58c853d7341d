"""The card of a model file. Files may come from anyone, so every field is checked."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, get_args

from trainers.config import ResolvedPrecision
from trainers.data.pixel_scale import KINDS
from trainers.errors import DataError

Framing = Literal["fit", "center_crop"]  # as in-memory and streamed splits present an image
MAX_IMAGE_SIZE = 2048  # pixels per side; torchvision's largest networks take 600
_LARGEST_PIXEL = 1e30
_SCALARS = (str, int, float, bool, type(None))


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """The description of a model in its file."""

    model: str
    class_names: tuple[str, ...]
    channels: int
    image_size: int
    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    temperature: float  # fitted on validation; softmax(logits / temperature) is calibrated
    data_fingerprint: str  # of the study's splits
    config: dict[str, str | int | float | bool | None]
    precision: ResolvedPrecision | None = None  # that stage 1 computed in; None: not recorded
    train_counts: tuple[int, ...] = ()  # per class, of the training split; they define many, medium and few
    trained_on: tuple[str, ...] = ("train",)  # splits
    view: Framing = "fit"  # how an image of another size becomes one of `image_size`
    pixel_scale: dict[str, tuple[float, float]] | None = None  # black and white of deep values; None: not recorded

    @property
    def averages_mirror(self) -> bool:
        """True if test features are the mean over image and mirror image."""
        return self.config.get("task.flip_average") is True


def read_card(text: str) -> ModelCard:
    """Reads a card from JSON. Raises DataError with the rule, the value and the field."""
    try:
        said = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is no JSON: {error}") from error
    if not isinstance(said, dict):
        raise DataError("it must be a JSON object")
    fields = {field.name: field.default is dataclasses.MISSING for field in dataclasses.fields(ModelCard)}
    strange = [name for name in said if name not in fields]
    missing = [name for name, needed in fields.items() if needed and name not in said]
    if strange or missing:
        raise DataError(
            f"fields must be {', '.join(fields)}, but {quoted_value(strange or missing)} is out of place or missing"
        )
    for name, value in said.items():
        holds, rule = _FIELD_RULES[name]
        if not holds(value):
            raise DataError(f"{name}: must be {rule}, but got {quoted_value(value)}")
    checked: dict[str, Any] = {k: tuple(value) if isinstance(value, list) else value for k, value in said.items()}
    card = ModelCard(**checked)
    _check_lengths(card)
    return card


def quoted_value(value: object) -> str:
    """An untrusted value, short and on one line."""
    text = ascii(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _check_lengths(card: ModelCard) -> None:
    for name, values in (("mean", card.mean), ("std", card.std)):
        if len(values) != card.channels:
            raise DataError(f"{name}: must have a value for each of {card.channels} channel(s), but has {len(values)}")
    if len(card.train_counts) not in (0, len(card.class_names)):
        raise DataError(
            f"train_counts: must have a count for each of {len(card.class_names)} classes, but has "
            f"{len(card.train_counts)}"
        )


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value)


def _is_text(value: object) -> bool:
    """True for text that can be encoded, which excludes lone surrogates."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_whole_within(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def _is_list(value: object, holds: Callable[[Any], bool], *, least: int = 0) -> bool:
    return isinstance(value, list) and len(value) >= least and all(map(holds, value))


def _is_settings(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(each, _SCALARS) and (not isinstance(each, float) or math.isfinite(each)) for each in value.values()
    )


def _is_scale(value: object) -> bool:
    return isinstance(value, dict) and all(kind in KINDS and _is_range(ends) for kind, ends in value.items())


def _is_range(value: object) -> bool:
    finite = _is_list(value, lambda one: _is_number_within(one, -_LARGEST_PIXEL, _LARGEST_PIXEL), least=2)
    return isinstance(value, list) and finite and len(value) == 2 and value[0] < value[1]


_FIELD_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "model": (_is_word, "the name of a network"),
    "class_names": (lambda value: _is_list(value, _is_text, least=2), "a list of at least 2 names"),
    "channels": (lambda value: value in (1, 3) and _is_whole_within(value, 1, 3), "1 or 3"),
    "image_size": (
        lambda value: _is_whole_within(value, 1, MAX_IMAGE_SIZE),
        f"a whole number from 1 to {MAX_IMAGE_SIZE}",
    ),
    "mean": (lambda value: _is_list(value, lambda one: _is_number_within(one, 0, 1)), "a list of numbers in [0, 1]"),
    "std": (lambda value: _is_list(value, lambda one: _is_number_within(one, 1e-30, 1)), "a list of numbers in (0, 1]"),
    "temperature": (lambda value: _is_number_within(value, 1e-30, 1e30), "a finite number above 0"),
    "data_fingerprint": (_is_text, "text"),
    "config": (_is_settings, "a mapping of names to text, numbers, true, false or null"),
    "precision": (
        lambda value: value is None or (isinstance(value, str) and value in get_args(ResolvedPrecision)),
        "fp32, tf32, bf16 or null",
    ),
    "train_counts": (
        lambda value: _is_list(value, lambda one: _is_whole_within(one, 0, 2**53)),
        "a list of whole numbers",
    ),
    "trained_on": (
        lambda value: _is_list(value, lambda one: one in ("train", "val", "test"), least=1),
        "a list of train, val, test",
    ),
    "view": (lambda value: isinstance(value, str) and value in get_args(Framing), "fit or center_crop"),
    "pixel_scale": (
        lambda value: value is None or _is_scale(value),
        f"a mapping of {' and '.join(KINDS)} to two numbers, the smaller first, or null",
    ),
}
