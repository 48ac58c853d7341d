"""The request of `tuner train`: the exported configuration and its overrides, checked before any data is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.problems import did_you_mean, shown
from search_spaces.scalars import scalar
from studies.export.read import ExportedConfig, ExportFileError
from tuner.errors import UsageError

_LONGEST_SEED = 18
_COLUMNS = "task.columns"


@dataclass(frozen=True, kw_only=True)
class RetrainRequest:
    """How to train an export. Without seeds, the file's own are used."""

    data: Path | None = None
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    check: bool = False
    force: bool = False
    full: bool = False


def refuse_contradictions(asked: RetrainRequest, exported: ExportedConfig, *, output: Path) -> None:
    """Raises UsageError for options that exclude each other, before anything is loaded."""
    if asked.full and asked.check:
        raise UsageError("--check compares with a model that has not seen validation images; leave out --full")
    if asked.force and not asked.check:
        raise UsageError("--force lets --check compare on other data; give it with --check, or leave it out")
    if asked.check and all(wanted.tolerance is None for wanted in exported.expect.values()):
        raise UsageError("--check finds no expected value with a tolerance in this file; export the trial again")
    if output.exists() and not output.is_dir():
        raise UsageError(f"--output {output} is a file; give a folder for the model, its metrics and its card")


def configuration(exported: ExportedConfig, asked: RetrainRequest) -> dict[str, Any]:
    """The whole flat configuration to train.

    Raises ExportFileError with the place of each invalid value of the file, UsageError or ConfigError for overrides.
    """
    from trainers.config import TrialConfig

    _check_values(exported)
    config = dict(exported.config)
    for text in asked.overrides:
        config = _overridden(config, text)
    if asked.data is not None:
        config["task.data"] = str(asked.data.absolute())
    if asked.full:
        config["stage2.epoch_rule"] = "last"  # nothing is left to select an epoch on
    return dict(TrialConfig.from_flat(config).to_flat())


def changes(exported: ExportedConfig, config: Mapping[str, Any]) -> list[str]:
    """How the configuration to train differs from the exported one, apart from the location of the data."""
    from trainers.config import TrialConfig

    before = TrialConfig.from_flat(exported.config).to_flat()
    return [
        f"{name} {before[name]} -> {value}"
        for name, value in config.items()
        if value != before[name] and name not in ("task.data", "task.image_root", "task.dataset", "task.download")
    ]


def parse_seeds(text: str | None) -> tuple[int, ...]:
    """`0,1,2` as numbers of up to 18 digits, which fit torch and databases. Raises UsageError."""
    if text is None:
        return ()
    parts = [part.strip() for part in text.split(",")]
    whole = all(part.isdecimal() and len(part) <= _LONGEST_SEED for part in parts)
    if not whole or len(set(map(int, parts))) < len(parts):
        raise UsageError(
            f"--seeds {shown(text)}: write different whole numbers from 0 and of up to {_LONGEST_SEED} digits, such as "
            "0,1,2"
        )
    return tuple(map(int, parts))


def _check_values(exported: ExportedConfig) -> None:
    from trainers.config import checked
    from trainers.errors import ConfigError

    problems = []
    for key, value in exported.config.items():
        try:
            checked(key, value)
        except ConfigError as error:
            problems.append(f"{exported.places[key]}: error: {error}")
    if problems:
        raise ExportFileError("\n".join(problems))


def _overridden(config: Mapping[str, Any], text: str) -> dict[str, Any]:
    """The configuration with one override; `task.columns.image=NAME` changes one entry of the mapping."""
    from trainers.config import as_plain

    name, equals, value = text.partition("=")
    if equals and name.startswith(f"{_COLUMNS}."):
        column = name.removeprefix(f"{_COLUMNS}.")
        return {**config, _COLUMNS: {**(as_plain(_COLUMNS, config.get(_COLUMNS)) or {}), column: value}}
    return dict([*config.items(), _override(text)])


def _override(text: str) -> tuple[str, Any]:
    from trainers.config import FLAT_NAMES

    name, equals, value = text.partition("=")
    if not equals:
        raise UsageError(f"--set {text}: write name=value, such as stage1.lr=0.05")
    if name not in FLAT_NAMES:
        meant = [known for known in FLAT_NAMES if known.endswith(f".{name}")]
        hint = f"; did you mean {' or '.join(meant)}?" if meant else did_you_mean(name, FLAT_NAMES)
        raise UsageError(f"--set {text}: there is no setting {name!r}{hint or '; such as stage1.lr=0.05'}")
    try:
        return name, scalar(value)
    except ValueError as error:
        raise UsageError(f"--set {name}: {error}, but got {shown(value)}") from None
