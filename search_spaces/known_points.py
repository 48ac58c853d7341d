"""Points that somebody gives to a study: their values against its space."""

from __future__ import annotations

from collections.abc import Mapping

from search_spaces import geometry
from search_spaces.document import parse
from search_spaces.problems import shown
from search_spaces.relations import point_complaint
from search_spaces.space import Space
from trainers.config import SETTINGS, Scalar


def fitted(space: Space, values: Mapping[str, object]) -> tuple[dict[str, Scalar], dict[str, str]]:
    """The searched parameters among the values, in the types of their ranges; and what is wrong, by name.

    A setting that the space fixes may be named with its own value, and is left out.
    """
    root, _ = parse(space.to_yaml(), file=space.name)
    point: dict[str, Scalar] = {}
    wrong: dict[str, str] = {}
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str | None):
            wrong[name] = f"must be one value, but got {shown(value)}"
            continue
        complaint = point_complaint(root, name, value) or _fixed(space, name, value) or _unmet(space, name, values)
        if complaint:
            wrong[name] = complaint
        else:
            point[name] = value
    return {name: geometry.typed(d, point[name]) for name, d in space.searched.items() if name in point}, wrong


def _fixed(space: Space, name: str, value: Scalar) -> str | None:
    """A complaint if the space fixes the setting at another value."""
    if name in space.searched:
        return None
    fixed = space.fixed.get(name, SETTINGS[name].default)
    same = fixed == value and isinstance(fixed, bool) == isinstance(value, bool)
    return None if same else f"is fixed at {shown(fixed)} in this study, but got {shown(value)}"


def _unmet(space: Space, name: str, values: Mapping[str, object]) -> str | None:
    """A complaint if the point's own values, or fixed ones, exclude the parameter."""
    known = {**space.fixed, **values}
    for parent, allowed in space.conditions.get(name, {}).items():
        if parent in known and known[parent] not in allowed:
            return f"exists only with {parent}: {' or '.join(map(str, allowed))}, but got {shown(known[parent])}"
    return None
