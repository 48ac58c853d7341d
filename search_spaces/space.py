"""A checked search space, and what can be asked of it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeGuard, cast

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError

from search_spaces import canonical
from search_spaces.parameters import Choices, Part, Range, distinct
from search_spaces.schema import STUDY_NAME, Baseline, Budget, Objective, Refine, Sampler, Stage1, Stage2, Task
from trainers.config import PARTS, Scalar

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution


def _supported(version: Any) -> Any:
    if isinstance(version, int) and version != 1:
        raise PydanticCustomError("version", f"must be 1, the format of this release, but got {version}")
    return version


class Space(Part):
    """One search space. Its parameters go by their dotted names, in the order of `search_spaces.schema`, whatever the
    order of the file; only that a parameter comes after those that it depends on."""

    version: Annotated[Literal[1], BeforeValidator(_supported)]
    """Of this format."""
    name: Annotated[str, Field(pattern=STUDY_NAME)]
    """Of the study, unless --name says otherwise."""
    task: Task
    stage1: Stage1 = Stage1()
    stage2: Stage2 = Stage2()
    objective: Objective = "val.balanced_accuracy"
    """Measured on validation images, maximised."""
    budget: Budget = Budget()
    sampler: Sampler = Sampler()
    refine: Refine | None = None
    baselines: Annotated[tuple[Baseline, ...], Field(strict=False), AfterValidator(distinct)] = (
        "naive", "weight_decay", "l2_norm", "tau_norm", "logit_adjustment",
    )  # fmt: skip
    """What the study's result is compared with, run within the study."""

    @property
    def fixed(self) -> dict[str, Scalar]:
        """What the space sets to one value; defaults that it leaves alone are not repeated."""
        return {name: cast(Scalar, value) for name, value in self._written() if not _is_searched(value)}

    @property
    def searched(self) -> dict[str, BaseDistribution]:
        """Optuna's distribution of each searched parameter."""
        return {name: form.distribution() for name, form in self._forms().items()}

    @property
    def conditions(self) -> dict[str, dict[str, tuple[Scalar, ...]]]:
        """Of each conditional parameter: whom it depends on, and the values of theirs with which it exists."""
        return {name: dict(form.when) for name, form in self._forms().items() if form.when}

    @property
    def backbones(self) -> int:
        """How many the budget asks for; no more than stage 1 has different configurations."""
        return int(min(self.budget.backbones, self.points("stage1")))

    @property
    def heads_per_backbone(self) -> int:
        """How many the budget asks for; no more than stage 2 has different configurations."""
        return int(min(self.budget.heads_per_backbone, self.points("stage2")))

    @property
    def heads_to_refine(self) -> int:
        """Extra heads on each of the best backbones; 0 without refinement, or where no configuration is left for it."""
        asked = self.refine.heads if self.refine else 0
        return int(min(asked, self.points("stage2") - self.heads_per_backbone))

    def heads_by_round(self) -> tuple[int, ...]:
        """Heads drawn in each round on a backbone, as even as can be, the larger ones first."""
        rounds = min(self.budget.rounds, self.heads_per_backbone)
        least, more = divmod(self.heads_per_backbone, rounds)
        return tuple(least + (index < more) for index in range(rounds))

    @property
    def trials(self) -> int:
        """How many trials a finished study holds: heads of the search and the refinement, and the naive baseline.

        The other baselines are read off the search's backbones and need no trial.
        """
        refined = min(self.refine.top, self.backbones) * self.heads_to_refine if self.refine else 0
        return self.backbones * self.heads_per_backbone + refined + ("naive" in self.baselines)

    def points(self, stage: Literal["stage1", "stage2"]) -> float:
        """How many different configurations a stage has at most; infinite with a range that has no step."""
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        return geometry.size(self.stage(stage))

    @property
    def sha256(self) -> str:
        """Hash of all that changes what a result means: task, stages, objective, sampler, baselines.

        Name, budget and refinement are left out, so that a study can go on with a larger budget; so is where the data
        lies, which is known by its content.
        """
        meaning = {key: value for key, value in self.tree().items() if key not in ("name", "budget", "refine")}
        meaning["task"] = {key: value for key, value in meaning["task"].items() if key not in ("data", "download")}
        return hashlib.sha256(canonical.dump(meaning).encode()).hexdigest()

    def stage(self, stage: Literal["stage1", "stage2"]) -> dict[str, BaseDistribution]:
        """The searched parameters of one stage."""
        return {name: found for name, found in self.searched.items() if name.startswith(f"{stage}.")}

    def active(self, name: str, params: Mapping[str, Scalar]) -> bool:
        """Whether the parameter exists beside `params`, the searched values chosen so far."""
        form = self._at(name)
        return not _is_searched(form) or all(
            self._value(parent, params) in allowed and self.active(parent, params)
            for parent, allowed in form.when.items()
        )

    def corners(self) -> list[dict[str, Scalar]]:
        """A few whole configurations, for a dry build before anything is trained.

        Everything low; everything high; and high with each choice in turn. Each comes with the fixed values and without
        the parameters that do not exist there.
        """
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        corners: list[dict[str, Scalar]] = []
        for params in geometry.corners(self.searched):
            corner = {**self.fixed, **{name: value for name, value in params.items() if self.active(name, params)}}
            if corner not in corners:
                corners.append(corner)
        return corners

    def edge(self, params: Mapping[str, Scalar], *, within: float = 0.05) -> dict[str, Literal["low", "high"]]:
        """The parameters whose value lies at an end of its range, within that share of it (of its logarithm)."""
        from search_spaces import geometry  # noqa: PLC0415  (0.3 s)

        searched = {name: found for name, found in self.searched.items() if name in params}
        ends = {name: geometry.edge(found, params[name], within=within) for name, found in searched.items()}
        return {name: end for name, end in ends.items() if end}

    def tree(self) -> dict[str, Any]:
        """The space as plain values: of task and stages what was written, of the rest all."""
        tree = {key: canonical.plain(getattr(self, key)) for key in type(self).model_fields}
        for part in PARTS:
            written = getattr(self, part).model_fields_set
            tree[part] = {name: value for name, value in tree[part].items() if name in written}
        return tree

    def to_yaml(self) -> str:
        """Canonical text that `search_spaces.loads` reads back to an equal space; floats are exact."""
        return canonical.dump(self.tree())

    def _written(self) -> Iterator[tuple[str, object]]:
        for key in PARTS:
            part = getattr(self, key)
            for name in type(part).model_fields:
                if name in part.model_fields_set:
                    yield f"{key}.{name}", getattr(part, name)

    def _forms(self) -> dict[str, Range[Any] | Choices[Any]]:
        """Ranges and choices, parents first; the loader has made sure that there are no circles."""
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
