"""Whether all shards of a file are there, by the numbers in their own names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from trainers.errors import DataError

_OF = re.compile(r"(?P<stem>.*?)(?P<number>\d+)-of-(?P<size>\d+)(?=\D|$)")  # train-00000-of-00003-6d1b1e.parquet
_NUMBER = re.compile(r"\d{4,}")  # 0000.parquet, as in Hugging Face's converted branch
_MOST = 5


def check_shards(files: Sequence[Path]) -> None:
    """Raises DataError if the files of one split are numbered and one is missing, or they are of two sets."""
    named = [(path, match) for path in files if (match := _OF.match(path.name))]
    if named:
        _check_sets(files, named)
    elif len(files) > 1 and all(_NUMBER.fullmatch(path.stem) for path in files):
        numbers = {int(path.stem) for path in files}
        _check_numbers(files[0].parent, numbers, range(max(numbers) + 1), len(files[0].stem))


def _check_sets(files: Sequence[Path], named: Sequence[tuple[Path, re.Match[str]]]) -> None:
    sets = defaultdict[tuple[Path, str, int], list[int]](list)
    for path, match in named:
        sets[path.parent, match["stem"], int(match["size"])].append(int(match["number"]))
    if len(sets) > 1 or len(named) < len(files):
        shown = ", ".join(path.name for path in files[:_MOST])
        raise DataError(
            f"{files[0].parent}: the files of a split must be shards of one set, but these are of several: {shown}"
            f"{' ...' if len(files) > _MOST else ''}; move away those that do not belong to it"
        )
    [((folder, _, size), numbers)] = sets.items()
    if len(set(numbers)) < len(numbers):
        raise DataError(
            f"{folder}: each shard has one file, but {len(numbers)} files are numbered {_few(sorted(numbers))}; move "
            "copies away"
        )
    first = 0 if 0 in numbers or size not in numbers else 1
    _check_numbers(folder, set(numbers), range(first, first + size), len(named[0][1]["number"]))


def _check_numbers(folder: Path, numbers: set[int], wanted: range, width: int) -> None:
    missing, strange = sorted(set(wanted) - numbers), sorted(numbers - set(wanted))
    if strange:
        raise DataError(
            f"{folder}: shards are numbered up to {wanted[-1]}, but there is {_few(strange, width)}; rename it"
        )
    if missing:
        raise DataError(
            f"{folder}: by their names there are {len(wanted)} shards, but {len(missing)} of them are missing, number "
            f"{_few(missing, width)}; fetch what is missing"
        )


def _few(numbers: Sequence[int], width: int = 1) -> str:
    return ", ".join(f"{number:0{width}}" for number in numbers[:_MOST]) + (" ..." if len(numbers) > _MOST else "")
