"""Plain values -> canonical YAML 1.2 text: floats by repr, words bare where they are read back as words."""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel

from search_spaces.scalars import scalar

_BARE = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./-]*")


def plain_values(value: Any) -> Any:
    """A model as plain values, without the options of a range or of choices that have their defaults."""
    if isinstance(value, BaseModel):
        whole = not {"low", "choices"} & type(value).model_fields.keys()
        return {
            name: plain_values(getattr(value, name))
            for name, field in type(value).model_fields.items()
            if whole or getattr(value, name) != field.get_default(call_default_factory=True)
        }
    if isinstance(value, dict):
        alone = {name: isinstance(inner, tuple) and len(inner) == 1 for name, inner in value.items()}  # of a condition
        return {name: plain_values(inner[0] if alone[name] else inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain_values(inner) for inner in value]
    return value


def dump(tree: dict[str, Any]) -> str:
    """YAML with two levels as blocks, and deeper levels in flow style on one line."""
    lines: list[str] = []
    for key, value in tree.items():
        if isinstance(value, dict) and value:
            lines.append(f"{key}:")
            lines += [f"  {name}: {_flow(inner)}" for name, inner in value.items()]
        else:
            lines.append(f"{key}: {_flow(value)}")
    return "\n".join(lines) + "\n"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _string(value) if isinstance(value, str) else repr(value)


def _string(value: str) -> str:
    if _BARE.fullmatch(value) and isinstance(scalar(value), str):
        return value
    return '"' + "".join(_letter(letter) for letter in value) + '"'


def _letter(letter: str) -> str:
    if letter in '"\\':
        return "\\" + letter
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"
