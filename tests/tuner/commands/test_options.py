"""What options take: kinds that all commands share, each with limits, and words for what is outside them."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from trainers.config import TrialConfig
from trainers.errors import ConfigError
from tuner import cli
from tuner.commands.options import MOST, fraction, path, special_file, utf8_text, whole_number
from tuner.errors import UsageError
from tuner.retrain.request import parse_seeds

Command = Callable[..., tuple[int, str]]


def parameters() -> list[tuple[str, Any]]:
    """All parameters of all commands, with their commands."""
    program: Any = typer.main.get_command(cli.app)
    return [(name, parameter) for name, command in program.commands.items() for parameter in command.params]


def test_every_parameter_that_takes_a_value_is_of_a_known_kind() -> None:
    free = [
        f"{name} {parameter.name}"
        for name, parameter in parameters()
        if not getattr(parameter, "is_flag", False)
        and parameter.type_descriptor.choices is None
        and parameter.type_descriptor.parameter_info.parser is None
    ]
    assert free == []


def test_no_help_is_read_as_markup() -> None:
    assert [parameter.name for _, parameter in parameters() if re.search(r"\[[a-z/]", parameter.help or "")] == []


@pytest.mark.parametrize("given", ["0", "0.25", "1e3", "1000000000", 3])
def test_fractions_that_can_be(given: object) -> None:
    assert fraction()(given) == float(str(given))


@pytest.mark.parametrize("given", ["inf", "-inf", "nan", "1e308", "-1", "1e10", "", "x", "9" * 5000, "[/red]"])
def test_numbers_that_cannot_be(given: str) -> None:
    for kind in (fraction(), whole_number(0)):
        with pytest.raises(typer.BadParameter, match=r"must be a .*number from 0 to 1,000,000,000, but got"):
            kind(given)


@pytest.mark.parametrize("given", ["1.5", "1e3", "1_000", "٣", "0x10", " ", str(MOST + 1)])
def test_whole_numbers_that_cannot_be(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="whole number from 1"):
        whole_number(1)(given)


@pytest.mark.parametrize("given", ["", "  ", "a\0b", "\udc80"])
def test_text_that_cannot_be(given: str) -> None:
    for kind in (utf8_text, path):
        with pytest.raises(typer.BadParameter):
            kind(given)


def test_a_path_is_a_file_or_a_folder_or_nothing_yet(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert path(str(tmp_path)) == tmp_path
    assert path(tmp_path / "none") == tmp_path / "none"
    assert special_file(tmp_path / ("x" * 300)) is None  # told where it is used
    for name, kind in ((tmp_path / "fifo", "a pipe"), (Path("/dev/null"), "a device")):
        with pytest.raises(typer.BadParameter, match=kind):
            path(str(name))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("launch", "--space", "wd_maxnorm", "--cache-gb", "inf"), 2),
        (("launch", "--space", "wd_maxnorm", "--cache-gb", "1e308"), 2),
        (("launch", "--space", "wd_maxnorm", "--gpus-per-trial", "nan"), 2),
        (("launch", "--space", "wd_maxnorm", "-j", "9" * 30), 2),
        (("cache", "--trim-gb", "inf"), 2),
        (("cache", "--clear", ""), 2),
        (("train", "best.yaml", "--seeds", "99999999999999999999999"), 2),
        (("train", "best.yaml", "--seeds", "0"), 3),
        (("export", "kept", "--baseline", "../../x"), 2),
        (("export", "kept", "--trial", "9" * 30), 2),
        (("status", "--home", "~nobody-at-all/x"), 2),
        (("status", "--home", ""), 2),
        (("status", "\udc80"), 2),
        (("check", "/dev/zero"), 3),
        (("train", "/dev/zero"), 2),
        (("predict", "/dev/zero", "x.png"), 2),
        (("train", "x" * 300), 1),
        (("predict", "x" * 300, "x.png"), 1),
    ],
    ids=lambda value: " ".join(value)[:60] if isinstance(value, tuple) else None,
)
def test_an_odd_option_ends_in_words(
    kept_home: Path, command: Command, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(kept_home.parent)
    assert command(*arguments)[0] == code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("check", "huge.yaml"), 2), (("train", "huge.yaml"), 2), (("predict", "huge.yaml", "huge.yaml"), 1)],
    ids=str,
)
def test_a_file_of_a_terabyte_is_not_read_to_its_end(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], code: int
) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("huge.yaml").open("wb") as file:
        file.truncate(2**40)  # a hole
    assert command(*arguments)[0] == code


@pytest.mark.parametrize("seeds", ["9" * 19, "9" * 5000, "0,0", "-1", "", "1,,2", "x"])
def test_seeds_that_cannot_be(seeds: str) -> None:
    with pytest.raises(UsageError, match="different whole numbers from 0") as caught:
        parse_seeds(seeds)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("digits", [19, 400, 5000])
def test_a_setting_of_too_many_digits_is_a_configuration_that_cannot_be(digits: int) -> None:
    for name in ("stage1.seed", "stage1.lr", "stage1.epochs"):
        with pytest.raises(ConfigError, match="at most 18 digits"):
            TrialConfig.from_flat({name: 10**digits})
    assert math.isfinite(float(str(TrialConfig.from_flat({"stage1.seed": 10**17}).stage1.seed)))
