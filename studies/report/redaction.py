"""Redaction of a study for sharing: removes folders, which may identify a machine, and keeps file names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from search_spaces import SpaceError, loads
from studies.study_data import StudyData
from trainers.config import Scalar, as_plain, as_scalar

DATA, ROOTS = "task.data", "task.image_root"
_PATH = re.compile(r"(?:(?<![^\s'\"(\[=,;:])|(?<=:///))~?/(?:[^\s'\"<>|:,;()/]+/)+(?=[^\s/])")  # its folders


def redacted_study(data: StudyData) -> StudyData:
    """The study for pages that are shared. best.yaml and the database keep the paths that a run needs."""
    where = sorted({path for config in _configs(data) for path in _paths(config)}, key=len, reverse=True)
    study = replace(
        data.study,
        space_yaml=_space(data.study.space_yaml, where),
        notes=tuple(without_folders(note, where) for note in data.study.notes),
    )
    return replace(
        data,
        study=study,
        trials=tuple(
            replace(
                row,
                config=_redacted_config(row.config),
                reason=None if row.reason is None else without_folders(row.reason, where),
                notes=tuple(without_folders(note, where) for note in row.notes),
            )
            for row in data.trials
        ),
        backbones=tuple(replace(row, config=_redacted_config(row.config)) for row in data.backbones),
        posthoc=tuple(replace(row, config=_redacted_config(row.config)) for row in data.posthoc),
        readings=tuple(replace(row, config=_redacted_config(row.config)) for row in data.readings),
        fresh=tuple(replace(row, config=_redacted_config(row.config)) for row in data.fresh),
        spaces=tuple(replace(row, driver=None, space_yaml=_space(row.space_yaml, where)) for row in data.spaces),
    )


def redacted_tree(value: Any) -> Any:
    """The same for plain JSON values."""
    if isinstance(value, Mapping):
        return {
            key: name_only(inner) if key == DATA and isinstance(inner, str) else redacted_tree(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_tree(inner) for inner in value]
    return without_folders(value) if isinstance(value, str) else value


def name_only(path: str) -> str:
    """`…/name` for a path that may identify a machine: absolute, below `~`, or through `..`."""
    parts = Path(path).parts
    told = path.startswith(("/", "~")) or ".." in parts
    return f"…/{parts[-1]}" if told and len(parts) > 1 else path


def without_folders(text: str, where: Iterable[str] = ()) -> str:
    """Text with data paths and all absolute paths cut to their names."""
    for path in where:
        if path.startswith(("/", "~")):
            text = text.replace(path, name_only(path))
    return _PATH.sub("…/", text)


def _configs(data: StudyData) -> Iterator[Mapping[str, Scalar]]:
    yield from (row.config for row in data.trials)
    yield from (row.config for row in data.backbones)
    yield from (row.config for row in (*data.readings, *data.fresh))


def _redacted_config(config: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    where, roots = config.get(DATA), as_plain(ROOTS, config.get(ROOTS))
    told = {DATA: name_only(where)} if isinstance(where, str) else {}
    return {**config, **told, **({ROOTS: as_scalar(tuple(map(name_only, roots)))} if roots else {})}


def _paths(config: Mapping[str, Scalar]) -> list[str]:
    """The folders and files of the images."""
    return [str(path) for path in (config.get(DATA), *(as_plain(ROOTS, config.get(ROOTS)) or ())) if path]


def _space(text: str, where: list[str]) -> str:
    try:
        task = loads(text).task
    except SpaceError:  # of another release
        return without_folders(text, where)
    data, roots = [task.data] if task.data else [], task.image_root or []
    if all(name_only(path) == path for path in (*data, *roots)):
        return text
    told = [f"{DATA}={name_only(path)}" for path in data]
    listed = json.dumps(list(map(name_only, roots)), ensure_ascii=False)
    return loads(text, overrides=[*told, *([f"{ROOTS}={listed}"] if roots else [])]).to_yaml()
