"""Which column of a table holds the images, and which the labels: as told, as documented, or by a well-known name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trainers.config import TaskConfig
from trainers.errors import ConfigError, DataError

Role = Literal["image", "label", "split"]

_KNOWN: dict[Role, tuple[str, ...]] = {  # as published tables call them, in lower case with `_` for other signs
    "image": (
        "image", "image_id", "imageid", "image_name", "imagename", "image_file", "image_path", "imagepath", "img",
        "img_id", "img_name", "img_path", "filename", "file_name", "file", "filepath", "file_path", "path", "id_code",
        "image_filename", "isic_id", "picture", "photo",
    ),
    "label": (
        "label", "labels", "class", "class_name", "classname", "class_id", "classid", "class_label", "category",
        "category_id", "diagnosis", "dx", "target", "species", "breed", "label_name", "label_id",
    ),
    "split": ("split", "subset", "partition", "set", "data_set", "dataset", "usage"),
}  # fmt: skip
_PIXELS = re.compile(r"pixels?|pixel_?\d+|\d+x\d+")
_SHOWN = 12  # columns in a message
_OTHER_SIGNS = re.compile(r"[\W_]+")


_READ = {
    "csv": ("columns", "image_root", "suffix"),
    "npz": ("columns",),
    "parquet": ("columns", "image_root", "suffix"),
}
_READ |= dict.fromkeys(("lists", "imagenet-lt", "places-lt", "inaturalist18"), ("image_root", "suffix"))


def check_read(task: TaskConfig) -> None:
    """Raises ConfigError for a setting of tables that this form of data does not read."""
    for name in ("columns", "image_root", "suffix"):
        if getattr(task, name) is not None and name not in _READ.get(task.dataset, ()):
            readers = ", ".join(dataset for dataset, read in _READ.items() if name in read)
            raise ConfigError(f"task.{name}: {task.dataset} does not read it, only {readers} do; leave it out")


def told_columns(task: TaskConfig) -> dict[str, str]:
    """`task.columns` as a mapping."""
    return dict(task.columns or ())


def choose_column(
    names: Sequence[str], role: Role, *, told: str | None, documented: Sequence[str], where: Path
) -> str | None:
    """The column of this role; None if there is none. Raises DataError if it is not there or several could be meant.

    A documented name counts before well-known ones, in the order given.
    """
    if told is not None:
        return _told_column(names, role, told, where)
    for name in documented:
        if names.count(name) == 1:
            return name
    known = [name for name in names if plain_name(name) in _KNOWN[role]]
    exact = [name for name in known if plain_name(name) in documented]
    if len(exact or known) > 1:
        raise DataError(
            f"{where}: {' and '.join(map(repr, exact or known))} could each hold the {role}s; choose one with "
            f"--set task.columns.{role}=NAME"
        )
    return next(iter(exact or known), None)


def missing_column(names: Sequence[str], role: Role, *, documented: str, where: Path) -> DataError:
    """The error for a table without a column of this role."""
    found = ", ".join(map(repr, names[:_SHOWN])) or "none"
    found += f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    if role == "image" and any(_PIXELS.fullmatch(plain_name(name)) for name in names):
        return DataError(
            f"{where}: a table names images, but this one holds their pixels ({found}), which are not read; save "
            "arrays `images` and `labels` by numpy.savez, for --dataset npz"
        )
    return DataError(
        f"{where}: there must be a column {documented!r}, but there are {found}; if one of these holds "
        f"the {role}s, say so with --set task.columns.{role}=NAME"
    )


def chosen_note(where: Path, names: Sequence[str], image: str, label: str, *, documented: Sequence[str]) -> list[str]:
    """What was chosen, unless it has the documented names; and which other columns could be meant for labels."""
    notes = []
    if not {image, label} <= set(documented):
        notes.append(f"{where.name}: column {image!r} holds the images, {label!r} the labels (task.columns)")
    others = [name for name in names if plain_name(name) in _KNOWN["label"] and name not in (image, label)]
    if others:
        notes.append(
            f"{where.name}: {', '.join(map(repr, others))} may hold labels, too; {label!r} is used "
            "(task.columns.label decides)"
        )
    return notes


def plain_name(name: str) -> str:
    """A column's name in lower case, with `_` for spaces and other signs."""
    return _OTHER_SIGNS.sub("_", name.strip().casefold()).strip("_")


def _told_column(names: Sequence[str], role: Role, told: str, where: Path) -> str:
    alike = [name for name in names if name == told] or [name for name in names if plain_name(name) == plain_name(told)]
    if len(alike) != 1:
        near = difflib.get_close_matches(told, names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DataError(
            f"{where}: there must be one column {told!r}, as task.columns.{role} says, but there are "
            f"{', '.join(map(repr, names)) or 'none'}{hint}"
        )
    return alike[0]
