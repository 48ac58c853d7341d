"""Studies side by side, and the front of one: the same numbers as in each study's own report."""

from __future__ import annotations

import csv
import dataclasses
import json

import pytest

from studies.figures.compared import compared_balance_info, compared_groups_info
from studies.figures.figure import Absent
from studies.findings.headline import headline
from studies.findings.pareto import pareto_front
from studies.report.comparison import (
    comparison_cautions,
    differences_table,
    headlines_table,
    settings_table,
    write_comparison,
)
from studies.wording import duration
from tests.support.synthetic import Generator


@pytest.fixture(scope="module")
def pair():
    return Generator(seed=0, name="one").study(), Generator(seed=1, name="two").study(trials=20, backbones=4)


def test_a_column_a_study_with_the_headline_of_its_own_report(pair):
    table = headlines_table([headline(data) for data in pair])
    assert table.columns == ("", "one", "two")
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["chosen trial"] == tuple(data.best.number for data in pair)
    assert rows["balanced accuracy on test"] == tuple(headline(data).accuracy.value for data in pair)
    assert rows["finished trials"] == (63, 19)


def test_bars_are_of_best_and_naive_of_each_study_in_order(pair):
    info = compared_groups_info(pair)
    assert info.split == "test"
    assert [(one.study, one.bar.role) for one in info.bars] == [
        ("one", "best"), ("one", "naive"), ("two", "best"), ("two", "naive"),
    ]  # fmt: skip
    fresh = Generator(seed=0, name="one").study(fresh=2)
    roles = [one.bar.role for one in compared_groups_info([fresh, pair[1]]).bars]
    assert roles == ["best", "fresh_seed", "naive", "best", "naive"]


def test_validation_and_test_are_never_mixed(pair):
    unread = dataclasses.replace(pair[1], readings=())
    assert isinstance(compared_groups_info([pair[0], unread]), Absent)
    assert compared_groups_info([unread, unread]).split == "validation"


def test_every_trial_is_a_point_and_fronts_are_those_of_the_studies(pair):
    points = compared_balance_info(pair)
    for data in pair:
        own = [point for point in points if point.study == data.study.name]
        assert {point.number for point in own} == {row.number for row in data.searched}
        assert {point.number for point in own if point.front} == {row.number for row in pareto_front(data)}


def test_no_trial_beats_one_of_the_front_and_each_other_is_beaten(pair):
    data = pair[0]
    front = pareto_front(data)
    both = [
        (row.number, round(abs(row.metrics["norm.slope"]), 3), round(row.metrics["val.balanced_accuracy"], 9))
        for row in data.searched
    ]
    for number, balance, accuracy in both:
        beaten = any(b <= balance and a >= accuracy and (b, a) != (balance, accuracy) for _, b, a in both)
        assert beaten == (number not in {row.number for row in front})
    nearness = [round(abs(row.metrics["norm.slope"]), 3) for row in front]
    assert nearness == sorted(nearness)
    with pytest.raises(KeyError, match=r"norm\.slope"):
        pareto_front(data, measure="norm.slop")
    empty = Generator().study(trials=0, failed=0, backbones=1, readings=False, baselines=False, epochs=False)
    assert pareto_front(empty) == ()


def test_what_cannot_be_compared_is_told(pair):
    told = "\n".join(comparison_cautions(pair))
    assert "different images or splits" in told  # the generator gives each name a fingerprint of its own
    same = dataclasses.replace(pair[0].study, name="other")
    assert comparison_cautions([pair[0], dataclasses.replace(pair[0], study=same)]) == ()
    open_one = dataclasses.replace(pair[0], study=dataclasses.replace(same, state="running"))
    assert "other is running, not done." in comparison_cautions([pair[0], open_one])


def test_settings_that_differ_are_listed(pair):
    rows = {row[0]: row[1:] for row in settings_table(pair).rows}
    assert rows["stage1.lr"] == tuple(data.best.config["stage1.lr"] for data in pair)
    assert "stage1.momentum" not in rows


def test_the_page_fetches_nothing_and_escapes_names(pair, tmp_path):
    evil = dataclasses.replace(pair[1], study=dataclasses.replace(pair[1].study, name="<two>"))
    page, as_json, *_ = write_comparison([pair[0], evil], tmp_path / "c.html")
    html = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in html
    assert "&lt;two&gt;" in html
    assert "<two>" not in html
    assert all(f'id="figure_{name}"' in html for name in ("compared_groups", "compared_balance"))
    tables = json.loads(as_json.read_text())["tables"]
    assert tables["headlines"]["rows"][0][1:] == [data.best.number for data in pair]
    assert page.read_bytes() == write_comparison([pair[0], evil], tmp_path / "again" / "c.html")[0].read_bytes()


def test_studies_without_results_can_be_compared_too(pair, tmp_path):
    empty = Generator().study(trials=0, failed=0, backbones=1, readings=False, baselines=False, epochs=False)
    html = write_comparison([pair[0], empty], tmp_path / "c.html")[0].read_text(encoding="utf-8")
    assert "nothing to compare" in html


def test_the_difference_comes_with_its_interval_and_only_on_the_same_data(pair, tmp_path):
    one = pair[0]
    other = dataclasses.replace(one, study=dataclasses.replace(one.study, name="other"))
    lines = [headline(one), headline(other)]
    ((study, minus, value, low, high),) = differences_table(lines).rows
    assert (study, minus, value) == ("other", "wd_maxnorm" if one.study.name == "wd_maxnorm" else "one", 0)
    assert low < 0 < high
    assert differences_table([headline(data) for data in pair]).rows[0][2:] == (None, None, None)
    page, as_json, *tables = write_comparison([one, other], tmp_path / "c.html")
    html = page.read_text(encoding="utf-8")
    assert "other reads 0.0 points above one on test" in html
    assert "it includes zero" in html
    assert "joined by a dotted line are the Pareto front of a study." in html  # captions are whole
    assert f"<td>{duration(3600 * headline(one).trained_hours)}</td>" in html
    content = json.loads(as_json.read_text())["tables"]
    assert {path.stem for path in tables} == content.keys()
    with (tmp_path / "c_tables" / "differences.csv").open(newline="", encoding="utf-8") as file:
        columns, row = csv.reader(file)
    assert columns == content["differences"]["columns"]
    assert [float(value) for value in row[2:]] == content["differences"]["rows"][0][2:]
