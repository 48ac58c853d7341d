"""What each figure shows, as plain tuples, and that each can be drawn from anything a study may hold."""

from __future__ import annotations

import dataclasses
import json
import runpy
from itertools import pairwise
from pathlib import Path

import pytest

from studies.figures import FIGURES, Absent, draw_figure
from studies.figures.accuracy_vs_balance import accuracy_vs_balance_info
from studies.figures.class_accuracy import class_accuracy_info, smoothed
from studies.figures.classifier_norms import classifier_norms_info
from studies.figures.groups import GROUPS, groups_caption, groups_info, groups_table
from studies.figures.history import HistoryInfo, history_info
from studies.figures.importances import importances_info
from studies.figures.norm_evolution import norm_evolution_info
from studies.figures.style import log_ticks, text
from studies.figures.surface import surface
from studies.figures.timeline import timeline_info
from studies.figures.weight_decay_radius import weight_decay_radius_info
from studies.published import PUBLISHED, published_for
from studies.study_data import best_trial

Generator = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))["Generator"]

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
    assert [bar.role for bar in info.bars] == [
        "best",
        "weight_decay",
        "l2_norm",
        "tau_norm",
        "logit_adjustment",
        "naive",
    ]
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
    few = GROUPS.index("few")
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
    hatched = [trace for trace in draw_figure("groups", data).data if trace.marker.pattern.shape]
    assert hatched
    assert all(trace.name.startswith("published: ") for trace in hatched)
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


def test_no_trial_beats_one_on_the_front(data):
    info = accuracy_vs_balance_info(data)
    for measure, front in enumerate(info.front):
        for index in front:
            member = info.trials[index]
            assert not any(
                p.accuracy > member.accuracy and abs(p.balance[measure]) < abs(member.balance[measure])
                for p in info.trials
            )
        assert max(info.trials, key=lambda p: p.accuracy).accuracy == info.trials[front[-1]].accuracy


def test_balance_points_carry_every_setting_that_varies(data):
    info = accuracy_vs_balance_info(data)
    assert set(data.space.searched) <= set(info.names)
    by_number = {p.number: p for p in info.trials}
    assert by_number.keys() == {row.number for row in data.searched}
    row = data.searched[5]
    assert by_number[row.number].settings == tuple(row.config[name] for name in info.names)
    assert [mark.role for mark in info.marks] == ["naive", *(row.role for row in data.baselines), "best"]


def test_the_second_button_shows_the_second_measure(data):
    info = accuracy_vs_balance_info(data)
    drawn = draw_figure("accuracy_vs_balance", data)
    x = drawn.layout.updatemenus[0].buttons[1].args[0]["x"]
    assert len(x) == len(drawn.data)
    assert x[0] == pytest.approx([point.balance[1] for point in info.trials], abs=1e-4)


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


def test_norms_are_drawn_relative_and_tabled_as_they_are(data):
    info = classifier_norms_info(data)
    assert [series.role for series in info.series] == ["naive", "stage1", "best"]
    assert info.series[-1].norms == data.best.norms  # classes are in order of size already
    drawn = draw_figure("classifier_norms", data)
    for trace in drawn.data:
        assert sum(trace.y) / len(trace.y) == pytest.approx(1, abs=1e-3)


def test_norms_of_another_number_of_classes_are_left_out(data):
    odd = dataclasses.replace(data.best, norms=data.best.norms[:-1])
    changed = dataclasses.replace(data, trials=tuple(odd if r.number == odd.number else r for r in data.trials))
    assert [series.role for series in classifier_norms_info(changed).series] == ["naive", "stage1"]


def test_norm_evolution_knows_the_backbones_of_naive_and_best(data):
    info = norm_evolution_info(data)
    assert sorted(curve.role for curve in info.stage1 if curve.role != "other") == ["best", "naive"]
    assert len(info.stage1) == len(data.backbones)
    assert info.stage2[0].epochs == tuple(range(1, 11))
    assert all(len(values) == len(curve.epochs) for curve in info.stage1 for values in curve.values)


def test_heads_of_all_backbones_are_relative_to_the_best_of_their_own(data):
    info = weight_decay_radius_info(data)
    everything, *single = info.views
    assert info.log == (True, True)
    assert max(everything.accuracy) == 0
    assert sum(value == 0 for value in everything.accuracy) >= len({row.backbone_index for row in data.searched})
    assert everything.numbers[everything.best] == data.best.number
    assert all(set(view.numbers) <= set(everything.numbers) for view in single)
    drawn = draw_figure("weight_decay_radius", data)
    for button in drawn.layout.updatemenus[0].buttons:
        assert len(button.args[0]["visible"]) == len(drawn.data)


def test_a_constant_surface_is_constant_and_a_line_has_none():
    points = [(10.0**-i, float(j), 0.5) for i in range(4) for j in range(4)]
    found = surface(points, log=(True, False))
    assert {z for row in found.z for z in row if z is not None} == {0.5}
    assert found.x == sorted(found.x)
    assert surface([(1.0, float(j), 0.5) for j in range(20)], log=(True, False)) is None
    assert surface([(0.0, *p[1:]) for p in points], log=(True, False)) is None
    assert surface(points[:5], log=(True, False)) is None


def test_importances_add_up_and_name_their_n(data):
    info = importances_info(data)
    assert sum(info.shares) == pytest.approx(1, abs=1e-4)
    assert set(info.names) == set(data.space.searched)
    assert (info.trials, info.backbones) == (len(data.searched), 8)
    assert list(info.shares) == sorted(info.shares, reverse=True)
    assert "PED-ANOVA" in FIGURES["importances"].caption(info)
    assert isinstance(importances_info(Generator().study(trials=9, failed=0)), Absent)


def test_history_is_a_running_maximum(data):
    rows = data.searched[:3]
    few = dataclasses.replace(
        data,
        trials=tuple(dataclasses.replace(row, value=value) for row, value in zip(rows, (0.5, 0.4, 0.6), strict=True)),
    )
    assert history_info(few) == HistoryInfo(
        "val.balanced_accuracy", tuple(row.number for row in rows), (0.5, 0.4, 0.6), (0.5, 0.5, 0.6), (), None
    )


def test_jobs_in_one_lane_never_overlap(data):
    info = timeline_info(data)
    assert sum(bar.trials for bar in info.jobs) == len(data.trials)
    for lane in {bar.lane for bar in info.jobs}:
        bars = sorted((bar for bar in info.jobs if bar.lane == lane), key=lambda bar: bar.began)
        assert all(a.began + a.hours <= b.began + 1e-9 for a, b in pairwise(bars))
    assert {bar.kind for bar in info.jobs} == {"search", "baseline", "some failed"}


def test_text_cannot_become_markup():
    assert "<" not in text("<b>&lt;script>")
    assert text("a & b") == "a &amp; b"


def test_log_ticks_have_labels_of_their_values():
    ticks = log_ticks(1e-4, 0.2)
    assert ticks["ticktext"] == ["1e-4", "0.001", "0.01", "0.1", "1"]
    assert 2.0 in log_ticks(2, 100, dense=True)["tickvals"]
    assert len(ticks["tickvals"]) == len(ticks["ticktext"])
