"""Checks between parts of a space: conditions, and samplers that need finite spaces.

Works on the parsed text, not on the checked space, so that these mistakes are reported with all others.
"""

from __future__ import annotations

import graphlib
from collections.abc import Iterator
from typing import Any, TypeGuard

from pydantic import ValidationError

from search_spaces import wording
from search_spaces.document import Node
from search_spaces.problems import Problem, did_you_mean, nearest, shown
from trainers.config import FLAT_NAMES, SETTINGS

_STAGES = ("stage1", "stage2")
FULL = "stage1.epochs"  # the length of the full schedule
_OFF_STEP = 1e-6  # of a step: rounding


def problems(root: Node) -> list[Problem]:
    """Finds mistakes in conditions, in start points and in lengths of schedules, and grids over continuous ranges."""
    conditions = list(_conditions(root))
    found = [problem for owner, entry in conditions for problem in _condition(root, owner, entry)]
    found += [*_circle(conditions), *_grids(root), *_start_points(root), *_fidelity(root), *_confirm(root)]
    return found


def _searched(root: Node, stage: str) -> Iterator[tuple[str, Node]]:
    """Dotted name and mapping of each range and each list of choices in the stage."""
    block = root.child(stage)
    for name, entry in block.entries.items() if block else ():
        if isinstance(entry.node.value, dict):
            yield f"{stage}.{name}", entry.node


def _conditions(root: Node) -> Iterator[tuple[str, Node]]:
    for stage in _STAGES:
        for owner, form in _searched(root, stage):
            when = form.child("when")
            if when:
                yield owner, when


def _condition(root: Node, owner: str, when: Node) -> Iterator[Problem]:
    for parent, entry in when.entries.items():
        complaint = _parent_complaint(root, owner, parent)
        if complaint:
            yield entry.mark.problem(f"{owner}.when", complaint)
            continue
        values = entry.node.value if isinstance(entry.node.value, list) else [entry.node]
        if not values:
            yield entry.node.mark.problem(f"{owner}.when.{parent}", "must hold at least one value")
        for value in values:
            complaint = _value_complaint(root, parent, value)
            if complaint:
                yield value.mark.problem(f"{owner}.when.{parent}", complaint)


def _parent_complaint(root: Node, owner: str, parent: str) -> str | None:
    if parent not in FLAT_NAMES:
        hint = did_you_mean(parent, FLAT_NAMES) if "." in parent else _nearly(parent)
        return f"unknown parameter {shown(parent)}{hint}"
    if owner == parent:
        return "a parameter cannot depend on itself"
    if owner.startswith("stage1.") and parent.startswith("stage2."):
        return f"stage 1 is trained before stage 2, so {owner} cannot depend on {parent}"
    form = _value_of(root, parent)
    if isinstance(form, dict) and "choices" not in form:
        return f"{parent} is a range; a condition needs choices or a fixed value"
    return None


def _nearly(name: str) -> str:
    """A hint for a misspelt name without its section."""
    meant = nearest(name, dict.fromkeys(known.partition(".")[2] for known in FLAT_NAMES))
    named = [known for known in FLAT_NAMES if known.partition(".")[2] == meant]
    return f"; did you mean {' or '.join(map(repr, named))}?" if named else ""


def _value_complaint(root: Node, parent: str, value: Node) -> str | None:
    if isinstance(value.value, dict | list):
        return f"must be a value of {parent}, or a list of such, but got {shown(value.value)}"
    form = _value_of(root, parent)
    if isinstance(form, dict) and isinstance(form["choices"], list):
        choices = form["choices"]
        if value.value in choices:
            return None
        named = [choice for choice in choices if isinstance(choice, str)]
        hint = did_you_mean(value.value, named) if isinstance(value.value, str) else ""
        return f"{parent} is never {shown(value.value)}{hint or '; it must be one of its choices'}"
    part, _, field = parent.partition(".")
    try:
        wording.SECTIONS[(part,)].model_validate({field: value.value})
    except ValidationError as error:
        return wording.rule(error, field)
    return None


def _value_of(root: Node, name: str) -> Any:
    """The value in the text, or the default."""
    part, _, field = name.partition(".")
    block = root.child(part)
    written = block.child(field) if block else None
    return written.plain() if written else SETTINGS[name].default


def _circle(conditions: list[tuple[str, Node]]) -> Iterator[Problem]:
    graph = {owner: [parent for parent in when.entries if parent != owner] for owner, when in conditions}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        circle = error.args[1][::-1]
        mark = next(when.mark for owner, when in conditions if owner in circle)
        yield mark.problem(f"{circle[0]}.when", f"depends on itself: {' -> '.join(circle)}")


def _grids(root: Node) -> Iterator[Problem]:
    sampler = root.child("sampler")
    for stage in _STAGES:
        chosen = sampler.child(stage) if sampler else None
        if chosen and chosen.value == "grid":
            endless = [name for name, form in _searched(root, stage) if _is_continuous(name, form)]
            if endless:
                text = f"grid needs steps or choices, but {', '.join(endless)} can take any value in between"
                yield chosen.mark.problem(f"sampler.{stage}", text)


def _start_points(root: Node) -> Iterator[Problem]:
    """Start points with unknown names, and with values that the space does not search."""
    start = root.child("start")
    points = start.value if start and isinstance(start.value, list) else [start] if start else []
    for index, point in enumerate(points):
        if not isinstance(point.value, dict) or point is start:
            yield point.mark.problem("start", "must be a list of points such as [{stage1.lr: 0.01}]")
        for name, entry in point.entries.items():
            way_out = "; widen the range, or drop all points with start: []"
            complaint = point_complaint(root, name, entry.node.value, way_out=way_out)
            if complaint:
                yield entry.mark.problem(f"start.{index}.{name}", complaint)


def _fidelity(root: Node) -> Iterator[Problem]:
    """Lengths of schedules that do not end at the full one, and settings that do not go with them."""
    block, budget = root.child("fidelity"), root.child("budget")
    limit = budget.child("epochs") if budget else None
    if block is None or not isinstance(block.value, dict):
        if limit and limit.value is not None:
            text = "counts epochs of schedules that differ, so it needs fidelity; write backbones"
            yield limit.mark.problem("budget.epochs", text)
        return
    listed = block.child("epochs")
    lengths = listed.plain() if listed else None
    if listed is None or not (isinstance(lengths, list) and lengths and all(map(_is_number, lengths))):
        return
    full = _value_of(root, FULL)
    if full != lengths[-1]:
        text = f"the last length must be {FULL} ({shown(full)}), a fixed number, but is {shown(lengths[-1])}"
        yield listed.mark.problem("fidelity.epochs", text)
    if limit and limit.value is not None and budget and budget.child("backbones"):
        yield limit.mark.problem("budget.epochs", "stands beside budget.backbones; the size is said by one of them")
    if limit and _is_number(limit.value) and limit.value < lengths[-1]:
        text = f"must hold one full schedule at least ({lengths[-1]}), but got {limit.value}"
        yield limit.mark.problem("budget.epochs", text)
    sampler = root.child("sampler")
    chosen = sampler.child("stage1") if sampler else None
    if chosen and chosen.value != "gp":
        text = f"fidelity needs gp, which learns from all lengths, but got {shown(chosen.value)}"
        yield chosen.mark.problem("sampler.stage1", text)


def point_complaint(root: Node, name: str, value: object, *, way_out: str = "") -> str | None:
    """What is wrong with one value of a known point, outside its range with the `way_out`.

    Says nothing of settings that the space fixes.
    """
    if name not in FLAT_NAMES:
        hint = did_you_mean(name, FLAT_NAMES) if "." in name else _nearly(name)
        return f"unknown parameter {shown(name)}{hint}"
    if name.startswith("task."):
        return "a point holds settings of stage1 and stage2; the task is the same for the whole study"
    form = _value_of(root, name)
    if not isinstance(form, dict):
        return None  # in a start point perhaps by --set: its other values still count
    if isinstance(form.get("choices"), list):
        choices = ", ".join(one if isinstance(one, str) else shown(one) for one in form["choices"])
        return None if value in form["choices"] else f"{shown(value)} is not among its choices: {choices}"
    if SETTINGS[name].kind is int and isinstance(value, float) and not value.is_integer():
        return f"must be a whole number, but got {shown(value)}"
    return _outside(form, value, way_out=way_out)


def _outside(form: dict[str, Any], found: object, *, way_out: str) -> str | None:
    """A complaint if a range does not hold the value."""
    low, high, step = form.get("low"), form.get("high"), form.get("step")
    if not (_is_number(low) and _is_number(high)):
        return None  # the range itself is wrong
    if not _is_number(found):
        return f"must be a number in the range {low:g} to {high:g}, but got {shown(found)}"
    if not low <= found <= high:
        return f"{found:g} is outside the range {low:g} to {high:g}{way_out}"
    if _is_number(step) and step > 0 and abs((found - low) / step - round((found - low) / step)) > _OFF_STEP:
        return f"{found:g} is none of the steps of {step:g} from {low:g}"
    return None


def _is_number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _confirm(root: Node) -> Iterator[Problem]:
    """Runs with other seeds are compared by one mean."""
    block, objective = root.child("confirm"), root.child("objective")
    if block and block.value is not None and objective and isinstance(objective.value, list):
        text = "compares means of one objective, but this space has several; write one, or leave out confirm"
        yield block.mark.problem("confirm", text)


def _is_continuous(name: str, form: Node) -> bool:
    number = name in SETTINGS and SETTINGS[name].kind is float
    return number and form.child("low") is not None and form.child("step") is None
