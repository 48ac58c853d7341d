"""The schema is made from the trainer's catalogue: it accepts what the trainer accepts."""

from typing import Any

import pytest
from pydantic import ValidationError

from search_spaces.parameters import Choices, Range
from search_spaces.schema import Stage1
from search_spaces.wording import SECTIONS
from trainers.config import FLAT_NAMES, PARTS, SETTINGS, TrialConfig, checked
from trainers.errors import ConfigError

DEFAULTS = TrialConfig().to_flat()
PROBES: list[Any] = [
    -1, -0.5, 0, 0.0, 0.5, 0.999, 1, 1.0, 1.5, 2, 100, 1e2, 1e-9, 10**12, True, False, None, "x", "", "ce", "1",
    float("nan"), float("inf"), -float("inf"), [1], {}, (),
]  # fmt: skip


def accepted(name: str, value: Any) -> bool:
    part, _, field = name.partition(".")
    needed = {"dataset": "digits-lt"} if part == "task" else {}
    try:
        SECTIONS[(part,)].model_validate({**needed, field: value})
    except ValidationError:
        return False
    return True


def accepted_by_trainer(name: str, value: Any) -> bool:
    try:
        checked(name, value)
    except ConfigError:
        return False
    return True


def test_names_and_their_order_are_the_trainers() -> None:
    assert tuple(f"{part}.{name}" for part in PARTS for name in SECTIONS[(part,)].model_fields) == FLAT_NAMES


@pytest.mark.parametrize("name", FLAT_NAMES)
def test_default_is_the_trainers(name: str) -> None:
    part, _, field = name.partition(".")
    if name == "task.dataset":
        assert SECTIONS[(part,)].model_fields[field].is_required()  # a space says which data it is about
        return
    default = SECTIONS[(part,)].model_fields[field].default
    assert default == DEFAULTS[name]
    assert type(default) is type(DEFAULTS[name])


@pytest.mark.parametrize("name", FLAT_NAMES)
def test_a_fixed_value_is_accepted_exactly_where_the_trainer_accepts_it(name: str) -> None:
    for value in (*PROBES, *SETTINGS[name].choices):
        assert accepted(name, value) == accepted_by_trainer(name, value), f"{name}: {value!r}"


@pytest.mark.parametrize("name", [name for name in FLAT_NAMES if not name.startswith("task.")])
def test_bounds_and_choices_obey_the_rule_of_a_fixed_value(name: str) -> None:
    for value in (-1, 0, 0.5, 1, 2, "x", "ce", None, float("nan")):
        assert accepted(name, {"choices": [value]}) == accepted(name, value), f"{name}: {value!r}"
    if isinstance(DEFAULTS[name], str):
        assert not accepted(name, {"low": 1, "high": 2})
    else:
        assert accepted(name, {"low": -1, "high": 0.5}) == (accepted(name, -1) and accepted(name, 0.5))
        assert not accepted(name, {"low": None, "high": 0.5})


def test_whole_numbers_stay_whole() -> None:
    stage = Stage1.model_validate(
        {"epochs": 1e2, "batch_size": {"low": 32.0, "high": 64}, "seed": {"choices": [0.0, 1]}}
    )
    assert isinstance(stage.epochs, int)
    assert isinstance(stage.batch_size, Range)
    assert isinstance(stage.batch_size.low, int)
    assert isinstance(stage.seed, Choices)
    assert all(isinstance(seed, int) for seed in stage.seed.choices)
