"""Accuracy against balance: what is drawn, which front, and what may not vanish."""

from __future__ import annotations

import base64
import dataclasses

import numpy as np
import pytest

from studies.figures import FIGURES, draw_figure
from studies.figures.accuracy_vs_balance import accuracy_vs_balance_info
from studies.figures.pareto_front import branches, front
from tests.support.synthetic import Generator


@pytest.fixture(scope="module")
def data():
    return Generator().study()


def test_no_trial_beats_one_on_the_front(data):
    info = accuracy_vs_balance_info(data)
    for measure, members in enumerate(info.front):
        for index in members:
            member = info.trials[index]
            assert not any(
                p.accuracy > member.accuracy and abs(p.balance[measure]) < abs(member.balance[measure])
                for p in info.trials
            )
        assert max(info.trials, key=lambda p: p.accuracy).accuracy == info.trials[members[-1]].accuracy


def test_the_chosen_trial_is_on_the_front_whatever_shares_its_value(data):
    best = data.best
    equal = [
        dataclasses.replace(best, number=number, metrics={**best.metrics, "norm.slope": slope})
        for number, slope in ((500, 0.4), (501, -0.0004), (502, 0.0001), (3, 0.2))
    ]
    rows = [row for row in data.trials if row.number != 3]
    tied = dataclasses.replace(data, trials=(*rows, *equal))
    assert tied.best.number == 501  # balanced to a thousandth, and of those the first
    assert len(tied.tied) == 5
    info = accuracy_vs_balance_info(tied)
    assert tied.best.number in {info.trials[i].number for i in info.front[0]}


def test_the_front_is_a_line_a_side_and_none_crosses_zero():
    accuracy = [0.5, 0.6, 0.7, 0.8, 0.75, 0.9]
    balance = [0.01, -0.02, 0.03, -0.04, 0.5, 0.2]
    members = front(accuracy, balance)
    assert members == (0, 1, 2, 3, 5)
    xs, ys = branches(members, accuracy, balance)
    assert xs == [-0.02, -0.04, None, 0.01, 0.03, 0.2]
    assert ys == [0.6, 0.8, None, 0.5, 0.7, 0.9]
    assert front([0.5, 0.5, 0.9], [0.0004, 0.0, None]) == (0,)  # equally balanced, equally good: one stands for both
    assert branches((), [], []) == ([], [])


def test_balance_points_carry_every_setting_that_varies_and_applies(data):
    info = accuracy_vs_balance_info(data)
    assert {*data.space.searched, "stage2.method", "stage2.tau"} <= set(info.names)
    by_number = {p.number: p for p in info.trials}
    assert by_number.keys() == {row.number for row in data.searched}
    row = data.searched[5]
    values = dict(zip(info.names, by_number[row.number].settings, strict=True))
    assert all(values[name] == row.config[name] for name in data.space.searched)
    assert values["stage2.tau"] == ""  # read by no loss of this trial
    assert [mark.role for mark in info.marks] == [*data.space.baselines, "best"]
    tau = next(mark for mark in info.marks if mark.role == "tau_norm")
    assert "stage2.tau 0.9" in tau.words
    naive = next(mark for mark in info.marks if mark.role == "naive")
    assert "stage1.lr 0.01" in naive.words
    assert not any(word in naive.words for word in ("maxnorm_radius", "stage2.weight_decay", "stage2.tau"))


def test_what_has_no_such_measure_is_told(data):
    def without(row, name):
        return dataclasses.replace(row, metrics={**row.metrics, name: None})

    best = without(data.best, "norm.spearman")
    other = next(row for row in data.searched if row.number != best.number)
    both = without(without(other, "norm.spearman"), "norm.slope")
    changed = {best.number: best, both.number: both}
    lacking = dataclasses.replace(data, trials=tuple(changed.get(row.number, row) for row in data.trials))
    caption = FIGURES["accuracy_vs_balance"].caption(accuracy_vs_balance_info(lacking))
    assert "Not shown, because they have no norm.slope: 1 trial." in caption
    assert f"Not shown, because they have no norm.spearman: 2 trials and best: trial {best.number}." in caption
    assert "Without" not in FIGURES["accuracy_vs_balance"].caption(accuracy_vs_balance_info(data))


def test_the_second_button_shows_the_second_measure(data):
    info = accuracy_vs_balance_info(data)
    drawn = draw_figure("accuracy_vs_balance", data)
    args = drawn.layout.updatemenus[0].buttons[1].args[0]
    assert len(args["x"]) == len(args["visible"]) == len(drawn.data)
    packed = np.frombuffer(base64.b64decode(args["x"][0]["bdata"]), dtype="<f4")
    assert packed == pytest.approx([point.balance[1] for point in info.trials], abs=1e-6)
    assert args["visible"][1:3] == [False, True]  # the front by the second measure
