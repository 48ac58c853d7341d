"""The one scale that the images of all splits get if some have more than 8 bits."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from trainers.config import TaskConfig
from trainers.data.bad_files import SeenImages
from trainers.data.parts import Part, Parts
from trainers.data.pixel_scale import EIGHT_BITS, Looked, PixelScale, asked_range, decide
from trainers.data.pool import SplitName

_UNUSED = "pixels: task.pixel_range has no effect: all images have 8 bits"


def with_scale(
    parts: dict[SplitName, Part], class_names: Sequence[str], config: TaskConfig, known: PixelScale | None
) -> tuple[dict[SplitName, Part], PixelScale, list[str]]:
    """The parts with the scale of their deep values, which the training images decide unless it is `known`."""
    looked: dict[str, Looked] = {
        name: Looked(contents=[part.images.look(index) for index in part.indices.tolist()], labels=part.labels)
        for name, part in parts.items()
        if isinstance(part.images, SeenImages) and (name != "val" or part is not parts["test"])
    }
    if not any(each for split in looked.values() for each in split.contents):
        return parts, EIGHT_BITS, [] if config.pixel_range is None else [_UNUSED]
    scale, notes = decide(looked, class_names=class_names, asked=asked_range(config.pixel_range), known=known)
    scaled = {id(part): _scaled(part, scale) for part in parts.values()}
    return {name: scaled[id(part)] for name, part in parts.items()}, scale, notes


def _scaled(part: Part, scale: PixelScale) -> Part:
    if not isinstance(part.images, SeenImages):
        return part
    return dataclasses.replace(part, images=dataclasses.replace(part.images, scale=scale))


def streamed_notes(parts: Parts) -> tuple[str]:
    """What was checked of images that no memory holds."""
    images = sum(len(part.indices) for part in {id(part): part for part in parts.values()}.values())
    return (f"{images} images are decoded while they are used; each was decoded once before, as a check",)
