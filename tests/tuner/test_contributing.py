"""What CONTRIBUTING.md says is told by a test where no other test tells it: each name has what stands behind it."""

from __future__ import annotations

import importlib
from pathlib import Path
from pkgutil import iter_modules
from typing import get_args, get_type_hints

import pytest
from optuna.distributions import FloatDistribution

from search_spaces.schema import SamplerName
from studies import figures
from studies.figures.figure import Figure
from studies.figures.objectives import OBJECTIVES
from studies.figures.schedules import SCHEDULES
from trainers.config import DatasetName, TaskConfig
from trainers.data.pool import Source
from trainers.data.task import load_task, reader
from trainers.errors import TrainerError
from tuner.search.points import Level
from tuner.search.sampling import Observation, propose_backbone, propose_heads

ROOT = Path(__file__).resolve().parents[2]
OUTER = Level({"stage1.lr": FloatDistribution(0.0, 1.0, step=0.125)})
INNER = Level({"stage2.lr": FloatDistribution(0.0, 1.0, step=0.125)})
ROWS = [
    Observation(backbone=index, params={"stage1.lr": index / 8, "stage2.lr": index / 8}, value=0.5 + index / 100)
    for index in range(6)
]


@pytest.mark.parametrize("name", get_args(DatasetName))
def test_each_data_source_has_a_reader(name: str, tmp_path: Path) -> None:
    task = TaskConfig(dataset=name, data=str(tmp_path), imbalance_factor=None)  # type: ignore[arg-type]
    with pytest.raises(TrainerError):  # of the empty folder, and no KeyError of the name
        load_task(task)
    assert get_type_hints(reader(task.dataset)) == {"task": TaskConfig, "return": Source}


@pytest.mark.parametrize("name", get_args(DatasetName))
def test_each_data_source_has_a_row_in_its_page(name: str) -> None:
    rows = [line for line in (ROOT / "docs" / "data.md").read_text().splitlines() if line.startswith("|")]
    assert any(f"`{name}`" in row for row in rows)


def test_each_figure_has_its_place_in_the_report() -> None:
    modules = [importlib.import_module(f"studies.figures.{found.name}") for found in iter_modules(figures.__path__)]
    made = {value.name for module in modules for value in vars(module).values() if isinstance(value, Figure)}
    assert made == {*figures.FIGURES, OBJECTIVES.name, SCHEDULES.name}  # the latter two only in studies that have any


def test_each_sampler_has_proposals_of_its_own() -> None:
    """A name with another sampler's class proposes what that one does."""
    outer, inner = (Level({name: FloatDistribution(0.0, 1.0)}) for name in ("stage1.lr", "stage2.lr"))
    named = [name for name in get_args(SamplerName) if name != "grid"]
    backbones = {str(propose_backbone(ROWS, space=outer, sampler=name, seed=0, index=6)) for name in named}
    at = {"backbone": 0, "round": 1, "count": 3, "stage1_params": {"stage1.lr": 0.0}}
    heads = {str(propose_heads(ROWS, space=inner, sampler=name, seed=0, **at)) for name in named}  # type: ignore[arg-type]
    assert (len(backbones), len(heads)) == (len(named), len(named))


@pytest.mark.parametrize("name", get_args(SamplerName))
def test_each_sampler_proposes_on_both_levels(name: str) -> None:
    outer = propose_backbone(ROWS, space=OUTER, sampler=name, seed=0, index=6)
    inner = propose_heads(
        ROWS, space=INNER, sampler=name, seed=0, backbone=0, round=1, count=2, stage1_params={"stage1.lr": 0.0}
    )
    assert outer is not None
    assert outer["stage1.lr"] not in [row.params["stage1.lr"] for row in ROWS]
    assert len(inner) == 2
