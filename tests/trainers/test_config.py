"""The catalogue of settings: whole, and the only place outside the losses that a new loss touches."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from trainers.config import (
    LOSS_OPTIONS,
    READ_BY_LOSS,
    READ_BY_METHOD,
    SETTINGS,
    LossName,
    Method,
    Setting,
    TrialConfig,
    checked,
)
from trainers.errors import ConfigError

ROOT = Path(__file__).parents[2]


def test_what_each_loss_and_method_reads_is_said_and_is_a_setting() -> None:
    assert tuple(READ_BY_LOSS) == get_args(LossName)
    assert tuple(READ_BY_METHOD) == get_args(Method)
    assert all(f"{stage}.{option}" in SETTINGS for stage in ("stage1", "stage2") for option in LOSS_OPTIONS)
    assert all(f"stage2.{name}" in SETTINGS for read in READ_BY_METHOD.values() for name in read)


def test_every_default_is_in_its_domain_and_in_its_type() -> None:
    flat = TrialConfig().to_flat()
    assert list(flat) == list(SETTINGS)
    for name, value in flat.items():
        assert (checked(name, value), type(checked(name, value))) == (value, type(value))
        assert SETTINGS[name].default == value


def test_a_setting_says_what_it_may_be() -> None:
    loss, drw = SETTINGS["stage1.loss"], SETTINGS["stage1.drw"]
    assert (loss.kind, loss.choices, loss.optional, loss.bounds) == (str, get_args(LossName), False, None)
    assert isinstance(drw, Setting)
    assert (drw.kind, drw.optional, drw.default) == (float, True, None)
    assert drw.meaning == "Fraction of the epochs after which class-balanced weights start."
    assert SETTINGS["task.pretrained"].kind is bool


@pytest.mark.parametrize(
    ("key", "value", "rule"),
    [
        ("stage1.lr", 0, "must be greater than 0, but got 0.0"),
        ("stage1.weight_decay", -1, "must not be negative, but got -1.0"),
        ("stage2.momentum", 1, r"must be in \[0, 1\), but got 1.0"),
        ("stage1.drw", 2, r"is a fraction of the epochs, so in \[0, 1\], but got 2.0"),
        ("task.imbalance_factor", 0.5, "is the largest class over the smallest, so at least 1, but got 0.5"),
        ("stage1.epochs", 1.5, "must be int, but got 1.5"),
        ("stage1.gamma", "x", "must be float or none, but got 'x'"),
        ("task.pretrained", 1, "must be bool, but got 1"),
        ("stage1.tau", True, "must be float, but got True"),
        ("stage1.tau", float("inf"), "must be finite, but got inf"),
        ("stage2.method", "ctr", "must be one of weight_balancing, crt, .*, but got 'ctr'; did you mean 'crt'?"),
    ],
)
def test_a_value_outside_is_refused_with_the_rule(key: str, value: object, rule: str) -> None:
    with pytest.raises(ConfigError, match=f"{key}: {rule}".replace("'crt'?", r"'crt'\?")):
        checked(key, value)


@pytest.mark.parametrize("loss", ["cb_bce_softmax", "cb_sigmoid", "cb_focal", "logit_adjusted"])
def test_no_other_source_names_a_loss(loss: str) -> None:
    packages = ("search_spaces", "studies", "trainers", "tuner")
    named = [path for package in packages for path in (ROOT / package).rglob("*.py") if f'"{loss}"' in path.read_text()]
    assert {str(path.relative_to(ROOT)) for path in named} <= {"trainers/config.py", "trainers/losses.py"}
