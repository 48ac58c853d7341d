"""The figure of several objectives, its place in a report, and what is said of the front."""

from __future__ import annotations

import dataclasses

import pytest

from search_spaces.objectives import gains
from studies.export.write import dump_config, export_config
from studies.figures import FIGURES, Absent, draw_figure, figures_of
from studies.figures.objectives import objectives_caption, objectives_info, objectives_table
from studies.findings.cautions import remarks
from studies.findings.pareto import pareto_front
from studies.report.comparison import comparison_cautions
from studies.study_data import StudyData
from tests.support.synthetic import Generator

TWO, THREE = ("val.balanced_accuracy", "val.few"), ("val.balanced_accuracy", "val.few", "-norm.slope")


def study(objectives: tuple[str, ...], **other: int) -> StudyData:
    data = Generator().study(trials=40, **other)
    trials = tuple(
        dataclasses.replace(row, others=(gains(objectives, row.metrics) or ())[1:]) if row.value is not None else row
        for row in data.trials
    )
    return dataclasses.replace(data, study=dataclasses.replace(data.study, others=objectives[1:]), trials=trials)


def test_the_info_holds_the_values_as_measured_and_the_front() -> None:
    data = study(THREE)
    info = objectives_info(data)
    assert not isinstance(info, Absent)
    assert info.labels == ("val.balanced_accuracy", "val.few", "|norm.slope|")
    assert (info.minimised, info.fractions) == ((False, False, True), (True, True, False))
    assert info.values[3][2] == abs(data.searched[3].metrics["norm.slope"])
    assert [info.numbers[place] for place in info.front] == [row.number for row in data.front]
    assert data.front[0] == data.best


@pytest.mark.parametrize("objectives", [TWO, THREE])
def test_a_panel_for_each_further_objective(objectives: tuple[str, ...]) -> None:
    drawn = draw_figure("objectives", study(objectives))
    assert [trace.xaxis for trace in drawn.data if trace.name == "Pareto front"] == ["x", "x2"][: len(objectives) - 1]
    assert drawn.layout.xaxis.title.text == "val.few (larger is better)"
    assert drawn.layout.dragmode is False


def test_the_front_comes_first_in_the_table() -> None:
    data = study(TWO)
    info = objectives_info(data)
    assert not isinstance(info, Absent)
    table = objectives_table(info)
    assert table.columns == ("trial", "on the front", "val.balanced_accuracy", "val.few")
    assert [row[0] for row in table.rows if row[1]] == [row.number for row in data.front]
    assert len(table.rows) == len(data.searched)
    assert "the one with the highest val.balanced_accuracy" in objectives_caption(info)


def test_it_is_shown_with_several_objectives_alone() -> None:
    one = Generator().study()
    assert figures_of(one) == FIGURES
    assert list(figures_of(study(TWO))) == ["objectives", *FIGURES]
    assert isinstance(objectives_info(one), Absent)
    assert isinstance(objectives_info(dataclasses.replace(study(TWO), trials=())), Absent)
    with pytest.raises(KeyError):
        draw_figure("objectives", one)


def test_the_front_ends_with_the_chosen_trial_and_is_by_the_objectives() -> None:
    data = study(TWO)
    rows = pareto_front(data)
    accuracies = [row.value or 0.0 for row in rows]
    assert accuracies == sorted(accuracies)
    assert rows[-1] == data.best


def test_readers_are_told_the_rule() -> None:
    data = study(TWO)
    assert (
        f"Of these, trial {data.front[0].number} was chosen for the highest val.balanced_accuracy" in remarks(data)[0]
    )
    assert "2 objectives: high val.balanced_accuracy and high val.few" in remarks(data)[0]
    assert "low |norm.slope|" in remarks(study(THREE))[0]
    assert not any("objectives" in line for line in remarks(Generator().study()))
    written = export_config(data)
    assert written["provenance"]["selected_by"]["rule"].startswith("of the Pareto front by all objectives")
    assert "objectives: [val.balanced_accuracy, val.few]" in dump_config(written)
    assert "objectives" not in export_config(Generator().study())["provenance"]["selected_by"]


def test_another_list_of_objectives_is_no_fair_comparison() -> None:
    told = comparison_cautions([study(TWO), Generator().study()])
    assert any(line.endswith("val.balanced_accuracy with val.few, val.balanced_accuracy.") for line in told)
