"""YAML 1.2, core schema."""

import math

import pytest

from search_spaces.scalars import scalar
from trainers.config import Scalar


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), (".5", 0.5), ("5.", 5.0), ("-0.25", -0.25), ("+3", 3), ("010", 10),
        ("0x1F", 31), ("0o17", 15), ("true", True), ("False", False), ("null", None), ("~", None), ("", None),
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("1_000", "1_000"), ("2001-01-01", "2001-01-01"),
        ("12:30", "12:30"), ("1e", "1e"), (".", "."), ("-", "-"), ("0x", "0x"), ("١", "١"), (".inf", math.inf),
        ("-.INF", -math.inf), ("1e999", math.inf),
    ],
)  # fmt: skip
def test_plain_words(text: str, value: Scalar) -> None:
    read = scalar(text)
    assert read == value
    assert type(read) is type(value)


def test_not_a_number_is_one() -> None:
    assert math.isnan(scalar(".nan"))  # type: ignore[arg-type]


def test_integers_fit_a_database() -> None:
    assert scalar("9" * 18) == 10**18 - 1
    with pytest.raises(ValueError, match="at most 18 digits"):
        scalar("9" * 5000)
