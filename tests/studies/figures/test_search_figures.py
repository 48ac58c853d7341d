"""Figures of the search itself: importances, history, timeline."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from studies.figures import FIGURES, Absent, draw_figure
from studies.figures.history import HistoryInfo, history_info
from studies.figures.importances import importances_info
from studies.figures.timeline import timeline_info
from tests.support.synthetic import Generator


@pytest.fixture(scope="module")
def data():
    return Generator().study()


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


def test_failed_trials_have_no_value(data):
    drawn = draw_figure("history", data)
    (failed,) = [trace for trace in drawn.data if trace.name == "failed"]
    assert failed.yaxis == "y2"
    assert set(failed.y) == {"failed"}
    assert drawn.layout.yaxis2.domain[1] < drawn.layout.yaxis.domain[0]


def test_jobs_in_one_lane_never_overlap(data):
    info = timeline_info(data)
    assert sum(bar.trials for bar in info.jobs) == len(data.trials)
    for lane in {bar.lane for bar in info.jobs}:
        bars = sorted((bar for bar in info.jobs if bar.lane == lane), key=lambda bar: bar.began)
        assert all(a.began + a.hours <= b.began + 1e-9 for a, b in pairwise(bars))
    assert {bar.kind for bar in info.jobs} == {"search", "baseline", "some failed"}


def test_a_jobs_training_is_its_heads_and_the_backbone_once(data):
    info = timeline_info(data)
    trained = sum(row.seconds for row in data.backbones) + sum(row.seconds or 0 for row in data.trials)
    bounded = [bar for bar in info.jobs if bar.trained < bar.hours]
    assert all(0 <= bar.trained <= bar.hours for bar in info.jobs)
    assert bounded
    assert sum(bar.trained for bar in info.jobs) <= trained / 3600 + 1e-9
    first = min((bar for bar in info.jobs if bar.kind == "search"), key=lambda bar: bar.job)
    again = next(bar for bar in info.jobs if bar.backbone == first.backbone and bar.job > first.job)
    assert again.trained < first.trained  # it found the backbone that the first one had trained


def test_looks_at_test_data_are_on_the_timeline():
    data = Generator().study(fresh=2)
    (mark,) = timeline_info(data).readings  # the generator reads all at one moment
    assert "test of best" in mark.label
    assert "fresh seed 2" in mark.label
    assert mark.at == pytest.approx(1.0)
