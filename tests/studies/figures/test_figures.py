"""What each figure shows, as plain tuples, and that each can be drawn from anything a study may hold."""

from __future__ import annotations

import dataclasses
import json
from statistics import fmean, stdev

import pytest

from studies.figures import FIGURES, Absent, draw_figure, style
from studies.figures.accuracy_vs_balance import accuracy_vs_balance_info
from studies.figures.class_accuracy import class_accuracy_info, smoothed
from studies.figures.groups import GROUPS_WITH_ALL, groups_caption, groups_info, groups_table
from studies.figures.style import log_ticks, plotly_text
from studies.findings.published import PUBLISHED, published_for
from studies.study_data import best_trial
from tests.support.synthetic import Generator

CASES = {
    "whole": lambda: Generator().study(),
    "nothing yet": lambda: Generator().study(
        trials=0, failed=0, backbones=1, readings=False, baselines=False, epochs=False
    ),
    "one trial": lambda: Generator().study(
        trials=1, failed=0, backbones=1, readings=False, baselines=False, epochs=False
    ),
    "only failures": lambda: Generator().study(trials=3, failed=3, backbones=1, readings=False),
    "no few group": lambda: Generator(dataset="cifar10-lt", largest=5000, factor=100.0, data="d").study(trials=20),
    "hundred classes": lambda: Generator(
        dataset="cifar100-lt", classes=100, largest=500, factor=100.0, data="d"
    ).study(),
}


@pytest.fixture(scope="module")
def data():
    return Generator().study()


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_or_says_why_not(name, case):
    figure = FIGURES[name]
    info = figure.info(CASES[case]())
    if isinstance(info, Absent):
        assert info.reason.endswith(".")
        assert case != "whole"
        return
    drawn = figure.draw(info)
    table = figure.table(info)
    assert drawn.data
    assert figure.caption(info).endswith(".")
    assert table.rows
    assert {len(row) for row in table.rows} == {len(table.columns)}
    json.loads(drawn.to_json())  # NaN would be no JSON


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_rows_give_the_same_figure(name):
    assert draw_figure(name, Generator(seed=3).study()) == draw_figure(name, Generator(seed=3).study())


def test_unknown_and_absent_figures_are_told():
    empty = CASES["nothing yet"]()
    with pytest.raises(KeyError, match="did you mean 'groups'"):
        draw_figure("grops", empty)
    with pytest.raises(LookupError, match="finished"):
        draw_figure("groups", empty)


def test_best_is_the_highest_and_of_equals_the_first(data):
    best = data.best
    equal = dataclasses.replace(best, number=best.number + 100)
    naive = dataclasses.replace(best, number=200, role="naive", value=1.0)
    failed = dataclasses.replace(best, number=201, state="FAIL", value=None)
    assert best_trial([failed, naive, equal, best]) == best
    assert best_trial([]) is None


def test_groups_show_test_results_of_best_baselines_and_naive(data):
    info = groups_info(data)
    assert info.split == "test"
    assert [bar.role for bar in info.bars] == ["best", *data.space.baselines]
    reading = data.reading("best")
    assert info.bars[0].accuracy == tuple(
        reading.metrics[f"test.{key}"] for key in ("many", "medium", "few", "balanced_accuracy")
    )
    for bar in info.bars:
        for value, limit in zip(bar.accuracy, bar.limits, strict=True):
            assert (value is None) == (limit is None)
            assert limit is None or limit.low <= value <= limit.high


def test_an_empty_group_is_none_and_not_drawn():
    data = CASES["no few group"]()
    info = groups_info(data)
    few = GROUPS_WITH_ALL.index("few")
    assert info.classes[few] == 0
    assert all(bar.accuracy[few] is None for bar in info.bars)
    assert groups_table(info).rows[0][1 + few] is None
    assert "none, not 0 %" in groups_caption(info)
    drawn = draw_figure("groups", data)
    assert not any(tick.startswith("few") for trace in drawn.data for tick in trace.x)
    assert accuracy_vs_balance_info(data).group == "medium"


def test_before_test_is_read_groups_show_validation():
    data = Generator().study(readings=False)
    info = groups_info(data)
    assert info.split == "validation"
    assert [bar.role for bar in info.bars] == ["best", "naive"]


def test_published_figures_only_for_the_same_data():
    data = CASES["hundred classes"]()
    info = groups_info(data)
    assert [bar.accuracy[3] for bar in info.published[:5]] == [0.400, 0.479, 0.510, 0.526, 0.531]
    assert all(bar.backbone and bar.selection and bar.source for bar in info.published)
    outlined = [trace for trace in draw_figure("groups", data).data if trace.marker.color == "white"]
    assert outlined
    assert all(trace.name.startswith("published: ") and trace.marker.pattern.shape == "/" for trace in outlined)
    assert groups_info(CASES["whole"]()).published == ()
    config = {"task.dataset": "cifar100-lt", "task.imbalance_factor": 50.0}
    assert {row.imbalance_factor for row in published_for(config)} == {50}
    assert published_for({**config, "task.profile": "step"}) == ()


def test_published_figures_are_fractions_with_a_source():
    for row in PUBLISHED:
        assert all(value is None or 0 < value < 1 for value in (row.many, row.medium, row.few, row.all))
        assert row.backbone
        assert row.selection
        assert row.source


def test_fresh_seeds_are_in_every_figure_of_best():
    data = Generator().study(fresh=3)
    bars = groups_info(data).bars
    assert [bar.role for bar in bars[:3]] == ["best", "fresh_seed", "naive"]
    runs = [row.metrics["test.few"] for row in data.fresh]
    few = GROUPS_WITH_ALL.index("few")
    assert bars[1].accuracy[few] == pytest.approx(fmean(runs))
    assert bars[1].deviation[few] == pytest.approx(stdev(runs))
    assert bars[1].limits == (None,) * 4  # of the images it says nothing
    assert bars[0].deviation == (None,) * 4
    table = groups_table(groups_info(data))
    assert table.rows[1][table.columns.index("few: deviation over seeds")] == pytest.approx(stdev(runs))
    marks = [mark for mark in accuracy_vs_balance_info(data).marks if mark.role == "fresh_seed"]
    assert [mark.label for mark in marks] == ["fresh seed 1", "fresh seed 2", "fresh seed 3"]
    best = class_accuracy_info(data).series[-1]
    recalls = [[row.correct / row.total for row in one.classes] for one in data.fresh]
    assert best.seeds == tuple((min(each), max(each)) for each in zip(*recalls, strict=True))
    assert "fresh seeds" in FIGURES["class_accuracy"].caption(class_accuracy_info(data))
    one = Generator().study(fresh=1)  # one seed has no deviation
    assert [bar.role for bar in groups_info(one).bars[:2]] == ["best", "naive"]


def test_every_method_has_a_look_of_its_own():
    roles = ("best", "fresh_seed", *Generator().study().space.baselines, "logit_adjustment_mul", "ncm")
    assert len({style.look_of(role).symbol for role in roles}) == len(roles)
    patterns = [(style.look_of(role).colour, style.look_of(role).pattern) for role in roles]
    assert len({pattern for _, pattern in patterns if pattern}) >= 6
    assert len(set(patterns)) == len(roles)


def test_no_figure_takes_a_finger_for_a_drag(data):
    assert {draw_figure(name, data).layout.dragmode for name in FIGURES} == {False}


def test_few_classes_are_not_smoothed(data):
    info = class_accuracy_info(data)
    assert all(series.smooth == () for series in info.series)
    assert "Gaussian" not in FIGURES["class_accuracy"].caption(info)
    many = class_accuracy_info(CASES["hundred classes"]())
    assert all(len(series.smooth) == len(many.grid) > 0 for series in many.series)
    assert "Gaussian" in FIGURES["class_accuracy"].caption(many)


def test_classes_stand_from_largest_to_smallest_with_their_names():
    names = tuple(f"kind {k}" for k in range(10))
    data = Generator(class_names=names).study()
    shuffled = dataclasses.replace(
        data, readings=tuple(dataclasses.replace(r, classes=tuple(reversed(r.classes))) for r in data.readings)
    )
    info = class_accuracy_info(data)
    assert info.names == names
    assert list(info.counts) == sorted(info.counts, reverse=True)
    assert [series.role for series in info.series] == ["naive", "best"]
    assert class_accuracy_info(shuffled) == info


def test_smoothing_keeps_a_constant_and_stays_between():
    counts, total = (100, 50, 10, 3), (20, 20, 20, 20)
    assert smoothed(counts, (10,) * 4, total, (3.0, 20.0, 100.0)) == (0.5, 0.5, 0.5)
    line = smoothed(counts, (18, 15, 6, 2), total, tuple(range(3, 100)))
    assert all(0.1 <= value <= 0.9 for value in line)
    assert smoothed(counts, (18, 15, 6, 0), (20, 20, 20, 0), (3.0,))[0] == pytest.approx(0.3, abs=0.1)
    assert smoothed((5, 5), (1, 1), (0, 0), (5.0,)) == ()


def test_text_cannot_become_markup():
    assert "<" not in plotly_text("<b>&lt;script>")
    assert plotly_text("a & b") == "a &amp; b"


def test_log_ticks_have_labels_of_their_values():
    ticks = log_ticks(1e-4, 0.2)
    assert ticks["ticktext"] == ["1e-4", "0.001", "0.01", "0.1"]
    assert style.sparse(ticks)["ticktext"] == ["", "0.001", "", "0.1"]
    assert style.sparse(ticks)["tickvals"] == ticks["tickvals"]
    assert 2.0 in log_ticks(2, 100, dense=True)["tickvals"]
    assert len(ticks["tickvals"]) == len(ticks["ticktext"])
