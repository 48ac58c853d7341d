"""Whether ranks carried over from short schedules to the full one: pairs, figure, caution, place in a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces import loads
from studies.figures import Absent, draw_figure, figures_of
from studies.figures.schedules import schedules_caption, schedules_info, schedules_table
from studies.findings.cautions import cautions
from studies.findings.schedules import Pair, agreement, pairs
from studies.report.write import write_report
from studies.study_data import RUNG, StudyData, best_trial
from tests.support.synthetic import Generator

SHORT = 5


def study(short_value: Callable[[float], float], *, promoted: int = 8) -> StudyData:
    """A study in which some backbones were trained with a short schedule, too."""
    data = Generator().study(trials=40, backbones=8)
    full = int(data.configuration["stage1.epochs"] or 0)
    text = data.study.space_yaml + f"fidelity: {{epochs: [{SHORT}, {full}]}}\n"
    short = [
        dataclasses.replace(
            row,
            number=1000 + row.number,
            role=RUNG,
            value=short_value(row.value or 0.0),
            config={**row.config, "stage1.epochs": SHORT},
            backbone_index=100 + row.backbone_index,
        )
        for row in data.searched
        if row.backbone_index < promoted
    ]
    study_row = dataclasses.replace(data.study, space_yaml=loads(text).to_yaml())
    return dataclasses.replace(data, study=study_row, trials=(*data.trials, *short))


def test_each_configuration_is_paired_with_its_short_training() -> None:
    data = study(lambda value: value - 0.1, promoted=6)
    found = pairs(data)
    assert [pair.backbones for pair in found] == [(100 + index, index) for index in range(6)]
    assert all(pair.epochs == SHORT and pair.short == pytest.approx(pair.full - 0.1) for pair in found)
    assert agreement(found) == {SHORT: pytest.approx(1.0)}


def test_ranks_that_turn_round_are_warned_of() -> None:
    warned = [text for text in cautions(study(lambda value: 1 - value)) if "ranked configurations unlike" in text]
    assert len(warned) == 1
    assert "rank correlation -0.98 over 8" in warned[0]
    assert not any("ranked configurations" in text for text in cautions(study(lambda value: value)))


@pytest.mark.parametrize("found", [(), tuple(Pair((index, index + 9), 5, 0.1 * index, 0.5) for index in range(6))])
def test_nothing_is_said_of_few_pairs_or_of_equal_ones(found: tuple[Pair, ...]) -> None:
    assert agreement(found) == {}


def test_short_schedules_are_never_chosen() -> None:
    data = study(lambda value: value + 0.5)
    best = best_trial(data.trials)
    assert best is not None
    assert best.role == "search"
    assert all(row.role != RUNG for row in data.searched)


def test_the_figure_comes_with_its_study_alone(tmp_path: Path) -> None:
    data = study(lambda value: value - 0.1)
    info = schedules_info(data)
    assert not isinstance(info, Absent)
    drawn = draw_figure("schedules", data)
    assert [trace.name for trace in drawn.data] == ["5 epochs"]
    assert len(schedules_table(info).rows) == 8
    assert "rank correlation 1.00 over 8 configurations" in schedules_caption(info)
    assert list(figures_of(data))[-1] == "schedules"
    assert "schedules" not in figures_of(Generator().study())
    page, *_ = write_report(data, tmp_path / "report.html")
    assert "figure_schedules" in page.read_text(encoding="utf-8")
