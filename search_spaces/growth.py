"""What a space has more than another one: ranges that are wider, choices and start points that were added.

A study may go on with a space that holds every configuration of the one before. Else each reason is told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeGuard

from search_spaces.geometry import in_words
from search_spaces.parameters import Choices, Range
from search_spaces.space import Space
from trainers.config import SETTINGS

_STAGES = ("stage1", "stage2")

Form = Range[Any] | Choices[Any]


@dataclass(frozen=True)
class Change:
    """One setting that has more values, in words; or the start points."""

    name: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.name}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class Growth:
    """How a space differs from the one before. It may follow it if something `grew` and nothing is `refused`."""

    grew: tuple[Change, ...]
    refused: tuple[str, ...]  # a reason each, which names the setting

    @property
    def allowed(self) -> bool:
        """True if the space holds every configuration of the one before, and more."""
        return bool(self.grew) and not self.refused


def compare(old: Space, new: Space) -> Growth:
    """Compares a study's space with the one that it is to go on with; name, budget and refinement do not count."""
    grew, refused = list[Change](), list(_other_blocks(old, new))
    for name in (name for name in SETTINGS if name.startswith(_STAGES)):
        complaint = _complaint(old, new, name)
        if complaint is not None:
            refused.append(f"{name} {complaint}")
        elif not _same(_form(old, name), _form(new, name)):
            grew.append(Change(name, _told(old, name), _told(new, name)))
    added = new.start[len(old.start) :]
    if new.start[: len(old.start)] != old.start:
        refused.append("start must keep the study's points first; add points after them")
    elif added:
        grew.append(Change("start", _points(old.start), f"{_points(new.start)}, with {_listed(added)}"))
    return Growth(tuple(grew), tuple(refused))


def _other_blocks(old: Space, new: Space) -> Iterator[str]:
    """Task, objective, sampler, baselines: a study keeps them."""
    before, after = old.meaning(), new.meaning()
    for key in dict.fromkeys([*before, *after]):
        ours, theirs = before.get(key), after.get(key)
        if key in (*_STAGES, "start") or ours == theirs:
            continue
        if isinstance(ours, dict) and isinstance(theirs, dict):
            for name in dict.fromkeys([*ours, *theirs]):
                yield from _unlike(f"{key}.{name}", ours.get(name), theirs.get(name))
        else:
            yield from _unlike(key, ours, theirs)


def _unlike(name: str, ours: object, theirs: object) -> Iterator[str]:
    default = SETTINGS[name].default if name in SETTINGS else None
    before, after = (default if value is None else value for value in (ours, theirs))
    if before != after:
        yield f"{name} is {_value(before)} in the study, not {_value(after)}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "an empty list"
    return "not set" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _complaint(old: Space, new: Space, name: str) -> str | None:
    """Why the setting may not change like this; None if it may, or did not."""
    ours, theirs = _form(old, name), _form(new, name)
    if not _is_searched(theirs):
        if _is_searched(ours):
            return f"is searched in the study ({_told(old, name)}), and cannot be fixed at {theirs}"
        return None if ours == theirs else f"is {ours} in the study, and cannot become {theirs}"
    return _altered(old, ours, theirs) if _is_searched(ours) else _newly_searched(old, name, ours, theirs)


def _altered(old: Space, ours: Form, theirs: Form) -> str | None:
    if not _same_condition(old, ours, theirs):
        return "exists under another condition (when) than in the study"
    if isinstance(ours, Choices):
        return _fewer_choices(ours, theirs) or _other_prior(ours, theirs)
    if isinstance(theirs, Choices):
        return "is a range in the study, and cannot become choices"
    return _narrower(ours, theirs)


def _newly_searched(old: Space, name: str, value: Any, theirs: Form) -> str | None:
    """For a setting that was fixed: the value stays possible, where the setting exists and where it does not."""
    exists = [_allowed(theirs, parent, old) for parent in theirs.when]
    everywhere = all(allowed == _values(old, parent) for allowed, parent in zip(exists, theirs.when, strict=True))
    if all(exists) and not _holds(theirs, value):
        return f"is {value} in the study, and the new {_kind(theirs)} must hold that value"
    if not everywhere and value != SETTINGS[name].default:
        return f"is {value} in the study, which its new condition (when) would leave out"
    return None


def _fewer_choices(ours: Choices[Any], theirs: Form) -> str | None:
    if not isinstance(theirs, Choices):
        return "has choices in the study, and cannot become a range"
    missing = [choice for choice in ours.choices if choice not in theirs.choices]
    return f"has the choice {missing[0]} in the study, which must stay" if missing else None


def _other_prior(ours: Form, theirs: Form) -> str | None:
    return None if ours.prior == theirs.prior else "has another prior in the study, which must stay"


def _narrower(ours: Range[Any], theirs: Range[Any]) -> str | None:
    if theirs.low > ours.low:
        return f"begins at {ours.low:g} in the study, and low cannot rise to {theirs.low:g}"
    if theirs.high < ours.high:
        return f"ends at {ours.high:g} in the study, and high cannot fall to {theirs.high:g}"
    if ours.log != theirs.log:
        return f"is {'' if ours.log else 'not '}logarithmic in the study, and log cannot be switched"
    if not _on_grid(ours, theirs):
        return f"would leave out values of the study with step {theirs.step:g} from {theirs.low:g}"
    other = [field for field in type(ours).model_fields if field not in ("low", "high", "log", "step", "when")]
    changed = [field for field in other if getattr(ours, field) != getattr(theirs, field)]
    return f"has another {changed[0]} in the study, which must stay" if changed else None


def _on_grid(ours: Range[Any], theirs: Range[Any]) -> bool:
    """True if every value of the old range is one of the new."""
    if theirs.step is None or (isinstance(theirs.step, int) and theirs.step == 1):
        return True
    low, begin, step = (Fraction(str(number)) for number in (ours.low, theirs.low, theirs.step))
    own = ours.step if ours.step is not None else 1 if isinstance(ours.low, int) else None
    return own is not None and (low - begin) % step == 0 and Fraction(str(own)) % step == 0


def _holds(form: Form, value: Any) -> bool:
    if isinstance(form, Choices):
        return value in form.choices
    if isinstance(value, bool | str | None) or not form.low <= value <= form.high:
        return False
    step = form.step
    return step is None or (Fraction(str(value)) - Fraction(str(form.low))) % Fraction(str(step)) == 0


def _same(ours: Any, theirs: Any) -> bool:
    """True if both hold the same values; the order of choices does not count."""
    if not (_is_searched(ours) and _is_searched(theirs)):
        return bool(ours == theirs) and _is_searched(ours) == _is_searched(theirs)
    if ours.when != theirs.when:
        return False
    if isinstance(ours, Choices) and isinstance(theirs, Choices):
        return len(ours.choices) == len(theirs.choices)  # none is missing: `_complaint`
    return ours.distribution() == theirs.distribution()


def _same_condition(old: Space, ours: Form, theirs: Form) -> bool:
    """True if the parameter exists for the same configurations of the old space; new choices of a parent are free."""
    parents = dict.fromkeys([*ours.when, *theirs.when])
    return all(_allowed(ours, parent, old) == _allowed(theirs, parent, old) for parent in parents)


def _allowed(form: Form, parent: str, old: Space) -> list[Any]:
    """The values of a parent in the old space with which the parameter exists."""
    values = _values(old, parent)
    return [value for value in values if value in form.when[parent]] if parent in form.when else values


def _values(space: Space, name: str) -> list[Any]:
    """All values of a parent, which is fixed or has choices."""
    form = _form(space, name)
    return list(form.choices) if isinstance(form, Choices) else [form]


def _form(space: Space, name: str) -> Any:
    """Range, choices or value, which may be the default."""
    part, _, field = name.partition(".")
    return getattr(getattr(space, part), field)


def _is_searched(form: object) -> TypeGuard[Form]:
    return isinstance(form, Range | Choices)


def _kind(form: Form) -> str:
    return "range" if isinstance(form, Range) else "choices"


def _told(space: Space, name: str) -> str:
    form = _form(space, name)
    if not _is_searched(form):
        return str(form)
    conditions = [f"{parent} is {' or '.join(map(str, allowed))}" for parent, allowed in form.when.items()]
    return f"{in_words(form.distribution())}{', when ' + ' and '.join(conditions) if conditions else ''}"


def _points(points: tuple[Any, ...]) -> str:
    return f"{len(points)} point{'' if len(points) == 1 else 's'}"


def _listed(points: tuple[Any, ...]) -> str:
    return "; ".join(
        ", ".join(f"{name} {value}" for name, value in point.items()) or "an empty point" for point in points
    )
