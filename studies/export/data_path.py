"""The path of the data in an export: it must run again, and reveal as little of its user as possible."""

from __future__ import annotations

import os
from pathlib import Path

from trainers.config import Scalar, as_plain, as_scalar

_UP = 2  # folders above an export that belong to its project: runs/<study>/best.yaml


def portable(data: str, *, folder: Path | None = None) -> str:
    """The path relative to `folder` if both are in one project, else below `~`, else unchanged.

    `folder` is that of the export; `located` is the inverse.
    """
    path = Path(data).expanduser()
    if not path.is_absolute() and not path.exists():
        return data
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow links, and a link may be the stable name)
    beside = _beside(path, Path(os.path.abspath(folder))) if folder is not None else None  # noqa: PTH100
    if beside is not None:
        return beside
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path != home and path.is_relative_to(home) else str(path)


def portable_value(name: str, value: Scalar, *, folder: Path | None = None) -> Scalar:
    """A setting's value for an export: paths made portable, other values as they are."""
    if name == "task.data" and isinstance(value, str):
        return portable(value, folder=folder)
    if name == "task.image_root" and value is not None:  # relative ones are relative to the data
        roots = as_plain(name, value)
        return as_scalar(tuple(portable(root) if Path(root).is_absolute() else root for root in roots))
    return value


def located(data: str, *, folder: Path) -> str:
    """The path for the trainer: a relative one is looked up in the export's `folder`, then in the current one."""
    path = Path(data)
    if path.is_absolute() or data.startswith("~") or not (folder / path).exists():
        return data
    return str(folder / path)


def _beside(path: Path, folder: Path) -> str | None:
    """The path relative to the folder; None if that leaves the project, or a link makes it lead elsewhere."""
    shared = Path(os.path.commonpath([path, folder]))
    if len(folder.relative_to(shared).parts) > _UP or (shared != Path.home() and Path.home().is_relative_to(shared)):
        return None
    relative = os.path.relpath(path, folder)
    same = path.exists() and (folder / relative).exists() and path.samefile(folder / relative)
    return relative if same and not relative.startswith("~") else None
