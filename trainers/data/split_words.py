"""The one place that knows the words for training, validation and test."""

from __future__ import annotations

import re

from trainers.data.pool import SplitName

_WORDS: dict[str, SplitName] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
_FILLERS = {"set", "data", "dataset", "images", "image", "imgs", "img"}


def split_of(name: str) -> SplitName | None:
    """The split that the name of a folder, file or value says, in any spelling and case; None for another name."""
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word and word not in _FILLERS]
    return _WORDS.get(words[0]) if len(words) == 1 else None
