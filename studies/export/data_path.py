"""Where data lie, as an export says it: so that it runs again, and says no more of its user than it must."""

from __future__ import annotations

import os
from pathlib import Path

_UP = 2  # folders above an export that still are its project: runs/<study>/best.yaml


def portable(data: str, *, folder: Path | None = None) -> str:
    """The path relative to `folder` where both lie in one project, else below `~`, else as it is.

    `folder` is where the export will lie; `located` finds the path again from there.
    """
    path = Path(data).expanduser()
    if not path.is_absolute() and not path.exists():
        return data
    path = Path(os.path.abspath(path))  # noqa: PTH100  (resolve() would follow links, which may be all that stays)
    beside = _beside(path, Path(os.path.abspath(folder))) if folder is not None else None  # noqa: PTH100
    if beside is not None:
        return beside
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path != home and path.is_relative_to(home) else str(path)


def located(data: str, *, folder: Path) -> str:
    """The path as the trainer opens it: relative ones of the export's `folder`, else of the current one."""
    path = Path(data)
    if path.is_absolute() or data.startswith("~") or not (folder / path).exists():
        return data
    return str(folder / path)


def _beside(path: Path, folder: Path) -> str | None:
    """Relative to the folder; None where that climbs out of the project, or leads elsewhere over a link."""
    shared = Path(os.path.commonpath([path, folder]))
    if len(folder.relative_to(shared).parts) > _UP or (shared != Path.home() and Path.home().is_relative_to(shared)):
        return None
    relative = os.path.relpath(path, folder)
    same = path.exists() and (folder / relative).exists() and path.samefile(folder / relative)
    return relative if same and not relative.startswith("~") else None
