"""Groups of images that belong together (a patient, a lesion, a video): from a column, or from a pattern over names."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from trainers.config import DatasetName, TaskConfig
from trainers.data.pool import Pool, Source
from trainers.data.table_columns import plain_name
from trainers.errors import ConfigError, DataError

_WITHOUT_NAMES: tuple[DatasetName, ...] = ("digits-lt", "cifar10-lt", "cifar100-lt", "npz")
_EXAMPLES = 3
_KNOWN = frozenset({  # columns that published tables have for what several images are of
    "patient", "patient_id", "patientid", "lesion", "lesion_id", "subject", "subject_id", "case", "case_id", "study_id",
    "series_id", "video", "video_id", "clip_id", "seq_id", "sequence_id", "burst_id", "individual", "individual_id",
    "animal_id", "plant_id", "specimen_id", "slide", "slide_id", "donor_id", "participant_id", "group", "group_id",
})  # fmt: skip


def is_pattern(group: str) -> bool:
    """True if `task.group` is a regular expression with one group in parentheses, not the name of a column."""
    try:
        return re.compile(group).groups == 1
    except (re.error, RecursionError, OverflowError):
        return False


def check_source_of_groups(task: TaskConfig) -> None:
    """Raises ConfigError if the data source has nothing that `task.group` could be read from."""
    if task.group is None:
        return
    if task.dataset in _WITHOUT_NAMES:
        raise ConfigError(
            f"task.group: {task.dataset} has neither file names nor columns to read groups from; use csv or parquet "
            "with a column, or a folder of images"
        )
    if task.dataset not in ("parquet", "csv") and not is_pattern(task.group):
        raise ConfigError(
            "task.group: groups of files are read from their paths by a pattern with one group in parentheses, such as "
            f"'(ISIC_\\d+)_', but got {task.group!r}"
        )


def has_group_column(columns: Sequence[str], group: str | None, file: str, *, needed: bool = False) -> bool:
    """True if a table has the column `group`. Raises DataError if it has not, and `group` is no pattern over paths."""
    if group is None or group in columns:
        return group is not None
    if needed or not is_pattern(group):
        what = "" if needed else " or a pattern over paths with one group in parentheses, such as '(ISIC_\\d+)_'"
        raise DataError(
            f"{file}: task.group must be a column{what}, but there is no {group!r}; its columns are "
            f"{', '.join(map(repr, columns))}"
        )
    return False


def is_group_name(column: str) -> bool:
    """True for the name of a column that may say which images belong together."""
    return plain_name(column) in _KNOWN


def unused_group_notes(file: str, columns: Mapping[str, Sequence[object]], task: TaskConfig) -> list[str]:
    """A note for each column by which images may belong together, if `task.group` is not set."""
    notes = []
    for name, values in columns.items():
        distinct = len(set(map(str, values)))
        if task.group is None and is_group_name(name) and 1 < distinct < len(values):
            notes.append(
                f"{file}: column {name!r} has {distinct} values in {len(values)} rows; images that share one may be on "
                f"both sides of a cut, unless --set task.group={name} keeps them together"
            )
    return notes


def with_groups(source: Source, task: TaskConfig) -> Source:
    """The source with the groups of its images as text: those of the column, or of the pattern over paths.

    Raises DataError with examples of images without a group, and ConfigError for a pattern that cannot be used.
    """
    if task.group is None:
        return source
    val, test = (pool and _grouped(pool, task) for pool in (source.val, source.test))
    return dataclasses.replace(source, train=_grouped(source.train, task), val=val, test=test)


def _grouped(pool: Pool, task: TaskConfig) -> Pool:
    found = _groups_of_paths(pool, task) if pool.groups is None else _groups_of_column(pool, pool.groups)
    return dataclasses.replace(pool, groups=found)


def _groups_of_paths(pool: Pool, task: TaskConfig) -> list[str]:
    """What the pattern finds in the paths below `task.data`. RE2 takes linear time, whatever the pattern."""
    pattern, root = str(task.group), Path(task.data or ".").expanduser()
    root = root.parent if root.is_file() else root
    paths = [_below(pool.images.name(index), root) for index in range(len(pool))]
    texts = pa.array([path.encode("utf-8", "backslashreplace").decode() for path in paths], pa.string())
    try:
        matched = pc.match_substring_regex(texts, pattern=pattern).to_pylist()
        found = pc.replace_substring_regex(texts, pattern=f"(?s)^.*?(?:{pattern}).*$", replacement=r"\1").to_pylist()
    except pa.ArrowException as error:
        raise ConfigError(
            f"task.group: not a regular expression of RE2, which has no look-around and no back-references: {error}"
        ) from error
    groups = [text if there else "" for text, there in zip(found, matched, strict=True)]
    lacking = [path for path, group in zip(paths, groups, strict=True) if not group]
    if lacking:
        raise DataError(
            f"task.group: {len(lacking)} of {len(paths)} images have no group, because the pattern {pattern!r} does "
            f"not match {_examples(lacking)}; correct the pattern, e.g. with an alternative for these names"
        )
    return groups


def _groups_of_column(pool: Pool, values: Sequence[object]) -> list[str]:
    groups = ["" if value is None else str(value).strip() for value in values]
    lacking = [pool.images.name(row) for row, group in enumerate(groups) if not group]
    if lacking:
        raise DataError(
            f"task.group: {len(lacking)} of {len(groups)} images have no group ({_examples(lacking)}); give each of "
            "them one, a group of its own if it belongs to no other image"
        )
    return groups


def _below(name: str, root: Path) -> str:
    path = Path(name)
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _examples(names: Sequence[str]) -> str:
    more = f" and {len(names) - _EXAMPLES} more" if len(names) > _EXAMPLES else ""
    return ", ".join(names[:_EXAMPLES]) + more
