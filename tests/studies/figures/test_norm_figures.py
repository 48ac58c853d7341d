"""Figures of the norms: by class, by epoch, by weight decay and radius."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from studies.figures import Absent, draw_figure
from studies.figures.class_norms import class_norms_info, draw_class_norms
from studies.figures.classifier_norms import classifier_norms_info
from studies.figures.norm_evolution import norm_evolution_info
from studies.figures.smoothing import surface
from studies.figures.stage1_weight_decay import stage1_weight_decay_info
from studies.figures.weight_decay_radius import weight_decay_radius_info
from tests.support.synthetic import Generator


@pytest.fixture(scope="module")
def data():
    return Generator().study()


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
    assert info.stage2[0].epochs == tuple(range(11))
    (start,) = [r for r in data.posthoc if r.backbone == data.best.backbone and r.config["stage2.method"] == "none"]
    assert info.stage2[0].values[0][0] == start.metrics["norm.slope"]  # where stage 1 left it
    crt = dataclasses.replace(data.best, config={**data.best.config, "stage2.method": "crt"})
    afresh = dataclasses.replace(data, trials=tuple(crt if r.number == crt.number else r for r in data.trials))
    assert norm_evolution_info(afresh).stage2[0].epochs == tuple(range(1, 11))
    assert all(len(values) == len(curve.epochs) for curve in info.stage1 for values in curve.values)


def test_heads_of_all_backbones_are_relative_to_the_best_of_their_own(data):
    info = weight_decay_radius_info(data)
    everything, *single = info.views
    assert info.log == (True, True)
    assert max(everything.accuracy) == 0
    assert sum(value == 0 for value in everything.accuracy) >= len({row.backbone_index for row in data.searched})
    assert everything.numbers[everything.best] == data.best.number
    assert all(set(view.numbers) <= set(everything.numbers) for view in single)
    crt = dataclasses.replace(data.best, config={**data.best.config, "stage2.method": "crt"})  # which has no radius
    other = dataclasses.replace(data, trials=tuple(crt if r.number == crt.number else r for r in data.trials))
    assert set(everything.numbers) - set(weight_decay_radius_info(other).views[0].numbers) == {crt.number}
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


def test_backbones_stand_by_the_weight_decay_they_were_trained_with(data):
    info = stage1_weight_decay_info(data)
    naive, *searched = info.backbones
    assert (naive.role, naive.weight_decay, naive.best_head) == ("naive", 0.0, None)
    assert [one.weight_decay for one in searched] == sorted(
        row.config["stage1.weight_decay"] for row in data.backbones if row.kind == "search"
    )
    (best,) = [one for one in searched if one.role == "best"]
    assert best.best_head == data.best.value
    own = data.backbone_by_fingerprint[data.best.backbone]
    assert best.weight_decay == own.config["stage1.weight_decay"]
    same = {**own.config, "stage1.weight_decay": 0.005}
    alike = dataclasses.replace(data, backbones=tuple(dataclasses.replace(b, config=same) for b in data.backbones))
    assert isinstance(stage1_weight_decay_info(alike), Absent)


def test_norms_of_every_class_are_sorted_by_size_and_free_of_scale(data):
    info = class_norms_info(data)
    assert [panel.label for panel in info.panels] == ["naive (no weight decay)", "stage 1 of best"]
    assert list(info.counts) == sorted(info.counts, reverse=True)
    for panel in info.panels:
        assert list(panel.epochs) == sorted(panel.epochs)
        assert len(panel.norms) == len(panel.epochs) <= 21
    last = max(row.epoch for row in data.epochs if row.norms and row.backbone == data.best.backbone)
    row = next(r for r in data.epochs if r.backbone == data.best.backbone and r.epoch == last)
    assert sorted(info.panels[1].norms[-1]) == sorted(row.norms)
    figure = draw_class_norms(info)
    scaled = info._replace(
        panels=tuple(p._replace(norms=tuple(tuple(1e-3 * n for n in row) for row in p.norms)) for p in info.panels)
    )
    assert np.allclose(figure.data[0].z, draw_class_norms(scaled).data[0].z, atol=1e-5)
    assert np.allclose(np.exp2(figure.data[1].z).mean(axis=0), 1, atol=1e-5)


def test_a_study_without_norms_per_epoch_says_so(data):
    earlier = dataclasses.replace(data, epochs=tuple(dataclasses.replace(row, norms=()) for row in data.epochs))
    assert "earlier release" in class_norms_info(earlier).reason
