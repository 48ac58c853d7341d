"""Counts the files of an image folder against what a source says of them."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from trainers.data.image_files import is_junk_name
from trainers.data.images import FileImages
from trainers.data.pool import Pool, Source

_NOT_USED = re.compile(r"not used: ([\d,]+) ")


def counts_by_class(source: Source) -> dict[str, dict[str, int]]:
    """Images of each class in each split."""
    return {
        split: dict(Counter(source.class_names[label] for label in pool.labels.tolist()))
        for split, pool in _pools(source).items()
    }


def unexplained(root: Path, source: Source) -> str:
    """What is wrong with the count of the files below `root`: each is used once, named as not used, or junk."""
    used = [path for pool in _pools(source).values() for path in _paths(pool)]
    if len(set(used)) < len(used):
        return f"{len(used) - len(set(used))} images are used twice"
    if strange := [path for path in used if not Path(path).is_file() or is_junk_name(Path(path).name)]:
        return f"no images: {strange}"
    named = sum(int(match[1].replace(",", "")) for note in source.notes if (match := _NOT_USED.match(note)))
    found = files_below(root)
    lists = sum(_names_classes(path, source) for path in found if path.name == "classes.txt")
    if len(used) + named + lists != len(found):
        return f"{len(found)} files, but {len(used)} are used, {named} named as not used and {lists} list classes"
    return ""


def files_below(root: Path) -> list[Path]:
    """All files without junk, those of linked folders once; a link that cannot be followed counts as one."""
    found, seen, links = list[Path](), set[Path](), list[Path]()
    waiting = [root]
    while waiting or links:
        folder = waiting.pop() if waiting else links.pop(0)
        real = folder.resolve()
        if real in seen or real in root.resolve().parents:
            found.append(folder)
            continue
        seen.add(real)
        for path in sorted(folder.iterdir()):
            if is_junk_name(path.name):
                continue
            if path.is_dir():
                (links if path.is_symlink() else waiting).append(path)
            else:
                found.append(path)
    return found


def _pools(source: Source) -> dict[str, Pool]:
    pools = {"train": source.train, "val": source.val, "test": source.test}
    return {split: pool for split, pool in pools.items() if pool is not None}


def _paths(pool: Pool) -> tuple[str, ...]:
    assert isinstance(pool.images, FileImages)
    return pool.images.paths


def _names_classes(path: Path, source: Source) -> bool:
    return tuple(path.read_text().split()) == source.class_names
