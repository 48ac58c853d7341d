"""The blocks of a search space: task, stages, budget, sampler, refinement, confirmation.

Task, Stage1 and Stage2 are generated from the trainer's catalogue of settings, which needs no torch.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from annotated_types import Ge, Interval, Le
from pydantic import AfterValidator, BeforeValidator, Field, PositiveFloat, WithJsonSchema, create_model
from pydantic_core import PydanticCustomError

from search_spaces.parameters import AS_WHOLE, Count, Part, PositiveCount, option, parameter
from trainers.config import PARTS, SETTINGS, Setting, as_plain, checked, mistake_in

SamplerName = Literal["gp", "tpe", "random", "qmc", "grid"]
Baseline = Literal["naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment", "logit_adjustment_mul", "ncm"]

STUDY_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"  # becomes a folder: never `.`, `..` or a path
_REQUIRED = ("task.dataset",)  # a space must name its data


def _block(part: str) -> type[Part]:
    """The model of a block, with a field for each setting of this part of the catalogue."""
    fields: dict[str, Any] = {
        name.removeprefix(f"{part}."): (_form(part, setting), _field(setting))
        for name, setting in SETTINGS.items()
        if name.startswith(f"{part}.")
    }
    return create_model(part.capitalize(), __base__=Part, __doc__=PARTS[part].__doc__, __module__=__name__, **fields)


def _field(setting: Setting) -> Any:
    if setting.name in _REQUIRED:
        return Field(description=setting.meaning)
    return Field(default=setting.default, description=setting.meaning)


def _form(part: str, setting: Setting) -> Any:
    """The allowed forms: one value in the task; in a stage also choices and, for numbers, a range."""
    domain = _domain(setting)
    values = domain | None if setting.optional else domain
    if part == "task":
        return values
    return parameter(values, ends=domain) if setting.kind in (int, float) else option(values)


def _domain(setting: Setting) -> Any:
    """The values of a setting as a type, without None."""
    if setting.kind in (dict, list):
        return _structure(setting)
    domain: Any = Literal[setting.choices] if setting.choices else setting.kind
    if (bounds := setting.bounds) is not None:
        domain = Annotated[domain, Interval(gt=bounds.gt, ge=bounds.ge, lt=bounds.lt, le=bounds.le)]
    if setting.kind is int:
        domain = Annotated[domain, AS_WHOLE]
    return domain


def _structure(setting: Setting) -> Any:
    """The type of a mapping with known keys, or of one text or several."""

    def check(value: Any) -> Any:
        mistake = mistake_in(setting, value)
        if mistake is not None:
            raise PydanticCustomError("structure", "{mistake}", {"mistake": mistake})
        return as_plain(setting.name, checked(setting.name, value))

    text = {"type": "string", "minLength": 1}
    if setting.kind is dict:
        described: dict[str, Any] = {"type": "object", "properties": dict.fromkeys(setting.choices, text)}
        described["additionalProperties"] = False
    else:
        described = {"anyOf": [text, {"type": "array", "items": text}]}
    return Annotated[setting.kind, BeforeValidator(check), WithJsonSchema(described)]


if TYPE_CHECKING:

    class _Block(Part):
        def __getattr__(self, name: str) -> Any: ...

    Task: TypeAlias = _Block
    Stage1: TypeAlias = _Block
    Stage2: TypeAlias = _Block
else:
    Task, Stage1, Stage2 = map(_block, PARTS)


def _none_or_several(count: int) -> int:
    if count == 1:
        raise PydanticCustomError("several", "must be 0, or 2 or more, for one seed has no deviation, but got 1")
    return count


def _several(count: int) -> int:
    if count == 1:
        raise PydanticCustomError("several", "must be 2 or more, the search's own run among them, but got 1")
    return count


class Budget(Part):
    """The size of a finished study."""

    backbones: PositiveCount = 8
    """Of full length; with `fidelity`, short schedules count by their epochs."""
    epochs: PositiveCount | None = None
    """Epochs of stage 1 in all, instead of `backbones`; needs `fidelity`."""
    heads_per_backbone: PositiveCount = 8
    rounds: PositiveCount = 2
    """Number of rounds in which a backbone's heads are drawn; at most the number of heads."""
    hours: PositiveFloat | None = None
    max_failed: Count = 5
    max_retries: Count = 1
    fresh_seeds: Annotated[Count, AfterValidator(_none_or_several)] = 0
    """Retrainings of the chosen configuration, each with another seed, for the tolerances of best.yaml."""


def _ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    if any(later <= earlier for earlier, later in itertools.pairwise(values)):
        raise PydanticCustomError("ascending", "must name each length once, shortest first")
    return values


class Fidelity(Part):
    """Whole schedules of several lengths: the short ones teach the search, only the longest can be chosen."""

    epochs: Annotated[tuple[PositiveCount, ...], Field(strict=False, min_length=2), AfterValidator(_ascending)]
    """Lengths of stage 1, shortest first; the last one is `stage1.epochs`."""


class Sampler(Part):
    """The samplers of backbones and of heads."""

    stage1: SamplerName = "gp"
    stage2: SamplerName = "tpe"
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = 0


class Refine(Part):
    """More heads on the best backbones, after the search."""

    top: PositiveCount = 2
    heads: PositiveCount = 16


class Confirm(Part):
    """Several seeds of the best configurations, one a backbone; the choice is by the mean over them on validation."""

    top: PositiveCount = 3
    """Number of configurations."""
    seeds: Annotated[PositiveCount, AfterValidator(_several)] = 3
    """Runs of each, the search's own among them."""
