"""Plain YAML words as values, by the YAML 1.2 core schema: `1e-3` is a number, `no` a string, `010` ten."""

from __future__ import annotations

import re

from trainers.config import Scalar


def scalar(text: str) -> Scalar:
    """A plain scalar by the YAML 1.2 core schema (its section 10.3.2). Raises ValueError for a huge integer."""
    if text in _VALUES_OF_WORDS:
        return _VALUES_OF_WORDS[text]
    if match := _INTEGER.fullmatch(text):
        if len(text) > _LONGEST_INTEGER:
            raise ValueError("an integer has at most 18 digits")
        base = 8 if match["octal"] else 16 if match["hexadecimal"] else 10
        return int(match["octal"] or match["hexadecimal"] or text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if match := _INF_OR_NAN.fullmatch(text):
        return float((match["sign"] or "") + ("inf" if match["inf"] else "nan"))
    return text


_VALUES_OF_WORDS: dict[str, Scalar] = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?[0-9]+|0o(?P<octal>[0-7]+)|0x(?P<hexadecimal>[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INF_OR_NAN = re.compile(r"(?P<sign>[-+])?(?P<inf>\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN")
_LONGEST_INTEGER = 18  # always below 2**63
