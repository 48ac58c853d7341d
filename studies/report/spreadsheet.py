"""CSV cells that a spreadsheet shows but does not run."""

from __future__ import annotations

import re

from trainers.config import Scalar

_NUMBER_CELL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_FORMULA = re.compile(
    r"[\s\u200b-\u200f\u2060\ufeff\x00-\x1f]*[=+\-@＝＋－＠]"
)  # spreadsheets skip invisible characters
_CONTROLS = ("\t", "\r", "\n")


def guarded(value: Scalar) -> Scalar:
    """The value, with an apostrophe before text that a spreadsheet would run as a formula; numbers stay numbers."""
    if not isinstance(value, str) or _NUMBER_CELL.fullmatch(value):
        return value
    return f"'{value}" if value.startswith(_CONTROLS) or _FORMULA.match(value) else value
