"""The report: one page, no request, nothing untrusted in its markup, the same numbers in all its files."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import re
import runpy
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from studies.figures import FIGURES
from studies.figures.style import number
from studies.headline import cautions, headline, remarks
from studies.report import write_images, write_report
from studies.report_page import escape
from studies.study_data import load_study_data

Generator = runpy.run_path(str(Path(__file__).with_name("synthetic.py")))["Generator"]
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
    assert f"{100 * line.accuracy.value:.1f} % balanced accuracy" in words
    assert f"{100 * line.naive.gain.value:.1f} points above the naive baseline" in words
    assert f"{100 * line.accuracy.low:.1f} to {100 * line.accuracy.high:.1f}" in words
    assert f"stage2.weight_decay {number(data.best.params['stage2.weight_decay'])}" in words.replace("\xa0", " ")
    assert "norms have slope" in words
    assert "tuner train best.yaml" in words
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


def test_cautions_say_what_matters(data):
    names = "\n".join(cautions(data))
    at_edge = dataclasses.replace(
        data.best, params={**data.best.params, "stage2.weight_decay": 0.19}, notes=("x inactive",)
    )
    changed = dataclasses.replace(data, trials=tuple(at_edge if r.number == at_edge.number else r for r in data.trials))
    assert "stage2.weight_decay of the best trial" not in names
    told = "\n".join(cautions(changed))
    assert (
        "stage2.weight_decay of the best trial is 0.19, at the high end of its range [0.0001, 0.2], logarithmic" in told
    )
    assert f"Trial {data.best.number}: x inactive" not in told
    assert f"Trial {data.best.number}: x inactive" in remarks(changed)
    leaky = dataclasses.replace(data.best, config={**data.best.config, "task.protocol": "paper_leak"})
    assert any("selected on test" in c for c in cautions(dataclasses.replace(data, trials=(leaky,))))
    assert any("not been read" in c for c in cautions(dataclasses.replace(data, readings=())))
    other = dataclasses.replace(data.reading("best"), number=1)
    assert any("Another trial became the best" in c for c in cautions(dataclasses.replace(data, readings=(other,))))


def test_a_gain_that_may_be_none_is_told(data):
    best = data.reading("best")
    same = dataclasses.replace(data.reading("naive"), classes=best.classes, metrics=best.metrics)
    assert any("includes zero" in c for c in cautions(dataclasses.replace(data, readings=(best, same))))


def test_a_baseline_that_guesses_and_a_small_test_set_are_told(data):
    naive = data.reading("naive")
    guesses = dataclasses.replace(naive, metrics={**naive.metrics, "test.balanced_accuracy": 0.01})
    assert not any("guessing" in c or "points wide" in c for c in cautions(data))
    readings = tuple(guesses if row.role == "naive" else row for row in data.readings)
    told = cautions(dataclasses.replace(data, readings=readings))
    assert any(c.startswith("Baseline naive reads 1.0 % on test, and guessing") for c in told)
    best = data.reading("best")
    few = tuple(dataclasses.replace(row, correct=min(row.correct, 1), total=2) for row in best.classes)
    small = dataclasses.replace(best, classes=few)
    readings = tuple(small if row.role == "best" else row for row in data.readings)
    assert any("points wide" in c for c in cautions(dataclasses.replace(data, readings=readings)))


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
    assert escape(EVIL) in html
    cells = [cell for path in tables for row in read(path) for cell in row]
    assert "'=cmd|'/c calc'!A0" in cells
    assert "=cmd|'/c calc'!A0" not in cells


def test_json_and_csv_hold_the_same_numbers(data, written):
    page, as_json, *tables = written
    content = json.loads(as_json.read_text())
    assert content["headline"]["accuracy"]["value"] == headline(data).accuracy.value
    assert {path.stem for path in tables} == content["tables"].keys()
    assert {path.parent.name for path in tables} == {"report_tables"}
    for path in tables:
        columns, *rows = read(path)
        table = content["tables"][path.stem]
        assert columns == table["columns"]
        assert len(rows) == len(table["rows"])
    trials = content["tables"]["trials"]
    best = next(row for row in trials["rows"] if row[0] == data.best.number)
    assert best[trials["columns"].index("stage1.lr")] == data.best.config["stage1.lr"]
    assert page.name == "report.html"


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


def test_two_thousand_trials_stay_below_six_megabytes(tmp_path):
    data = Generator().study(trials=2000, backbones=60, failed=40)
    page = write_report(data, tmp_path / "report.html")[0]
    assert page.stat().st_size < 6_000_000


def test_a_study_from_the_database_has_a_report(file_url, new_store, record, answer, tmp_path):
    space = Generator().space
    store = new_store(file_url, space_yaml=space.to_yaml(), space_sha256=space.sha256)
    job = record(store)
    store.finish_job(job.id, answer(job, values={0: 0.5, 1: 0.7}))
    asked = job.configs[1]
    result = answer(job, values={1: 0.7}, test=True)
    store.record_reading("best", asked, result["heads"][1], number=job.numbers[1], job_result=result)
    data = load_study_data(store)
    assert data.best.number == job.numbers[1]
    assert set(data.classes) == {data.best.number}
    assert headline(data).accuracy.value == pytest.approx((0.9 + 0.5) / 2)  # the third class has no image
    words = Page(write_report(data, tmp_path / "report.html")[0].read_text(encoding="utf-8")).text
    assert "class eel has one validation image" in words
    assert "radius inactive" in words


def test_images_need_a_browser_and_say_so(data, tmp_path, monkeypatch, caplog):
    pytest.importorskip("kaleido", reason="kaleido is not installed")
    monkeypatch.setenv("BROWSER_PATH", str(tmp_path / "no browser"))
    figure = FIGURES["history"]
    with caplog.at_level(logging.WARNING):
        assert write_images({"history": figure.draw(figure.info(data))}, tmp_path / "images") == []
    assert "image export needs Chrome or Chromium; HTML was written" in caplog.text
    assert not (tmp_path / "images").exists()


@pytest.mark.browser
def test_a_browser_draws_every_figure_without_complaint(written, tmp_path):
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no chromium on PATH")
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    switches += ["--disable-component-update", "--disable-sync", "--disable-quic", "--enable-logging=stderr"]
    switches += ["--virtual-time-budget=5000", f"--user-data-dir={tmp_path}"]
    found = subprocess.run(
        [browser, *switches, "--dump-dom", written[0].as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert found.stdout.count('class="main-svg"') >= len(FIGURES)
    assert "CONSOLE" not in found.stderr
