"""The one place that knows the words for splits: which names of folders and files mean train, val or test."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from trainers.data.pool import SplitName

_WORDS: dict[SplitName, str] = {
    "train": "train training trainings trainval trn tr trainning traning trainig",
    "val": "val valid validation validate vali vld dev devel development vaild validaton vaildation",
    "test": "test tests testing tst te holdout heldout eval evaluation evaluate testting tesing",
}
_EVALUATION = frozenset({"eval", "evaluation", "evaluate"})
_SPLIT_OF: dict[str, SplitName] = {word: split for split, words in _WORDS.items() for word in words.split()}
_DECORATIONS = (
    "the set sets split splits subset data dataset datasets image images img imgs picture pictures pics photo photos "
    "jpg jpeg png file files folder dir list lists sample samples example examples input inputs"
)
_DECORATION = frozenset(_DECORATIONS.split())
_JOINED: dict[frozenset[SplitName], SplitName] = {
    frozenset({"train", "val"}): "train",  # train_val, as in trainval
    frozenset({"test", "val"}): "test",  # test-dev
}
_APART = re.compile(r"\b(hold|held)[\W_]+out(?![^\W_])", re.IGNORECASE)
_LETTERS = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_]")


def _either(words: Iterable[str]) -> str:
    return "|".join(sorted(words, key=lambda word: (-len(word), word)))


_WRITTEN_TOGETHER = re.compile(  # trainset, TESTDATA, imagestrain; words of two letters must stand alone
    f"(?:{_either(_DECORATION)})*({_either(word for word in _SPLIT_OF if len(word) > 2)})(?:{_either(_DECORATION)})*"
)


@dataclass(frozen=True)
class _Reading:
    """The words of a name: those for splits, and those that are neither that nor decoration."""

    words: tuple[str, ...]
    rest: tuple[str, ...]

    @property
    def split(self) -> SplitName | None:
        splits = frozenset(_SPLIT_OF[word] for word in self.words)
        return next(iter(splits)) if len(splits) == 1 else _JOINED.get(splits)


def split_of(name: str) -> SplitName | None:
    """The split that a folder, a file without its suffix, or a value in a split column means; None: none.

    The name must hold a word for a split and otherwise only decoration and numbers: `Training`, `train2017`,
    `images_val`, `TestSet`. So `test tube` and `training shoes` may be classes. `eval` means test; see `splits_of`.
    """
    reading = _read(name)
    return None if reading.rest else reading.split


def splits_of(names: Iterable[str]) -> dict[str, SplitName]:
    """The splits among neighbours, by name; several may mean the same one.

    Here `seg_train` beside `seg_test` count too, and `eval` beside another test split and no val means val.
    """
    readings = {name: _read(name) for name in names}
    found = {name: reading.split for name, reading in readings.items() if _counts(reading, list(readings.values()))}
    sure = {split for name, split in found.items() if not _EVALUATION & set(readings[name].words)}
    swap = "test" in sure and "val" not in sure
    return {
        name: "val" if swap and _EVALUATION & set(readings[name].words) else split
        for name, split in found.items()
        if split is not None
    }


def _counts(reading: _Reading, neighbours: list[_Reading]) -> bool:
    """Whether a name means a split: it has no other words, or a neighbour has the same ones with another split."""
    if reading.split is None or not reading.rest:
        return reading.split is not None
    splits = {other.split for other in neighbours if other.rest == reading.rest}
    return "train" in splits and len(splits - {None}) > 1


def _read(name: str) -> _Reading:
    words, rest = list[str](), list[str]()
    for letters in _LETTERS.findall(_APART.sub(r"\1out", name)):
        whole = _split_word(letters)
        for part in [letters] if whole is not None else _CAMEL.findall(letters) or [letters]:
            word = _split_word(part)
            (rest if word is None else words).append(part.lower() if word is None else word)
    return _Reading(tuple(word for word in words if word), tuple(rest))


def _split_word(letters: str) -> str | None:
    """The word for a split in letters written together; empty for decoration, None for another word."""
    lower = letters.lower()
    if lower in _DECORATION:
        return ""
    if lower in _SPLIT_OF:
        return lower
    together = _WRITTEN_TOGETHER.fullmatch(lower)
    return None if together is None else together[1]
