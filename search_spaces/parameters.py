"""The three forms of a parameter: a fixed scalar, a range `{low, high, log, step}`, or `{choices: [...]}`."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeGuard, TypeVar, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    NonNegativeInt,
    PositiveInt,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from search_spaces.problems import did_you_mean, shown
from trainers.config import Scalar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

T = TypeVar("T")
Many = TypeVar("Many", bound=Sequence[Any])

MAX_STEPS = 1_000_000
FIXED, RANGE, CHOICES = "<fixed>", "<range>", "<choices>"  # tags in pydantic's paths, never in a user's file
ONE, SEVERAL = "<one>", "<several>"  # of the objective
FORMS = (FIXED, RANGE, CHOICES, ONE, SEVERAL)


class Part(BaseModel):
    """A block of a space: strict types, no unknown keys, immutable."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _whole_float_as_int(value: Any) -> Any:
    """Accepts floats such as 1e2 as integers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


AS_WHOLE = BeforeValidator(_whole_float_as_int)
Count = Annotated[NonNegativeInt, AS_WHOLE]
PositiveCount = Annotated[PositiveInt, AS_WHOLE]


def _as_tuples(when: Any) -> Any:
    """Normalises `when: {name: value}` to `when: {name: [values]}`."""
    if not isinstance(when, dict):
        raise PydanticCustomError("condition", "must be a mapping such as {stage2.method: weight_balancing}")
    return {name: tuple(allowed) if isinstance(allowed, list | tuple) else (allowed,) for name, allowed in when.items()}


When = Annotated[
    dict[str, tuple[Any, ...]],  # search_spaces.relations checks them against the rest of the space
    BeforeValidator(_as_tuples),
    WithJsonSchema(
        {
            "type": "object",
            "additionalProperties": {"type": ["string", "number", "boolean", "null", "array"]},
            "description": "Exists only if another parameter, by its dotted name, has (one of) these values.",
        }
    ),
]


def distinct(values: Many) -> Many:
    """Returns `values` unchanged. Raises PydanticCustomError for a duplicate."""
    for index, value in enumerate(values):
        if value in values[:index]:
            raise PydanticCustomError("distinct", f"holds {shown(value)} twice")
    return values


class Range(Part, Generic[T]):
    """Every value from `low` to `high`, inclusive."""

    low: T
    high: T
    log: bool = False
    """Sample uniformly in the logarithm."""
    step: T | None = None
    """Only low, low + step, low + 2 step, ..."""
    prior: T | None = None
    """Where the best value is believed to be; the belief fades as trials come in."""
    when: When = Field(default_factory=dict)

    @field_validator("prior")
    @classmethod
    def _holds_prior(cls, prior: T | None, info: ValidationInfo) -> T | None:
        if prior is None or not {"low", "high", "step"} <= info.data.keys():  # the range itself is wrong
            return prior
        value, low, high = (_as_number(one) for one in (prior, info.data["low"], info.data["high"]))
        step = info.data["step"]
        if low < high and not low <= value <= high:
            raise PydanticCustomError("prior", f"must lie in the range {low:g} to {high:g}, but got {value:g}")
        if step is not None and step > 0 and not _on_step(value, low, step):
            raise PydanticCustomError("prior", f"must be one of the steps of {step:g} from {low:g}, but got {value:g}")
        return prior

    @model_validator(mode="after")
    def _consistent(self) -> Range[T]:
        low, high, step = _as_number(self.low), _as_number(self.high), self.step
        if low >= high:
            raise PydanticCustomError("range", f"low ({low}) must be below high ({high})")
        if self.log and low <= 0:
            text = f"a log range needs low > 0, but got {low}; write a small positive low, or choices: [0, ...]"
            raise PydanticCustomError("range", text)
        if step is not None:
            _check_step(low, high, _as_number(step), log=self.log)
        return self

    def distribution(self) -> BaseDistribution:
        """The range as Optuna's distribution."""
        from optuna.distributions import FloatDistribution, IntDistribution  # noqa: PLC0415  (0.3 s)

        low, high = _as_number(self.low), _as_number(self.high)
        if isinstance(low, int) and isinstance(high, int):
            step = 1 if self.step is None else int(_as_number(self.step))
            return IntDistribution(low, high, log=self.log, step=step)
        return FloatDistribution(low, high, log=self.log, step=None if self.step is None else _as_number(self.step))


class Choices(Part, Generic[T]):
    """One of a few values, without order."""

    choices: Annotated[list[T], AfterValidator(distinct), Field(min_length=1)]
    prior: T | None = None
    """The choice that is believed to be the best; the belief fades as trials come in."""
    when: When = Field(default_factory=dict)

    @field_validator("prior")
    @classmethod
    def _holds_prior(cls, prior: T | None, info: ValidationInfo) -> T | None:
        choices = info.data.get("choices")
        if prior is None or choices is None or prior in choices:
            return prior
        listed = ", ".join(map(str, choices))
        hint = did_you_mean(prior, filter(_is_text, choices)) if isinstance(prior, str) else ""
        raise PydanticCustomError("prior", f"must be one of the choices {listed}, but got {shown(prior)}{hint}")

    def distribution(self) -> BaseDistribution:
        """The choices as Optuna's distribution."""
        from optuna.distributions import CategoricalDistribution  # noqa: PLC0415  (0.3 s)

        return CategoricalDistribution(cast(list[Scalar], self.choices))


def parameter_form(value: Any) -> str:
    """Which of the three forms is meant, so that only its mistakes are reported."""
    if not isinstance(value, dict):
        return CHOICES if isinstance(value, Choices) else RANGE if isinstance(value, Range) else FIXED
    return CHOICES if {"choices", "values", "choice", "options"} & value.keys() and "low" not in value else RANGE


def option_form(value: Any) -> str:
    """As `parameter_form`, for values without order and hence without ranges."""
    form = parameter_form(value)
    return FIXED if form == RANGE else form


_range_of: Any = Range  # indexed by types that exist only at run time
_choices_of: Any = Choices


def parameter(values: Any, *, ends: Any) -> Any:
    """The type of a number that may be searched as a range or as choices; None may be a value, but not an end."""
    fixed, choices = Annotated[values, Tag(FIXED)], Annotated[_choices_of[values], Tag(CHOICES)]
    bounds = Annotated[_range_of[ends], Tag(RANGE)]
    return Annotated[fixed | bounds | choices, Discriminator(parameter_form)]


def option(values: Any) -> Any:
    """The type of a name or a switch that may be searched as choices."""
    fixed, choices = Annotated[values, Tag(FIXED)], Annotated[_choices_of[values], Tag(CHOICES)]
    return Annotated[fixed | choices, Discriminator(option_form)]


def _check_step(low: float, high: float, step: float, *, log: bool) -> None:
    if log:
        raise PydanticCustomError("step", "a log range has no step; leave out step or log")
    if step <= 0:
        raise PydanticCustomError("step", f"step must be greater than 0, but got {step}")
    span, exact = Fraction(str(high)) - Fraction(str(low)), Fraction(str(step))  # 0.1 is exactly a tenth, as in Optuna
    if span < exact:
        raise PydanticCustomError("step", f"step ({step}) is larger than the way from low ({low}) to high ({high})")
    if span / exact > MAX_STEPS:
        raise PydanticCustomError("step", f"step ({step}) makes more than {MAX_STEPS:,} values; leave it out")
    if span % exact:
        nearest = float(Fraction(str(low)) + span // exact * exact)
        text = f"step ({step}) does not lead from low ({low}) to high ({high}); write high: {nearest:g}"
        raise PydanticCustomError("step", text)


def _on_step(value: float, low: float, step: float) -> bool:
    return (Fraction(str(value)) - Fraction(str(low))) % Fraction(str(step)) == 0


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str)


def _as_number(value: object) -> float:
    return cast(float, value)  # an int stays an int
