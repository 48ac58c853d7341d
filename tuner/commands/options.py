"""Options and look-ups that several commands share, and the checks of their values."""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import typer

from trainers.config import StepWay
from tuner.errors import UsageError
from tuner.paths import Home

if TYPE_CHECKING:
    from studies.store import Store

MOST_AT_ONCE = 64
MOST = 1_000_000_000  # the largest number on a command line
_SPECIAL_FILES = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}


def utf8_text(value: Any) -> str:
    """UTF-8 text without NUL. Raises BadParameter for other text, and for none."""
    given = str(value)
    if not given.strip():
        raise typer.BadParameter("is empty; give a value, or leave the option out")
    if "\0" in given or not _is_utf8(given):
        raise typer.BadParameter(f"must be UTF-8 without NUL, but got {_quoted(given)}")
    return given


def path(value: Any) -> Path:
    """A path, existing or not. Raises BadParameter like `utf8_text`, and for a device, pipe or socket."""
    given = Path(utf8_text(value))
    special = special_file(given)
    if special:
        raise typer.BadParameter(f"must be a file or folder, but {_quoted(str(given))} is {special}")
    return given


def special_file(place: Path) -> str | None:
    """The kind of a device, pipe or socket; None for a file, a folder or nothing. Follows links."""
    try:
        return _SPECIAL_FILES.get(stat.S_IFMT(place.stat().st_mode))
    except (OSError, ValueError):  # the command that uses the path reports it
        return None


def whole_number(low: int, high: int = MOST) -> Callable[[Any], int]:
    """A parser of whole numbers within these limits; it raises BadParameter."""

    def parse(value: Any) -> int:
        given = str(value).strip()
        number = int(given) if re.fullmatch(r"[+-]?[0-9]{1,18}", given) else None
        if number is None or not low <= number <= high:
            raise typer.BadParameter(f"must be a whole number from {low:,} to {high:,}, but got {_quoted(given)}")
        return number

    return parse


def auto_or_count(value: Any) -> int | Literal["auto"]:
    """A parser of `auto` and of small whole numbers; it raises BadParameter."""
    if str(value).strip() == "auto":
        return "auto"
    try:
        return whole_number(1, MOST_AT_ONCE)(value)
    except typer.BadParameter as error:
        raise typer.BadParameter(f"{error}; or auto") from None


def fraction(high: int = MOST) -> Callable[[Any], float]:
    """A parser of numbers from 0 to `high`; it raises BadParameter."""

    def parse(value: Any) -> float:
        try:
            number = float(str(value))
        except ValueError:
            number = math.nan
        if not 0 <= number <= high:
            raise typer.BadParameter(f"must be a number from 0 to {high:,}, but got {_quoted(str(value))}")
        return number

    return parse


def _is_utf8(given: str) -> bool:
    try:
        given.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quoted(given: str) -> str:
    """The text as an error message shows it: short and printable."""
    from search_spaces.problems import shown

    return shown(given)


def text_option(*names: str, help: str) -> Any:
    """An option that takes text, or several."""
    return typer.Option(*names, help=help, parser=utf8_text, metavar="TEXT", show_default=False)


def path_option(*names: str, help: str) -> Any:
    """An option that takes a path."""
    return typer.Option(*names, help=help, parser=path, metavar="PATH", show_default=False)


def number_option(*names: str, help: str, parser: Callable[[Any], float]) -> Any:
    """An option that takes a number of the kind that `parser` checks."""
    return typer.Option(*names, help=help, parser=parser, metavar="NUMBER")


def text_argument(*, help: str) -> Any:
    """An argument that takes text."""
    return typer.Argument(help=help, parser=utf8_text, show_default=False)


def path_argument(*, help: str) -> Any:
    """An argument that takes a path, or several."""
    return typer.Argument(help=help, parser=path, show_default=False)


HomeOption = Annotated[
    Optional[Path], path_option("--home", help="Folder of all output (env TUNER_HOME; default runs).")
]
StorageOption = Annotated[
    Optional[str], text_option("--storage", help="SQLAlchemy URL of the study database (env TUNER_STORAGE).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
SetOption = Annotated[
    Optional[list[str]], text_option("--set", help="Override, e.g. stage1.epochs=80; may be repeated.")
]
SpaceName = Annotated[Optional[str], text_option("--name", help="Study name (default: the space's).")]
DatasetOption = Annotated[Optional[str], text_option("--dataset", help="Shorthand for --set task.dataset=...")]
DataOption = Annotated[Optional[Path], path_option("--data", help="Shorthand for --set task.data=...")]
StudyArgument = Annotated[str, text_argument(help="Name of the study.")]
ParallelOption = Annotated[
    Optional[int],
    number_option("--parallel", "-j", help="Jobs at a time (default: as CPUs and GPUs allow).", parser=whole_number(1)),
]
GpusOption = Annotated[
    Optional[float],
    number_option("--gpus-per-trial", help="GPUs of one job; 0.25 puts four on one GPU.", parser=fraction()),
]
BackbonesOption = Annotated[
    Optional[Any],
    typer.Option(
        "--backbones-per-gpu",
        help="Backbones that train side by side on each GPU; auto measures. Default: as the study began, else 1.",
        parser=auto_or_count,
        metavar="N|auto",
    ),
]
StepOption = Annotated[
    StepWay,
    typer.Option("--step", help="How a training step is computed; auto measures and keeps the quickest."),
]
CacheOption = Annotated[
    Optional[float], number_option("--cache-gb", help="Size limit of the backbone cache.", parser=fraction())
]


def storage_url(home: Path | None, storage: str | None) -> str:
    """The study database: `storage`, else TUNER_STORAGE, else the home's. Raises UsageError for a NUL."""
    if "\0" in (storage or ""):
        raise UsageError("--storage must be a URL without NUL")
    return storage or os.environ.get("TUNER_STORAGE") or Home.choose(home).storage_url


def all_studies(home: Path | None, storage: str | None) -> list[str]:
    """All studies in the database."""
    from studies.store import study_names

    return study_names(storage_url(home, storage))


def open_store(study: str, home: Path | None, storage: str | None) -> Store:
    """Opens a study. Raises StudyNotFoundError, which lists the existing names."""
    from studies.store import Store

    return Store.open(storage_url(home, storage), study)


def shorthands(dataset: str | None, data: Path | None) -> list[str]:
    """`--dataset` and `--data` as overrides."""
    found = [f"task.dataset={dataset}"] if dataset else []
    return found + ([f"task.data={json.dumps(str(data.absolute()), ensure_ascii=False)}"] if data else [])
