"""What is seen of a data set, by the readers of a launch and cut as a launch cuts it."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from studies.findings.intervals import group_of

if TYPE_CHECKING:
    from trainers.config import TaskConfig
    from trainers.data.decoding import Header
    from trainers.data.forms import Form
    from trainers.data.pool import Pool, Source
    from trainers.data.task import Task

Group = Literal["many", "medium", "few"]
SplitName = Literal["train", "val", "test"]
GROUPS: tuple[Group, ...] = ("many", "medium", "few")
Size = tuple[int, int]  # width, height


@dataclass(frozen=True, kw_only=True)
class ClassSeen:
    """One class: its images by split, and its group by the training images."""

    index: int  # of the label
    name: str
    given: int  # for training: before validation and test are cut from them, or after a long tail is cut
    train: int
    val: int
    test: int
    group: Group


@dataclass(frozen=True, kw_only=True)
class ImagesSeen:
    """What the headers of all images say, each counted, the most frequent first."""

    total: int
    sizes: Mapping[Size, int]
    formats: Mapping[str, int]
    modes: Mapping[str, int]  # Pillow's
    bits: Mapping[int, int]  # per channel
    unreadable: tuple[str, ...]
    of_several: int = 0  # pages or frames, of which only the first is read

    @property
    def shorter_sides(self) -> list[int]:
        """Of all images, ascending."""
        sides = Counter[int]()
        for size, images in self.sizes.items():
            sides[min(size)] += images
        return sorted(sides.elements())


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Byte-identical images: those beyond the first of each, and those whose labels differ."""

    extra: int
    across: int  # of them in training and also in validation or test, as given
    contradictions: tuple[str, ...]  # each in words


@dataclass(frozen=True, kw_only=True)
class Survey:
    """The whole look at a data set. Without a refusal it is what a launch with this task trains on."""

    path: Path
    form: str
    dataset: str
    classes: tuple[ClassSeen, ...]  # by number of training images, largest first
    images: ImagesSeen
    copies: Copies
    splits: Mapping[str, str]  # where each comes from, in words
    many: int
    few: int
    image_size: int | None
    notes: tuple[str, ...]
    refusal: str | None  # why a launch would not begin

    @property
    def imbalance(self) -> float:
        """The largest class over the smallest, of the images given for training."""
        given = [one.given for one in self.classes]
        return max(given) / min(given)

    @property
    def balanced(self) -> bool:
        """True if all classes have the same number of training images."""
        return len({one.train for one in self.classes}) == 1

    @property
    def groups(self) -> dict[Group, int]:
        """Number of classes of each group."""
        sizes = Counter(one.group for one in self.classes)
        return {group: sizes[group] for group in GROUPS}

    def images_of(self, split: SplitName) -> int:
        """Images in a split."""
        return sum(getattr(one, split) for one in self.classes)


def seen_images(source: Source) -> ImagesSeen:
    """Reads the header of every image."""
    from trainers.data.headers import headers

    found: list[Header] = []
    wrong: list[str] = []
    for _, pool in _pools(source):
        for one in headers(pool.images):
            wrong.append(str(one)) if isinstance(one, Exception) else found.append(one)
    return ImagesSeen(
        total=len(found) + len(wrong),
        sizes=dict(Counter(one.size for one in found).most_common()),
        formats=dict(Counter(one.format for one in found).most_common()),
        modes=dict(Counter(one.mode for one in found).most_common()),
        bits=dict(Counter(one.bits for one in found).most_common()),
        unreadable=tuple(wrong),
        of_several=sum(one.several for one in found),
    )


def seen_copies(source: Source, path: Path) -> Copies:
    """Compares the content of every image that can be read with all others; names are relative to `path`."""
    from trainers.data.headers import digests

    places: dict[bytes, list[tuple[str, int, str]]] = defaultdict(list)  # split, label, name
    for split, pool in _pools(source):
        labels = pool.labels.tolist()
        for index, digest in digests(pool.images):
            places[digest].append((split, labels[index], pool.images.name(index).removeprefix(f"{path}/")))
    same = [found for found in places.values() if len(found) > 1]
    return Copies(
        extra=sum(len(found) - 1 for found in same),
        across=sum(len({split for split, *_ in found}) > 1 for found in same),
        contradictions=tuple(
            " and ".join(f"{name} ({source.class_names[label]})" for _, label, name in _one_a_label(found))
            for found in same
            if len({label for _, label, _ in found}) > 1
        ),
    )


def _one_a_label(found: Sequence[tuple[str, int, str]]) -> Iterator[tuple[str, int, str]]:
    told = set()
    for one in found:
        if one[1] not in told:
            told.add(one[1])
            yield one


def _pools(source: Source) -> Iterator[tuple[str, Pool]]:
    given = {"train": source.train, "val": source.val, "test": source.test}
    yield from ((split, pool) for split, pool in given.items() if pool is not None)


def survey(
    form: Form, source: Source, task: Task | None, config: TaskConfig, *, images: ImagesSeen, refusal: str | None = None
) -> Survey:
    """Puts together what is known; `task` is None if a launch would refuse the data, with the reason in `refusal`."""
    path = Path(config.data or form.place)
    return Survey(
        path=path,
        form=form.seen,
        dataset=form.dataset,
        classes=_classes(source, task, config),
        images=images,
        copies=seen_copies(source, path),
        splits=_splits(source, config),
        many=config.many,
        few=config.few,
        image_size=task.image_size if task else config.image_size,
        notes=task.notes if task else source.notes,
        refusal=refusal,
    )


def with_thresholds(found: Survey, many: int, few: int) -> Survey:
    """The same with other bounds of the groups."""
    classes = tuple(dataclasses.replace(one, group=_group(one.train, (many, few))) for one in found.classes)
    return dataclasses.replace(found, classes=classes, many=many, few=few)


def _classes(source: Source, task: Task | None, config: TaskConfig) -> tuple[ClassSeen, ...]:
    import numpy as np

    num = len(source.class_names)

    def counted(labels: object) -> list[int]:
        return [0] * num if labels is None else np.bincount(np.asarray(labels), minlength=num).tolist()

    given = counted(source.train.labels)
    if task is None:
        train, val, test = given, *(counted(pool and pool.labels) for pool in (source.val, source.test))
    else:
        train, val, test = list(task.counts), counted(task.val.labels), counted(task.test.labels)
    if config.imbalance_factor is not None:
        given = train  # the tail is what was asked for, not what the data has
    rows = zip(range(num), source.class_names, given, train, val, test, strict=True)
    found = [
        ClassSeen(index=k, name=name, given=n, train=used, val=v, test=t, group=_group(used, (config.many, config.few)))
        for k, name, n, used, v, t in rows
    ]
    return tuple(sorted(found, key=lambda one: (-one.train, -one.given)))


def _group(images: int, thresholds: tuple[int, int]) -> Group:
    found: Group = group_of(images, thresholds)  # type: ignore[assignment]
    return found


def _splits(source: Source, config: TaskConfig) -> dict[str, str]:
    given = {"train": "as given", "val": "as given", "test": "as given"}
    cut = config.imbalance_factor is not None
    if cut:
        given["train"] = f"a long tail of factor {config.imbalance_factor:g}, cut from those given"
    if source.val is None:
        per_class = (
            f"{config.val_per_class} of each class" if cut else f"a fifth of a class, at most {config.val_per_class}"
        )
        given["val"] = f"cut from training: {per_class}"
    if source.test is None:
        given["test"] = "cut from training: a fifth of each class"
    return given


def as_tree(found: Survey) -> dict[str, Any]:
    """The survey as plain values, for programs."""
    images = found.images
    return {
        "path": str(found.path),
        "dataset": found.dataset,
        "form": found.form,
        "refusal": found.refusal,
        "classes": [dataclasses.asdict(one) for one in found.classes],
        "imbalance_factor": found.imbalance,
        "groups": {**found.groups, "bounds": {"many": found.many, "few": found.few}},
        "images": {
            "total": images.total,
            "sizes": [{"width": size[0], "height": size[1], "images": n} for size, n in images.sizes.items()],
            "formats": dict(images.formats),
            "modes": dict(images.modes),
            "bits_per_channel": {str(bits): n for bits, n in images.bits.items()},
            "unreadable": list(images.unreadable),
            "of_several_pages": images.of_several,
        },
        "copies": dataclasses.asdict(found.copies),
        "splits": dict(found.splits),
        "image_size": found.image_size,
        "notes": list(found.notes),
    }
