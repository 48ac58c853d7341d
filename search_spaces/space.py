"""A checked search space and its derived quantities."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, cast

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from search_spaces import canonical
from search_spaces.objectives import Objective
from search_spaces.parameters import Choices, Part, Range, distinct
from search_spaces.schema import (
    STUDY_NAME,
    Baseline,
    Budget,
    Confirm,
    Fidelity,
    Refine,
    Sampler,
    Stage1,
    Stage2,
    Task,
)  # fmt: skip
from trainers.config import PARTS, Scalar, checked

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


StartPoint = dict[str, bool | int | float | str | None]  # dotted names to values


def _supported(version: Any) -> Any:
    if isinstance(version, int) and version != 1:
        raise PydanticCustomError("version", f"must be 1, the format of this release, but got {version}")
    return version


class Space(Part):
    """One search space. Parameters have dotted names and the order of `search_spaces.schema`, not of the file; only
    dependent ones come after their parents."""

    version: Annotated[Literal[1], BeforeValidator(_supported)]
    """Of this format."""
    name: Annotated[str, Field(pattern=STUDY_NAME)]
    """Name of the study, unless --name overrides it."""
    task: Task
    stage1: Stage1 = Stage1()
    stage2: Stage2 = Stage2()
    objective: Objective = "val.balanced_accuracy"
    """Metric on validation images, maximised; or two or three in a list, `-` before one to be minimised."""
    budget: Budget = Budget()
    sampler: Sampler = Sampler()
    start: Annotated[tuple[StartPoint, ...], Field(strict=False)] = ()
    """Known good points, which the search tries first; what a point leaves out, the sampler fills in."""
    fidelity: Fidelity | None = None
    refine: Refine | None = None
    confirm: Confirm | None = None
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False), AfterValidator(distinct)] = (
        "naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment",
    )  # fmt: skip
    """Baselines that the study runs and compares its result with."""

    @property
    def objectives(self) -> tuple[str, ...]:
        """The objective, or all of them; the first one is an accuracy."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def fixed(self) -> dict[str, Scalar]:
        """The settings that the space fixes, without untouched defaults; a mapping or a list is one text."""
        return {
            name: checked(name, value) if isinstance(value, dict | list) else cast(Scalar, value)
            for name, value in self._written()
            if not _is_searched(value)
        }

    @property
    def searched(self) -> dict[str, BaseDistribution]:
        """The Optuna distribution of each searched parameter."""
        return {name: form.distribution() for name, form in self._forms().items()}

    @property
    def start_points(self) -> tuple[dict[str, Scalar], ...]:
        """The searched parameters of each start point, in the types of their ranges; fixed settings are left out."""
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        searched = self.searched
        return tuple(
            {name: geometry.typed(searched[name], value) for name, value in point.items() if name in searched}
            for point in self.start
        )

    @property
    def priors(self) -> dict[str, Scalar]:
        """Where the best value of a searched parameter is believed to be, in the type of its distribution."""
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        believed = {name: form.prior for name, form in self._forms().items() if form.prior is not None}
        searched = self.searched
        return {name: geometry.typed(searched[name], value) for name, value in believed.items()}

    @property
    def conditions(self) -> dict[str, dict[str, tuple[Scalar, ...]]]:
        """For each conditional parameter: its parents, and the values of each with which it exists."""
        return {name: dict(form.when) for name, form in self._forms().items() if form.when}

    @property
    def ladder(self) -> tuple[int, ...]:
        """The lengths of stage 1, shortest first; empty where all backbones have the same."""
        return self.fidelity.epochs if self.fidelity else ()

    @property
    def epochs(self) -> int:
        """With `fidelity`: the budget in epochs of stage 1, of the search alone; else 0."""
        if not self.ladder:
            return 0
        return self.budget.epochs or self.budget.backbones * self.ladder[-1]

    @property
    def backbones(self) -> int:
        """The number in the budget, at most the number of different configurations of stage 1.

        With `fidelity` it is what is to be expected: the lengths share the epochs about evenly.
        """
        if self.ladder:
            shares = (self.epochs / len(self.ladder) / length for length in self.ladder)
            return int(min(sum(map(int, shares)) or 1, self.points("stage1") * len(self.ladder)))
        return int(min(self.budget.backbones, self.points("stage1")))

    @property
    def full_backbones(self) -> int:
        """Those of them that can be chosen; with `fidelity` what is to be expected, at least one."""
        return max(1, int(self.epochs / len(self.ladder) / self.ladder[-1])) if self.ladder else self.backbones

    @property
    def size_setting(self) -> str:
        """The setting that a larger study is asked for by."""
        return "budget.epochs" if self.ladder and self.budget.epochs else "budget.backbones"

    @property
    def heads_per_backbone(self) -> int:
        """The number in the budget, at most the number of different configurations of stage 2."""
        return int(min(self.budget.heads_per_backbone, self.points("stage2")))

    @property
    def heads_to_refine(self) -> int:
        """Extra heads on each of the best backbones; 0 without refinement or without untried configurations."""
        asked = self.refine.heads if self.refine else 0
        return int(min(asked, self.points("stage2") - self.heads_per_backbone))

    @property
    def runs_to_confirm(self) -> int:
        """Runs with other seeds of the best configurations, at most one configuration a backbone; 0 without them."""
        return min(self.confirm.top, self.full_backbones) * (self.confirm.seeds - 1) if self.confirm else 0

    def heads_by_round(self) -> tuple[int, ...]:
        """Heads per round on a backbone, as even as possible, larger rounds first."""
        rounds = min(self.budget.rounds, self.heads_per_backbone)
        least, more = divmod(self.heads_per_backbone, rounds)
        return tuple(least + (index < more) for index in range(rounds))

    @property
    def trials(self) -> int:
        """Trials of a finished study: heads of the search and the refinement, runs with other seeds, naive baseline.

        The other baselines come from the search's backbones and need no trial.
        """
        refined = min(self.refine.top, self.full_backbones) * self.heads_to_refine if self.refine else 0
        searched = self.backbones * self.heads_per_backbone
        return searched + refined + self.runs_to_confirm + ("naive" in self.baselines)

    def points(self, stage: Literal["stage1", "stage2"]) -> float:
        """An upper bound on a stage's different configurations; infinite with a range without a step."""
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        return geometry.size(self.stage(stage))

    @property
    def sha256(self) -> str:
        """Hash of everything that changes the meaning of a result: task, stages, objective, sampler, baselines.

        It leaves out name, budget, lengths of schedules, refinement and confirmation, so that a study can continue with
        others, and the paths of the data, which its content identifies.
        """
        return hashlib.sha256(canonical.dump(self.meaning()).encode()).hexdigest()

    def meaning(self) -> dict[str, Any]:
        """What `sha256` hashes, as plain values."""
        sizes = ("name", "budget", "fidelity", "refine", "confirm")
        meaning = {key: value for key, value in self.tree().items() if key not in sizes}
        places = ("data", "image_root", "download")
        meaning["task"] = {key: value for key, value in meaning["task"].items() if key not in places}
        return meaning

    def stage(self, stage: Literal["stage1", "stage2"]) -> dict[str, BaseDistribution]:
        """The searched parameters of one stage."""
        return {name: found for name, found in self.searched.items() if name.startswith(f"{stage}.")}

    def active(self, name: str, params: Mapping[str, Scalar]) -> bool:
        """True if the parameter exists given `params`, the searched values chosen so far."""
        form = self._at(name)
        return not _is_searched(form) or all(
            self._value(parent, params) in allowed and self.active(parent, params)
            for parent, allowed in form.when.items()
        )

    def corners(self) -> list[dict[str, Scalar]]:
        """A few whole configurations for a dry build before training.

        All lows; all highs; and all highs with each choice in turn. Each includes the fixed values and omits parameters
        that do not exist there.
        """
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        corners: list[dict[str, Scalar]] = []
        for params in geometry.corners(self.searched):
            corner = {**self.fixed, **{name: value for name, value in params.items() if self.active(name, params)}}
            if corner not in corners:
                corners.append(corner)
        return corners

    def edge(self, params: Mapping[str, Scalar], *, within: float = 0.05) -> dict[str, Literal["low", "high"]]:
        """The parameters whose value is near an end of its range, within a share of it (of its logarithm)."""
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        searched = {name: found for name, found in self.searched.items() if name in params}
        ends = {name: geometry.edge(found, params[name], within=within) for name, found in searched.items()}
        return {name: end for name, end in ends.items() if end}

    def tree(self) -> dict[str, Any]:
        """The space as plain values: task and stages as written, the rest with defaults."""
        tree = {key: canonical.plain_values(getattr(self, key)) for key in type(self).model_fields}
        if not self.start:
            del tree["start"]  # as in spaces of earlier releases, whose hashes are in databases
        if self.confirm is None:
            del tree["confirm"]  # so that earlier releases read the text of a space without it
        if self.fidelity is None:
            del tree["fidelity"]
        del tree["budget"]["epochs" if self.budget.epochs is None else "backbones"]  # one of them says the size
        for part in PARTS:
            written = getattr(self, part).model_fields_set
            tree[part] = {name: value for name, value in tree[part].items() if name in written}
        return tree

    def to_yaml(self) -> str:
        """Canonical text, from which `search_spaces.loads` returns an equal space; floats are exact."""
        return canonical.dump(self.tree())

    def _written(self) -> Iterator[tuple[str, object]]:
        for key in PARTS:
            part = getattr(self, key)
            for name in type(part).model_fields:
                if name in part.model_fields_set:
                    yield f"{key}.{name}", getattr(part, name)

    def _forms(self) -> dict[str, Range[Any] | Choices[Any]]:
        """Ranges and choices, parents first; the loader has excluded circles."""
        forms = {name: value for name, value in self._written() if _is_searched(value)}
        ordered: dict[str, Range[Any] | Choices[Any]] = {}

        def add(name: str) -> None:
            for parent in forms[name].when:
                if parent in forms:
                    add(parent)
            ordered[name] = forms[name]

        for name in forms:
            add(name)
        return ordered

    def _at(self, name: str) -> object:
        part, _, field = name.partition(".")
        return getattr(getattr(self, part), field)

    def _value(self, name: str, params: Mapping[str, Scalar]) -> object:
        form = self._at(name)
        return params.get(name, _ABSENT) if _is_searched(form) else form


_ABSENT = object()  # equal to no value, not even to a choice of null


def _is_searched(value: object) -> TypeGuard[Range[Any] | Choices[Any]]:
    return isinstance(value, Range | Choices)
