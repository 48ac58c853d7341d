"""Options and look-ups that several commands share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from tuner.errors import UsageError
from tuner.paths import Home

if TYPE_CHECKING:
    from studies.store import Store

HomeOption = Annotated[
    Optional[Path],
    typer.Option("--home", help="Folder of all output (env TUNER_HOME; default runs).", show_default=False),
]
StorageOption = Annotated[
    Optional[str],
    typer.Option("--storage", help="SQLAlchemy URL of the study database (env TUNER_STORAGE).", show_default=False),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
SetOption = Annotated[
    Optional[list[str]],
    typer.Option("--set", help="Override, e.g. stage1.epochs=80; may be repeated.", show_default=False),
]
SpaceName = Annotated[Optional[str], typer.Option("--name", help="Study name (default: the space's).")]
DatasetOption = Annotated[Optional[str], typer.Option("--dataset", help="Shorthand for --set task.dataset=...")]
DataOption = Annotated[Optional[Path], typer.Option("--data", help="Shorthand for --set task.data=...")]
StudyArgument = Annotated[str, typer.Argument(help="Name of the study.", show_default=False)]
ParallelOption = Annotated[
    Optional[int], typer.Option("--parallel", "-j", min=1, help="Jobs at a time (default: as CPUs and GPUs allow).")
]
GpusOption = Annotated[
    Optional[float], typer.Option("--gpus-per-trial", min=0, help="GPUs of one job; 0.25 puts four on one GPU.")
]
CacheOption = Annotated[Optional[float], typer.Option("--cache-gb", min=0, help="Size limit of the backbone cache.")]


def storage_url(home: Path | None, storage: str | None) -> str:
    """The study database: the one asked for, or the environment's, or the home's. Raises UsageError for a NUL."""
    if "\0" in (storage or ""):
        raise UsageError("--storage must be a URL, which holds no NUL")
    return storage or os.environ.get("TUNER_STORAGE") or Home.choose(home).storage_url


def study_names(home: Path | None, storage: str | None) -> list[str]:
    """All studies in the database."""
    from studies.store import study_names as names_in

    return names_in(storage_url(home, storage))


def open_store(study: str, home: Path | None, storage: str | None) -> Store:
    """One study. Raises StudyNotFoundError with the names there are."""
    from studies.store import Store

    return Store.open(storage_url(home, storage), study)


def print_json(value: Any) -> None:
    """One document on standard output."""
    typer.echo(json.dumps(value, indent=2, default=str))


def shorthands(dataset: str | None, data: Path | None) -> list[str]:
    """`--dataset` and `--data` as overrides."""
    found = [f"task.dataset={dataset}"] if dataset else []
    return found + ([f"task.data={json.dumps(str(data.absolute()), ensure_ascii=False)}"] if data else [])
