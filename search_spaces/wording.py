"""Turns the schema's errors into problems with the file's words and places."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from search_spaces.document import Mark, Node
from search_spaces.objectives import Minimised
from search_spaces.parameters import CHOICES, FIXED, FORMS, ONE, RANGE, Choices, Range
from search_spaces.problems import Problem, did_you_mean, nearest, shown
from search_spaces.schema import Budget, Confirm, Refine, Sampler, Stage1, Stage2, Task
from search_spaces.space import Space
from trainers.config import FLAT_NAMES

Path = tuple[str | int, ...]
SECTIONS: dict[Path, type[BaseModel]] = {
    (): Space, ("task",): Task, ("stage1",): Stage1, ("stage2",): Stage2,
    ("budget",): Budget, ("sampler",): Sampler, ("refine",): Refine, ("confirm",): Confirm,
}  # fmt: skip

_OPTIONS: tuple[Path, ...] = (("budget",), ("sampler",), ("refine",), ("confirm",))
_OTHER_WORDS = {  # names in other tools and papers
    "min": "low", "max": "high", "lower": "low", "upper": "high", "q": "step",
    "values": "choices", "options": "choices", "choice": "choices", "distribution": "log", "type": "log",
    "imbalance_ratio": "imbalance_factor", "if": "imbalance_factor", "learning_rate": "lr", "wd": "weight_decay",
    "radius": "maxnorm_radius", "thresh": "maxnorm_radius", "objectives": "objective", "metric": "objective",
    "trials": "backbones", "heads": "heads_per_backbone", "timeout": "hours", "study": "name",
    "default": "prior", "belief": "prior",
}  # fmt: skip
_WHAT_TO_WRITE = {
    "version": "write version: 1",
    "name": "write the name of the study",
    "dataset": "write the name of a data set, such as digits-lt",
    "low": "a range is {low: ..., high: ...}",
    "high": "a range is {low: ..., high: ...}",
    "choices": "write {choices: [...]}",
}
# error types of this package, with their final text
_OWN_WORDS = {
    "range", "step", "distinct", "condition", "version", "several", "objectives", "prior", "ascending", "structure",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Mistake:
    """One finding: `path` without pydantic's tags, and the form of the parameter that it is in."""

    kind: str
    path: Path
    form: str | None
    value: Any
    context: Mapping[str, Any]
    text: str
    instead: str | None = None  # the key meant by an unknown one

    @property
    def key(self) -> str:
        return ".".join(part for part in self.path if isinstance(part, str))


def schema_problems(error: ValidationError, root: Node) -> list[Problem]:
    """One problem for each mistake in the file."""
    mistakes = [_mistake(details) for details in error.errors(include_url=False)]
    return [_mark_of(root, mistake).problem(mistake.key, _message(mistake)) for mistake in _merged(mistakes)]


def rule(error: ValidationError, field: str) -> str | None:
    """The problem of one field's value; None if it has none, whatever the other fields have."""
    for details in error.errors(include_url=False):
        if details["loc"][:1] == (field,):
            return _message(_mistake(details))
    return None


def _mistake(details: ErrorDetails) -> _Mistake:
    path = tuple(part for part in details["loc"] if part not in FORMS)
    forms = [part for part in details["loc"] if part in FORMS]
    mistake = _Mistake(
        kind=details["type"],
        path=path,
        form=str(forms[-1]) if forms else None,
        value=details["input"],
        context=details.get("ctx", {}),
        text=details["msg"],
    )
    return replace(mistake, instead=_meant(mistake)) if mistake.kind == "extra_forbidden" else mistake


def _merged(mistakes: list[_Mistake]) -> Iterable[_Mistake]:
    """Drops consequences of other mistakes: a misspelt key is not also missing."""
    meant = {(*mistake.path[:-1], mistake.instead) for mistake in mistakes if mistake.instead}
    kept = [mistake for mistake in mistakes if mistake.kind != "missing" or mistake.path not in meant]
    missing = {mistake.path for mistake in kept if mistake.kind == "missing"}
    for mistake in kept:
        parent = mistake.path[:-1]
        if mistake.kind == "missing" and {(*parent, "low"), (*parent, "high")} <= missing:
            if mistake.path[-1] == "low":
                yield replace(mistake, kind="formless", path=parent)
        else:
            yield mistake


def _mark_of(root: Node, mistake: _Mistake) -> Mark:
    """The place of an unknown key, of a missing key's parent, or else of the value."""
    node, mark = root, root.mark
    for part in mistake.path:
        if isinstance(node.value, dict) and part in node.value:
            entry = node.value[str(part)]
            node, mark = entry.node, entry.mark
        elif isinstance(node.value, list) and isinstance(part, int):
            node = node.value[part]
            mark = node.mark
    return mark if mistake.kind in ("extra_forbidden", "missing") else node.mark


def _message(mistake: _Mistake) -> str:
    if mistake.kind in _OWN_WORDS:
        return mistake.text
    if mistake.kind == "missing":
        return f"is missing; {_WHAT_TO_WRITE.get(str(mistake.path[-1]), 'write it')}"
    if mistake.kind == "formless":
        return "is neither a range {low: ..., high: ...} nor {choices: [...]}"
    if mistake.kind == "extra_forbidden":
        return f"unknown key {shown(mistake.path[-1])}{_instead(mistake)}"
    must = _RULES_BY_KIND.get(mistake.kind)
    return f"{must(mistake.context) if must else 'cannot be used'}, but got {shown(mistake.value)}{_hint(mistake)}"


_Rule = Callable[[Mapping[str, Any]], str]
_RULES_BY_KIND: dict[str, _Rule] = {
    "float_type": lambda _: "must be a number",
    "int_type": lambda _: "must be a whole number",
    "string_type": lambda _: "must be text",
    "bool_type": lambda _: "must be true or false",
    "list_type": lambda _: "must be a list",
    "tuple_type": lambda _: "must be a list",
    "model_type": lambda _: "must be a mapping of keys and values",
    "finite_number": lambda _: "must be finite",
    "greater_than": lambda context: f"must be greater than {context['gt']:g}",
    "greater_than_equal": lambda context: (
        f"must be at least {context['ge']:g}" if context["ge"] else "must not be negative"
    ),
    "less_than": lambda context: f"must be less than {context['lt']:g}",
    "less_than_equal": lambda context: f"must be at most {context['le']:g}",
    "literal_error": lambda context: f"must be one of {', '.join(_allowed(context))}",
    "too_short": lambda _: "must hold at least one value",
    "string_pattern_mismatch": lambda _: (
        "must be 1 to 64 letters, digits, '_', '.' or '-', and begin with a letter or digit"
    ),
}


def _hint(mistake: _Mistake) -> str:
    if isinstance(mistake.value, dict | list):
        return _form_hint(mistake)
    if isinstance(mistake.value, str):
        return _word_hint(mistake, mistake.value)
    return "; put it in quotes" if mistake.kind == "string_type" and mistake.value is not None else ""


def _form_hint(mistake: _Mistake) -> str:
    """A hint for a mapping or a list in place of one value."""
    if mistake.path[:1] == ("task",):
        return "; the task is the same for a whole study"
    if mistake.form != FIXED:
        return ""
    if isinstance(mistake.value, dict):
        return "; it has no order, hence no range: write one value or {choices: [...]}"
    return "; write {choices: [...]}"


def _word_hint(mistake: _Mistake, word: str) -> str:
    """A hint for a nearly correct text."""
    if mistake.key == "objective" and word.startswith("test."):
        return "; test data is read once, at the end, and never chooses"
    if mistake.form == ONE and word in get_args(Minimised):
        return f"; what is minimised stands behind an accuracy: [val.balanced_accuracy, {word}]"
    if mistake.kind == "literal_error":
        return did_you_mean(word, _allowed(mistake.context))
    if mistake.kind in ("float_type", "int_type") and _QUOTED_NUMBER.fullmatch(word):
        return "; leave out the quotes"
    if mistake.kind == "bool_type" and word.lower() in _SWITCHES:
        return f"; did you mean {_SWITCHES[word.lower()]}?"
    return ""


_SWITCHES = {"yes": "true", "on": "true", "no": "false", "off": "false"}
_QUOTED_NUMBER = re.compile(r"[-+]?[0-9.]+([eE][-+]?[0-9]+)?")


def _allowed(context: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", str(context.get("expected", ""))) or [str(context.get("expected", ""))]


def _siblings(mistake: _Mistake) -> list[str]:
    """The known keys in the place of an unknown one."""
    form: dict[str | None, type[BaseModel]] = {RANGE: Range, CHOICES: Choices}
    return list(SECTIONS.get(mistake.path[:-1], form.get(mistake.form, Space)).model_fields)


def _elsewhere(mistake: _Mistake) -> list[str]:
    """Parameters and options with this name in another section."""
    options = [f"{path[0]}.{name}" for path in _OPTIONS for name in SECTIONS[path].model_fields]
    known = [*FLAT_NAMES, *options]
    return [name for name in known if name.partition(".")[2] == mistake.path[-1]] if mistake.form is None else []


def _meant(mistake: _Mistake) -> str | None:
    key, siblings = str(mistake.path[-1]), _siblings(mistake)
    other = _OTHER_WORDS.get(key.lower())
    if other in siblings:
        return other
    return None if _elsewhere(mistake) else nearest(key, siblings)


def _instead(mistake: _Mistake) -> str:
    names = [mistake.instead] if mistake.instead else _elsewhere(mistake)
    if names:
        return f"; did you mean {' or '.join(map(repr, names))}?"
    siblings = _siblings(mistake)
    return f"; known here: {', '.join(siblings)}" if len(siblings) < _FEW_ENOUGH_TO_LIST else ""


_FEW_ENOUGH_TO_LIST = 10
