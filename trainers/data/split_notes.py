"""What readers must know of the splits: lacking classes, copies, contradictions, and what is on both sides."""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import numpy as np

from trainers.data.duplicates import Content, distinct
from trainers.data.hashed import Hashed, hash_parts
from trainers.data.near_duplicates import nearest_matches
from trainers.data.parts import Parts
from trainers.data.pool import SplitName
from trainers.data.splits import Split

_EXAMPLES = 3
_TOO = {"train": "in the training images too", "val": "in the validation images too, by which the choice is made"}
_WORDS: Mapping[SplitName, str] = {"train": "training", "val": "validation", "test": "test"}
_Place = tuple[SplitName, int]  # a split, and a row of its part


@dataclass(frozen=True, eq=False)
class _Names:
    """Names of images, without the folders that all of them are in."""

    parts: Parts

    def of(self, place: _Place) -> str:
        """The path of an image below the common folder."""
        part = self.parts[place[0]]
        name = part.images.name(int(part.indices[place[1]]))
        return str(PurePath(name).relative_to(self._folder)) if self._folder else name

    @functools.cached_property
    def _folder(self) -> str:
        parts = self.parts.values()
        folders = {os.path.split(part.images.name(i))[0] for part in parts for i in part.indices.tolist()}
        return os.path.commonpath(folders) if len(set(map(os.path.isabs, folders))) == 1 else ""


def split_notes(parts: Parts, class_names: Sequence[str]) -> list[str]:
    """Classes missing from a split, and images in two splits."""
    return [*_lacking(parts, class_names), *(note for pair in _pairs(parts) for note in _shared(parts, *pair))]


def leak_notes(
    parts: Parts,
    splits: Mapping[SplitName, Split],
    class_names: Sequence[str],
    *,
    content: Content,
    cut: Collection[SplitName],
) -> list[str]:
    """Copies, contradictions, groups and look-alikes; `cut` are the splits that were not given."""
    return [
        *_copies(parts, content, class_names),
        *_contradictions(parts, content, class_names, cut=cut),
        *_groups_in_two(parts),
        *_look_alikes(parts, splits),
    ]


def _copies(parts: Parts, content: Content, class_names: Sequence[str]) -> list[str]:
    """How many images of each class are another image of the same class and split."""
    places: dict[tuple[SplitName, int, bytes], list[_Place]] = defaultdict(list)
    for place, label, key in _rows(parts):
        places[place[0], label, content.get(key, key)].append(place)
    extra, total = np.zeros(len(class_names), dtype=np.int64), np.zeros(len(class_names), dtype=np.int64)
    for (_, label, _), rows in places.items():
        extra[label] += len(rows) - 1
        total[label] += len(rows)
    if not extra.any():
        return []
    names = _Names(parts)
    shown = _examples([(names, rows[:2], " = ") for rows in places.values() if len(rows) > 1])
    order = [k for k in np.argsort(-extra, kind="stable").tolist() if extra[k]]
    classes = _shortened([f"{class_names[k]} {extra[k]} of {total[k]}" for k in order])
    counts = f"{extra.sum()} of {total.sum()} images"
    return [f"{counts} are copies of another image of their class and split ({shown}): {classes}"]


def _contradictions(
    parts: Parts, content: Content, class_names: Sequence[str], *, cut: Collection[SplitName]
) -> list[str]:
    """The images that are under two labels or more, and what becomes of them."""
    places: dict[bytes, dict[int, _Place]] = defaultdict(dict)
    for place, label, key in _rows(parts):
        places[content.get(key, key)].setdefault(label, place)
    against = [found for found in places.values() if len(found) > 1]
    if not against:
        return []
    names = _Names(parts)
    shown = _shortened([_contradiction(names, found, class_names) for found in against[:_EXAMPLES]], len(against))
    kept = " and ".join(_WORDS[name] for name in ("val", "test") if name in cut)
    trained = kept and any(name == "train" for found in against for name, _ in found.values())
    stay = f"; those of training stay there, out of the {kept} cut from it" if trained else ""
    return [f"{len(against)} images are under two labels or more: {shown}{stay}; correct the labels, or remove them"]


def _groups_in_two(parts: Parts) -> list[str]:
    """Groups with images in two splits, as given."""
    notes = []
    for held, other in _pairs(parts):
        groups = set(parts[held].groups or ())
        shared = sorted(groups & set(parts[other].groups or ()))
        if shared:
            counts = f"{held}: {len(shared)} of its {len(groups)} groups (task.group)"
            notes.append(f"{counts} are {_TOO[other]}: {_shortened(shared)}")
    return notes


def _look_alikes(parts: Parts, splits: Mapping[SplitName, Split]) -> list[str]:
    """Images that look like one of another split by their perceptual hash, and are no copy of it by bytes."""
    hashed, notes = hash_parts(parts, splits)
    for held, other in _pairs(parts):
        if held in hashed and other in hashed:
            notes += _near(parts, held, other, _near_pairs(parts, hashed, held, other))
    return notes


def _near_pairs(
    parts: Parts, hashed: Mapping[SplitName, Hashed], held: SplitName, other: SplitName
) -> list[list[_Place]]:
    copied = set(parts[other].keys)
    mine, theirs = (hashed[name].rows[hashed[name].hashes.telling] for name in (held, other))
    bits = {name: hashed[name].hashes.bits[hashed[name].hashes.telling] for name in (held, other)}
    found = nearest_matches(bits[held], bits[other])
    return [
        [(held, row), (other, int(theirs[place]))]
        for row, place in zip(mine.tolist(), found.tolist(), strict=True)
        if place >= 0 and parts[held].keys[row] not in copied
    ]


def _near(parts: Parts, held: SplitName, other: SplitName, pairs: list[list[_Place]]) -> list[str]:
    if not pairs:
        return []
    names = _Names(parts)
    return [
        f"{held}: {len(pairs)} of {len(parts[held])} images look like {_WORDS[other]} images by a perceptual hash "
        f"({_examples([(names, pair, ' ~ ') for pair in pairs])}), as re-encoded or scaled copies do; if they are, "
        "remove them, or keep them together by task.group"
    ]


def _pairs(parts: Parts) -> list[tuple[SplitName, SplitName]]:
    """Each held-out split with the splits that it should share nothing with."""
    if parts["val"] is parts["test"]:  # under paper_leak, which has a note of its own
        return [("test", "train")]
    return [("val", "train"), ("test", "train"), ("test", "val")]


def _lacking(parts: Parts, class_names: Sequence[str]) -> Iterator[str]:
    for name in ("val", "test"):
        part = parts["val"] if name == "val" else parts["test"]
        counts = np.bincount(part.labels, minlength=len(class_names))
        lacking = [class_name for class_name, n in zip(class_names, counts, strict=True) if n == 0]
        if lacking:
            yield f"{name}: {len(lacking)} of {len(class_names)} classes have no images: {', '.join(lacking[:5])}"


def _shared(parts: Parts, held: SplitName, other: SplitName) -> Iterator[str]:
    places = {key: row for row, key in reversed(list(enumerate(parts[other].keys)))}
    found = {key: row for row, key in reversed(list(enumerate(parts[held].keys))) if key in places}
    if found:
        names = _Names(parts)
        pairs = [(names, [(held, row), (other, places[key])], " = ") for key, row in sorted(found.items())]
        yield f"{held}: {len(found)} images are {_TOO[other]} ({_examples(pairs)})"


def _rows(parts: Parts) -> Iterator[tuple[_Place, int, bytes]]:
    for name, part in distinct(parts).items():
        for row, (label, key) in enumerate(zip(part.labels.tolist(), part.keys, strict=True)):
            yield (name, row), label, key


def _examples(found: Sequence[tuple[_Names, Sequence[_Place], str]]) -> str:
    shown = [between.join(names.of(place) for place in places) for names, places, between in found[:_EXAMPLES]]
    return _shortened(shown, len(found))


def _contradiction(names: _Names, found: Mapping[int, _Place], class_names: Sequence[str]) -> str:
    return " = ".join(f"{names.of(place)} ({class_names[label]})" for label, place in sorted(found.items()))


def _shortened(shown: Sequence[str], total: int | None = None, most: int = 5) -> str:
    more = (total or len(shown)) - len(shown[:most])
    return ", ".join(shown[:most]) + (f" and {more} more" if more else "")
