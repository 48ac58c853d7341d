"""Search spaces: from YAML to a checked `Space`, or every mistake with its place. Shipped spaces are in this folder.

Names are imported on first use, so that `import search_spaces` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search_spaces.editor_schema import json_schema
    from search_spaces.growth import Change, Growth, compare
    from search_spaces.loader import load, loads, shipped
    from search_spaces.problems import Problem, SpaceError, SpaceNotFoundError
    from search_spaces.schema import Budget, Refine, Sampler
    from search_spaces.space import Space

__all__ = [
    "Budget",
    "Change",
    "Growth",
    "Problem",
    "Refine",
    "Sampler",
    "Space",
    "SpaceError",
    "SpaceNotFoundError",
    "compare",
    "json_schema",
    "load",
    "loads",
    "shipped",
]

_HOMES = {
    "Budget": "schema",
    "Change": "growth",
    "Growth": "growth",
    "Problem": "problems",
    "Refine": "schema",
    "Sampler": "schema",
    "Space": "space",
    "SpaceError": "problems",
    "SpaceNotFoundError": "problems",
    "compare": "growth",
    "json_schema": "editor_schema",
    "load": "loader",
    "loads": "loader",
    "shipped": "loader",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
