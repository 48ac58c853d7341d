"""Names, reasons and values of others on every page of a study: in figures, HTML, JSON and CSV they are text."""

from __future__ import annotations

import csv
import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from studies.figures import FIGURES
from studies.figures.figure import Absent, Table
from studies.report.comparison import write_comparison
from studies.report.spreadsheet import guarded
from studies.report.write import write_csv, write_report
from tests.support.synthetic import Generator

EVIL = "</script><a href='http://evil.example'>x</a><img src=x onerror=alert(1)><!--&lt;b&gt;%{x}"
TAG = re.compile(r"<[^>]*>?")
OURS = {
    "<b>",
    "</b>",
    "<br>",
    "<i>",
    "</i>",
    "<extra>",
    "</extra>",
    "</span>",
    "<span style='font-size:10px;color:#666'>",
}
UNSHOWN = ("legendgroup",)  # keys of plotly whose text is compared, and never drawn


def hostile():
    """A study that says EVIL wherever a study can say something of its own."""
    made = Generator(class_names=tuple(f"{EVIL}{k}" for k in range(10))).study(trials=40, backbones=5, fresh=3)

    def changed(row, **more):
        own = {"stage1.loss": EVIL, "task.model": EVIL, "stage1.schedule": f"{EVIL}{row.config['stage1.lr'] > 0.01}"}
        return dataclasses.replace(row, config={**row.config, **own}, **more)

    known = ("best", "naive", "fresh_seed")
    return dataclasses.replace(
        made,
        study=dataclasses.replace(made.study, name=EVIL, state=EVIL, notes=(EVIL,), data_fingerprint=EVIL),
        trials=tuple(changed(row, reason=EVIL if row.state == "FAIL" else None, notes=(EVIL,)) for row in made.trials),
        backbones=tuple(changed(row, device=EVIL) for row in made.backbones),
        readings=tuple(changed(row, role=row.role if row.role in known else EVIL + row.role) for row in made.readings),
        fresh=tuple(map(changed, made.fresh)),
    )


def strings(value, key=""):
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner, key)
    elif isinstance(value, str) and key not in UNSHOWN:
        yield key, value


@pytest.fixture(scope="module")
def data():
    return hostile()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_no_markup_but_its_own_and_fills_in_nothing(data, name):
    info = FIGURES[name].info(data)
    assert not isinstance(info, Absent)
    for key, text in strings(json.loads(FIGURES[name].draw(info).to_json())):
        assert set(TAG.findall(text)) <= OURS, (key, text)
        assert "&lt;b" not in text, (key, text)  # which plotly would read
        assert not ("template" in key and "%{x}" in text and "evil" in text.split("%{x}")[0][-30:]), (key, text)


class Page(HTMLParser):
    """The elements of a page and where they lead."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.leads, self.handlers = set(), [], []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self.leads += [value for name, value in attributes if name in ("href", "src", "action")]
        self.handlers += [name for name, _ in attributes if name.startswith("on")]


def test_the_pages_lead_nowhere_and_hold_no_element_of_others(data, tmp_path):
    plain = Generator().study(trials=40, backbones=5, fresh=3)
    for written, known in (
        (write_report(data, tmp_path / "r.html"), write_report(plain, tmp_path / "plain.html")),
        (write_comparison([data, plain], tmp_path / "c.html"), write_comparison([plain, plain], tmp_path / "p.html")),
    ):
        html = written[0].read_text(encoding="utf-8")
        page = Page(html)
        assert page.elements <= Page(known[0].read_text(encoding="utf-8")).elements | {"strong", "ul", "li"}
        assert page.leads == []
        assert page.handlers == []
        assert html.count("</script>") == known[0].read_text(encoding="utf-8").count("</script>")
        json.loads(written[1].read_text(encoding="utf-8"))


RUN = ("=1+1", "+1+1", "-1+1", "@SUM(A1)", "=cmd|'/c calc'!A0", "＝1+1", "＋1", "－1+1", "＠SUM(A1)", "--5", "-", "=")
BEFORE = ("", " ", "  ", "\t", "\r", "\n", "\r\n", "\u00a0", "\u3000", "\ufeff", "\u200b", "\u2060", "\x00", " \t\n ")
PLAIN = ("cat", "a=b", "3-5", "e-mail", "", "-5", "+3.5", "-1e-9", "100", " cat", "1.", "naïve－x")


def test_a_cell_that_a_spreadsheet_would_run_is_text_and_numbers_stay_numbers(tmp_path):
    for text in [before + formula for before in BEFORE for formula in RUN]:
        assert guarded(text) == f"'{text}", repr(text)
    for text in ("\tcat", "\ncat", "\rcat"):
        assert guarded(text) == f"'{text}", repr(text)
    for value in (*PLAIN, -5, -0.5, 0, 3.0, True, None):
        assert guarded(value) == value, repr(value)
    write_csv(tmp_path / "t.csv", Table(("=a", "b"), ((" ＝1", -0.25), ("cat", None))))
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [["'=a", "b"], ["' ＝1", "-0.25"], ["cat", ""]]
