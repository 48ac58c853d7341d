"""The report: one page, no request, nothing untrusted in its markup, the same numbers in all its files."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import re
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest

from studies.export.write import dump_config, export_config
from studies.figures import FIGURES
from studies.findings.headline import headline
from studies.report.page import escape_html
from studies.report.write import write_images, write_report
from studies.study_data import load_study_data
from studies.wording import gain_limits, limits, mean_and_deviation, number, per_cent, points
from tests.support.synthetic import Generator

EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"


class Page(HTMLParser):
    """What a browser would find: tags with attributes, and text outside of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data


def read(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


@pytest.fixture(scope="module")
def data():
    return Generator().study()


@pytest.fixture(scope="module")
def written(data, tmp_path_factory):
    return write_report(data, tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def html(written):
    return written[0].read_text(encoding="utf-8")


def test_what_stage_1_computed_in_is_wherever_its_hardware_is(html, written):
    words = Page(html).text
    assert words.count("cpu in bf16") == 2  # in the summary, and under what it takes to run it again
    whole = json.loads(written[1].read_text(encoding="utf-8"))
    assert ["precision of best", "bf16"] in whole["tables"]["provenance"]["rows"]
    tables = {path.stem: read(path) for path in written if path.suffix == ".csv"}
    assert {row[tables["trials"][0].index("precision")] for row in tables["trials"][1:]} == {"bf16", ""}
    assert "precision" in tables["readings"][0]


def test_a_study_of_an_earlier_release_names_its_device_alone(data, tmp_path):
    rows = tuple(dataclasses.replace(row, precision=None, device="NVIDIA H200") for row in data.backbones)
    html, *_ = write_report(dataclasses.replace(data, backbones=rows), tmp_path / "report.html")
    assert "trained on NVIDIA H200;" in Page(html.read_text(encoding="utf-8")).text


def test_every_figure_has_its_place_once(html):
    page = Page(html)
    ids = [attributes.get("id") for _, attributes in page.tags if attributes.get("id")]
    assert [i for i in ids if i.startswith("figure_")] == [f"figure_{name}" for name in FIGURES]
    assert len(ids) == len(set(ids))
    assert html.count("plotly.js v") == 1  # the library's own banner


def test_nothing_is_fetched(html):
    page = Page(html)
    assert not [
        tag for tag, attributes in page.tags if {"src", "href"} & attributes.keys() or tag in ("link", "iframe")
    ]
    policy = next(
        a["content"] for tag, a in page.tags if tag == "meta" and "content" in a and "default-src" in a["content"]
    )
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_a_reader_can_tell_what_won_by_how_much_and_how_to_run_it(data, html):
    page, line = Page(html), headline(data)
    words = re.sub(r"\s+", " ", page.text)
    assert f"Trial {line.trial} was chosen on validation" in words
    assert f"{per_cent(line.accuracy.value)} balanced accuracy" in words
    assert f"{points(line.naive.gain.value)[1:]} points above the naive baseline" in words
    assert limits(line.accuracy.low, line.accuracy.high) in words
    few = line.naive.gains["few"]
    trade = f"gains {points(few.value)[1:]} points on few-shot classes (95 % interval {gain_limits(few.low, few.high)})"
    assert f"Against the naive classifier, weight balancing {trade}" in words.replace("\xa0", " ")
    assert "Naive is one untuned training: no weight decay, stage1.lr 0.01" in words
    assert f"stage2.weight_decay {number(data.best.params['stage2.weight_decay'])}" in words.replace("\xa0", " ")
    assert "norms have slope" in words
    assert "tuner train best.yaml --check" in words
    assert f"tuner launch --space {line.study}.yaml" in words
    assert "python -m pip install" in words
    assert "gp chose 8 backbones" in words
    assert data.study.space_yaml.splitlines()[3].strip() in words
    assert f"weight_decay: {data.best.config['stage2.weight_decay']!r}" in words
    assert "the loss is nan after epoch 2" in words
    assert data.study.data_fingerprint in words


def test_headline_numbers(data):
    line = headline(data)
    assert (line.trial, line.complete, line.failed, line.searched) == (data.best.number, 63, 2, 62)
    assert line.naive.gain.value == pytest.approx(line.accuracy.value - line.naive.accuracy.value)
    assert line.accuracy.value == pytest.approx(data.reading("best").metrics["test.balanced_accuracy"])
    assert line.baseline.role == max(data.baselines, key=lambda r: r.metrics["val.balanced_accuracy"]).role
    assert line.trained_hours == pytest.approx(sum([60.0] * 8 + [58.0] + [61.0] + [2.0] * 62) / 3600)


def test_pauses_are_no_work(data):
    later = [
        dataclasses.replace(row, started=row.started.replace(year=2027), finished=row.finished.replace(year=2027))
        for row in data.trials
    ]
    twice = dataclasses.replace(data, trials=(*data.trials, *later))
    assert headline(twice).elapsed_hours == pytest.approx(2 * headline(data).elapsed_hours)


def test_untrusted_text_stays_text(tmp_path):
    generator = Generator(class_names=(EVIL, "=cmd|'/c calc'!A0", *(f"class {k}" for k in range(8))))
    data = generator.study(trials=12, backbones=3)
    bad = [dataclasses.replace(row, reason=EVIL) if row.state == "FAIL" else row for row in data.trials]
    study = dataclasses.replace(data.study, notes=(EVIL,))
    html_path, _, *tables = write_report(dataclasses.replace(data, trials=tuple(bad), study=study), tmp_path / "r.html")
    html = html_path.read_text(encoding="utf-8")
    plain = Page(html)
    assert not any(tag == "img" or "onerror" in attributes for tag, attributes in plain.tags)
    assert "alert('x')</script>" not in html
    assert escape_html(EVIL) in html
    cells = [cell for path in tables for row in read(path) for cell in row]
    assert "'=cmd|'/c calc'!A0" in cells
    assert "=cmd|'/c calc'!A0" not in cells


def test_json_and_csv_hold_the_same_numbers(data, written):
    page, as_json, *tables = written
    content = json.loads(as_json.read_text())
    assert content["headline"]["accuracy"]["value"] == headline(data).accuracy.value
    assert {path.stem for path in tables} == content["tables"].keys()
    assert {path.parent.name for path in tables} == {"report_tables"}
    assert content["space_yaml"] == data.study.space_yaml
    gain = content["headline"]["naive"]["gains"]["few"]
    assert gain["value"] == headline(data).naive.gains["few"].value
    for path in tables:
        columns, *rows = read(path)
        table = content["tables"][path.stem]
        assert columns == table["columns"]
        assert len(rows) == len(table["rows"])
    trials = content["tables"]["trials"]
    best = next(row for row in trials["rows"] if row[0] == data.best.number)
    assert best[trials["columns"].index("stage1.lr")] == data.best.config["stage1.lr"]
    assert page.name == "report.html"


def test_fresh_seeds_are_at_the_top_and_in_every_file(tmp_path):
    data = Generator().study(fresh=3)
    page, as_json, *_ = write_report(data, tmp_path / "report.html")
    over = headline(data).fresh.of("test.balanced_accuracy")
    values = [row.metrics["test.balanced_accuracy"] for row in data.fresh]
    assert over == (pytest.approx(fmean(values)), pytest.approx(stdev(values)))
    words = " ".join(Page(page.read_text(encoding="utf-8")).text.split())
    assert f"Trained again with seeds 1, 2 and 3, the same configuration reaches {mean_and_deviation(*over)}" in words
    assert "mean ± standard deviation over seeds, on test" in words  # its card
    fresh = json.loads(as_json.read_text())["headline"]["fresh"]
    assert fresh["seeds"] == [1, 2, 3]
    assert fresh["measures"]["test.balanced_accuracy"] == {"mean": over.mean, "deviation": over.deviation}
    columns, *rows = read(tmp_path / "report_tables" / "readings.csv")
    assert [row[columns.index("role")] for row in rows] == ["best", *["fresh_seed"] * 3, *data.space.baselines]
    assert [row[columns.index("stage1.seed")] for row in rows[1:4]] == ["1", "2", "3"]
    tau = rows[-2]
    assert (tau[0], float(tau[columns.index("stage2.tau")])) == ("tau_norm", pytest.approx(0.9))
    assert tau[columns.index("stage2.maxnorm_radius")] == ""  # it has none
    one = Generator().study(fresh=1)
    assert headline(one).fresh is None


def test_what_was_searched_comes_first_and_what_had_no_part_is_left_out(data, written):
    table = json.loads(written[1].read_text())["tables"]["configuration"]
    names = [row[0] for row in table["rows"]]
    assert names[: len(data.space.searched)] == list(data.space.searched)
    assert "stage2.tau" not in names  # cb_ce reads none
    assert "stage2.beta" in names


def test_the_page_has_the_file_that_is_written_beside_it(data, written):
    assert json.loads(written[1].read_text())["best_yaml"] == dump_config(export_config(data))


def test_a_group_without_classes_has_no_card():
    data = Generator(dataset="cifar10-lt", largest=5000, factor=100.0, data="d").study()
    line = headline(data)
    assert (line.rarest, set(line.naive.gains)) == ("medium", {"many", "medium"})
    assert line.rarest_accuracy.value == data.reading("best").metrics["test.medium"]


def test_a_value_is_the_measured_one_and_classes_give_its_limits_alone(data):
    reading = data.reading("best")
    told = dataclasses.replace(reading, metrics={**reading.metrics, "test.balanced_accuracy": 0.7654321})
    readings = tuple(told if row.role == "best" else row for row in data.readings)
    line = headline(dataclasses.replace(data, readings=readings))
    assert line.accuracy.value == 0.7654321
    assert line.accuracy.low <= line.accuracy.value <= line.accuracy.high


def test_words_and_figures_can_be_heard(html):
    page = Page(html)
    figures = [attributes for tag, attributes in page.tags if tag == "figure"]
    ids = {attributes.get("id") for _, attributes in page.tags}
    assert len(figures) == len(FIGURES)
    assert all({figure["aria-labelledby"], figure["aria-describedby"]} <= ids for figure in figures)
    images = [a for tag, a in page.tags if a.get("role") == "img"]
    assert all(a["aria-label"].startswith("Figure ") for a in images)
    assert all(a.get("aria-label") for _, a in page.tags if a.get("role") == "region")
    assert "Words" in page.text
    assert all(f"{word}" in page.text for word in ("τ-norm", "weight balancing", "backbone", "slope"))


def test_the_same_data_gives_the_same_files(data, written, tmp_path):
    again = write_report(data, tmp_path / "report.html")
    assert [path.name for path in again] == [path.name for path in written]
    assert all(a.read_bytes() == b.read_bytes() for a, b in zip(again, written, strict=True))


@pytest.mark.parametrize(
    "asked",
    [
        {"trials": 0, "failed": 0, "backbones": 1, "readings": False, "baselines": False, "epochs": False},
        {"trials": 1, "failed": 0, "backbones": 1, "readings": False, "baselines": False, "epochs": False},
        {"trials": 3, "failed": 3, "backbones": 1, "readings": False},
        {"trials": 5, "failed": 0, "backbones": 2, "baselines": False},
    ],
)
def test_small_studies_have_a_report_too(tmp_path, asked):
    data = Generator().study(**asked)
    html = write_report(data, tmp_path / "report.html")[0].read_text(encoding="utf-8")
    words = Page(html).text
    assert ("No trial of the search has finished yet." in words) == (data.best is None)
    assert "nan" not in re.findall(r"[a-z]+", words.replace("loss is nan", "").lower())


def test_a_hundred_classes_and_two_thousand_trials_stay_below_six_megabytes(tmp_path):
    wide = Generator(dataset="cifar100-lt", classes=100, largest=500, factor=100.0, data="d")
    data = wide.study(trials=2000, backbones=60, failed=40, fresh=3)
    page = write_report(data, tmp_path / "report.html")[0]
    assert page.stat().st_size < 5_800_000  # 6 MB are promised; 4.8 MB of it is plotly.js


def test_a_study_from_the_database_has_a_report(file_url, new_store, record, answer, tmp_path):
    space = Generator().space
    store = new_store(file_url, space_yaml=space.to_yaml(), space_sha256=space.sha256)
    job = record(store)
    store.finish_job(job.id, answer(job, values={0: 0.5, 1: 0.7}))
    asked = job.configs[1]
    result = answer(job, values={1: 0.7}, test=True)
    store.record_reading("best", asked, result.heads[1], number=job.numbers[1], backbone=result.backbone)
    data = load_study_data(store)
    assert data.best.number == job.numbers[1]
    assert set(data.classes) == {data.best.number}
    assert headline(data).accuracy.value == pytest.approx((0.9 + 0.5) / 2)  # the third class has no image
    words = Page(write_report(data, tmp_path / "report.html")[0].read_text(encoding="utf-8")).text
    assert "class eel has one validation image" in words
    assert "radius inactive" in words


def test_images_need_a_browser_and_say_so(data, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no browser"))
    figure = FIGURES["history"]
    with caplog.at_level(logging.WARNING):
        assert write_images({"history": figure.draw(figure.info(data))}, tmp_path / "images") == []
    assert "image export needs Chrome or Chromium; HTML was written" in caplog.text
    assert not (tmp_path / "images").exists()
