"""How values of more than 8 bits become 8 bits: which value is black and which is white, decided once for a data set.

Images of 8 bits stay as they are. Others say nothing reliable of their range (12 bits are stored in 16, floats run to 1
or to 255), so it is taken from the training images, told, applied to all splits, and stored with the model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from trainers.errors import ConfigError, DataError
from trainers.long_tail import IntArray

Kind = Literal["integers", "floats"]
Range = tuple[float, float]  # black, white
KINDS: tuple[Kind, ...] = ("integers", "floats")
FULL: Range = (0, 65535)  # of 16 bits
DEPTHS = (8, 10, 12, 14, 16)  # bits that sensors and programs store in 16
LEVELS = 16  # of 256: an image with fewer is lost
_BLOCK = 2**20  # values that are computed at once
_SAMPLED = 4096  # values of an image that say where most of them lie
_FEW = 20  # one in so many images may lose its contrast, unless that is a whole class
_RANGE = re.compile(r"\s*(-?[\d.]+(?:e[+-]?\d+)?)\.\.(-?[\d.]+(?:e[+-]?\d+)?)\s*", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class PixelScale:
    """Black and white of each kind of deep values; None: no training image had this kind."""

    integers: Range | None = None
    floats: Range | None = None
    rounds_down: bool = False  # floats, as in releases that stored no scale

    def range_of(self, kind: Kind) -> Range | None:
        """Black and white of a kind."""
        return self.integers if kind == "integers" else self.floats

    @property
    def as_ever(self) -> bool:
        """True if images become what they became before scales were stored."""
        return self.rounds_down or (self.floats is None and self.integers in (None, FULL))

    def stored(self) -> dict[str, tuple[float, float]]:
        """The ranges for a model's card or a fingerprint."""
        found = {kind: self.range_of(kind) for kind in KINDS}
        return {kind: (float(ends[0]), float(ends[1])) for kind, ends in found.items() if ends is not None}

    @classmethod
    def of_card(cls, stored: Mapping[str, Sequence[float]] | None) -> PixelScale:
        """The scale of a model's card; `AS_BEFORE` for one that has none."""
        if stored is None:
            return AS_BEFORE
        ends = {kind: (float(stored[kind][0]), float(stored[kind][1])) for kind in KINDS if kind in stored}
        return cls(integers=ends.get("integers"), floats=ends.get("floats"))


EIGHT_BITS = PixelScale()
AS_BEFORE = PixelScale(integers=FULL, floats=(0, 255), rounds_down=True)


@dataclass(frozen=True, kw_only=True)
class Content:
    """What the deep values of one image are; images of 8 bits have none."""

    name: str
    form: str  # for messages: 16-bit, 32-bit, float
    kind: Kind
    low: float
    high: float
    bulk: float  # 99 % of the values are below
    whole: bool  # numbers without a fraction


def content_of(values: npt.NDArray[Any], *, name: str, form: str) -> Content:
    """Looks at all values of an image. Raises ValueError for NaN and infinities."""
    kind: Kind = "floats" if values.dtype.kind == "f" else "integers"
    strange, whole = 0, True
    for block in _blocks(values) if kind == "floats" else ():
        strange += int(np.count_nonzero(~np.isfinite(block)))
        whole = whole and not strange and bool(np.all(block == np.floor(block)))
    if strange:
        raise ValueError(f"{strange} of its {values.size} values are NaN or infinite")
    flat = values.reshape(-1)
    sample = np.sort(flat[:: max(1, flat.size // _SAMPLED)])
    return Content(
        name=name, form=form, kind=kind, low=float(values.min()), high=float(values.max()),
        bulk=float(sample[int(0.99 * (len(sample) - 1))]), whole=whole,
    )  # fmt: skip


def to_bytes(values: npt.NDArray[Any], kind: Kind, scale: PixelScale) -> npt.NDArray[np.uint8]:
    """Deep values as 0..255, clipped; whole numbers by equal steps, as `value >> 8` of the full range is."""
    ends = scale.range_of(kind)
    if ends is None:
        raise DataError(f"the pixel scale has no range for {kind}; set task.pixel_range")
    found = np.empty(values.shape, dtype=np.uint8)
    flat = found.reshape(-1)
    at = 0
    for block in _blocks(values):
        flat[at : at + block.size] = _scaled(block.astype(np.float64), kind, ends, scale.rounds_down)
        at += block.size
    return found


def _scaled(values: npt.NDArray[np.float64], kind: Kind, ends: Range, rounds_down: bool) -> npt.NDArray[np.float64]:
    low, high = ends
    if kind == "integers" and float(low).is_integer() and float(high).is_integer():
        return np.clip((values - low) * 256 // (high - low + 1), 0, 255)
    part = (values - low) * (255 / (high - low))
    return np.clip(np.floor(part) if rounds_down else np.rint(part), 0, 255)


def _blocks(values: npt.NDArray[Any]) -> Iterator[npt.NDArray[Any]]:
    flat = values.reshape(-1)
    return (flat[start : start + _BLOCK] for start in range(0, flat.size, _BLOCK))


def asked_range(text: str | None) -> Range | None:
    """`task.pixel_range` as numbers. Raises ConfigError."""
    if text is None:
        return None
    found = _RANGE.fullmatch(text)
    try:
        low, high = (float(word) for word in found.groups()) if found else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not low < high < float("inf"):
        raise ConfigError(f"task.pixel_range: is black..white, such as 0..4095 or -1..1, but got {text!r}")
    return low, high


def usual_range(found: Sequence[Content]) -> Range | None:
    """The range that images of one kind are usually meant in, by their extremes; None: no telling."""
    low, high = min(each.low for each in found), max(each.high for each in found)
    if low >= 0 and high <= FULL[1] and (found[0].kind == "integers" or (high > 1 and all(e.whole for e in found))):
        return 0, 2 ** next(bits for bits in DEPTHS if high < 2**bits) - 1
    if found[0].kind == "integers":
        return None
    if low >= 0 and (1 / LEVELS <= high <= 1 or high == 0):
        return 0, 1
    if -1 <= low <= -1 / 4 and high <= 1:
        return -1, 1
    return (0, 255) if low >= 0 and 64 <= high <= 255 else None


def is_unmistakable(kind: Kind, ends: Range) -> bool:
    """True if white is white also beside images of another depth: full 16 bits, floats to 1 or 255."""
    return ends == FULL if kind == "integers" else ends in ((0, 1), (0, 255))


def alone(content: Content) -> PixelScale:
    """The scale of one image, for a model whose training images had 8 bits. Raises DataError if it is in doubt."""
    ends = usual_range([content])
    if ends is None or not is_unmistakable(content.kind, ends):
        raise DataError(
            f"{content.name}: the image is {content.form} with values {_extremes([content])}, and the model's training "
            "images say nothing of such; convert it to 8 bits"
        )
    return PixelScale(integers=ends) if content.kind == "integers" else PixelScale(floats=ends)


@dataclass(frozen=True, kw_only=True)
class Looked:
    """A split's images: what is in each (None: 8 bits), and their classes."""

    contents: Sequence[Content | None]
    labels: IntArray  # (N,)

    def of(self, kind: Kind) -> list[Content]:
        """The contents of one kind."""
        return [each for each in self.contents if each is not None and each.kind == kind]

    def classes(self, names: set[str]) -> set[int]:
        """The classes of which all images are among these."""
        inside = np.array([each is not None and each.name in names for each in self.contents], dtype=bool)
        return set(self.labels[inside].tolist()) - set(self.labels[~inside].tolist())


def decide(
    splits: Mapping[str, Looked], *, class_names: Sequence[str], asked: Range | None, known: PixelScale | None
) -> tuple[PixelScale, list[str]]:
    """The scale of a data set, and notes on it; `known` is a model's, `asked` is task.pixel_range.

    Raises DataError when the training images allow two readings, or none.
    """
    ranges, notes = dict[Kind, Range](), list[str]()
    mixed = len({each and each.kind for looked in splits.values() for each in looked.contents}) > 1
    mixed = mixed or known is not None  # then the model's training images had none of what it does not know
    for kind in KINDS:
        split = next((name for name, looked in splits.items() if looked.of(kind)), None)
        if split is None:
            continue
        told = known.range_of(kind) if known else asked
        ends = told or _decided(splits[split], kind, split=split, mixed=mixed, class_names=class_names)
        ranges[kind] = ends
        notes.append(_note(splits[split], kind, ends, split=split, class_names=class_names))
        notes += [note for name, looked in splits.items() if (note := _clipped(looked.of(kind), ends, split=name))]
    down = known is not None and known.rounds_down
    return PixelScale(**cast(dict[str, Any], ranges), rounds_down=down and bool(ranges)), notes


def _decided(looked: Looked, kind: Kind, *, split: str, mixed: bool, class_names: Sequence[str]) -> Range:
    found = looked.of(kind)
    ends = usual_range(found)
    said = f"{_shown(found, looked, split)} with values {_extremes(found)}"
    if ends is None:
        raise DataError(f"pixels: {said}, and no scale to 8 bits is usual for that; {_ways_out(found)}")
    if mixed and not is_unmistakable(kind, ends):
        raise DataError(
            f"pixels: {said} beside images of another depth, and nothing says which of their values is white; "
            f"{_ways_out(found)}"
        )
    _check_contrast(looked, kind, ends, said=said, class_names=class_names)
    return ends


def _check_contrast(looked: Looked, kind: Kind, ends: Range, *, said: str, class_names: Sequence[str]) -> None:
    """Raises DataError if many images, or all of a class, would be black: they may have been stored in another way."""
    if ends[0] < 0 or (kind == "integers" and ends[1] <= 255):  # of whole numbers up to 255 none is lost
        return
    found = looked.of(kind)
    dark = [each for each in found if each.low < each.high <= ends[1] / LEVELS]
    whole = looked.classes({each.name for each in dark})
    if len(dark) * _FEW > len(found) or whole:
        of = f", among them all of class {class_names[min(whole)]!r}" if whole else ""
        raise DataError(
            f"pixels: {said}, but {len(dark)} of them have no value above {_number(max(each.high for each in dark))}"
            f"{of} (first {dark[0].name}): they have another depth, or are nearly black; {_ways_out(found)}"
        )


def _ways_out(found: Sequence[Content]) -> str:
    low, high = min(each.low for each in found), max(each.high for each in found)
    usual = usual_range(found) or (0.0 - _outward(-low), _outward(high))
    also = " or task.pixel_range=0..65535" if found[0].kind == "integers" and low >= 0 and usual[1] < FULL[1] else ""
    return (
        f"say which values are black and white, such as task.pixel_range={_written(usual)}{also} (for all images of "
        "more than 8 bits; values beyond are clipped), or convert the images to 8 bits"
    )


def _outward(value: float) -> float:
    """The number, or the next higher one of three digits."""
    step = 1.0 if value.is_integer() else 10.0 ** (math.floor(math.log10(abs(value))) - 2)
    return math.ceil(value / step) * step


def _note(looked: Looked, kind: Kind, ends: Range, *, split: str, class_names: Sequence[str]) -> str:
    found = looked.of(kind)
    note = (
        f"pixels: {_shown(found, looked, split)} with values {_extremes(found)}; they are scaled from "
        f"{_written(ends)} to 8 bits (task.pixel_range)"
    )
    deep = {int(label) for each, label in zip(looked.contents, looked.labels, strict=True) if each is not None}
    if len(deep) < len(set(looked.labels.tolist())):
        names = ", ".join(class_names[label] for label in sorted(deep)[:5])
        note += f"; they belong to {len(deep)} of {len(class_names)} classes ({names}), which may be told by that alone"
    bulk = max(each.bulk for each in found)
    if ends[0] < bulk <= ends[0] + (ends[1] - ends[0]) / LEVELS and ends[1] > 255:
        note += (
            f"; 99 % of their values are below {bulk:.6g} and share {LEVELS} of 256 levels: task.pixel_range="
            f"{_written((ends[0], max(bulk, 1)))} would tell them apart"
        )
    return note


def _clipped(found: Sequence[Content], ends: Range, *, split: str) -> str | None:
    beyond = [each for each in found if each.low < ends[0] or each.high > ends[1]]
    if not beyond:
        return None
    outside = f"values outside of {_written(ends)} ({_extremes(beyond)})"
    return f"{split}: {len(beyond)} images have {outside}, which are clipped"


def _shown(found: Sequence[Content], looked: Looked, split: str) -> str:
    forms = " or ".join(sorted({each.form for each in found}))
    kind = {"train": "training", "val": "validation"}.get(split, split)
    count = f"all {len(found)}" if len(found) == len(looked.contents) else f"{len(found)} of {len(looked.contents)}"
    return f"{count} {kind} images are {forms}"


def _extremes(found: Sequence[Content]) -> str:
    return f"from {_number(min(each.low for each in found))} to {_number(max(each.high for each in found))}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 10**12 else f"{value:.6g}"


def _written(ends: Range) -> str:
    return f"{ends[0]:.10g}..{ends[1]:.10g}"
