"""The report in a real browser, with no network: drawn without complaint, on a desktop, on a phone, and on paper."""

from __future__ import annotations

import pytest

from studies.figures import FIGURES
from studies.report.comparison import write_comparison
from studies.report.write import write_report
from tests.support.chromium import Browser
from tests.support.synthetic import Generator

pytestmark = pytest.mark.browser
CASES = {
    "digits": lambda: Generator().study(fresh=3),
    "no few group": lambda: Generator(dataset="cifar10-lt", largest=5000, factor=100.0, data="d").study(),
    "hundred classes": lambda: Generator(dataset="cifar100-lt", classes=100, largest=500, factor=100.0, data="d").study(
        trials=300, backbones=12, failed=20
    ),
}
PAPER = 718  # pixels of an A4 page between its margins


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    return {name: write_report(make(), folder / f"{name}.html")[0] for name, make in CASES.items()}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(("width", "phone"), [(1280, False), (390, True)])
def test_every_figure_is_drawn_without_a_request_or_a_complaint(browser, pages, tmp_path, case, width, phone):
    browser.open(pages[case], width=width, phone=phone)
    browser.screenshot(tmp_path / f"{width}.png")
    drawn = browser.js(
        "[...document.querySelectorAll('.js-plotly-plot')].filter(f => f.querySelector('.main-svg')).length"
    )
    assert drawn == len(FIGURES)
    assert [url for url in browser.asked_for() if not url.startswith("data:")] == [pages[case].as_uri()]
    assert browser.complaints() == []
    assert browser.js("document.documentElement.scrollWidth") == width  # nothing to scroll sideways


def test_a_request_would_be_seen(browser, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("<img src='http://example.invalid/x.png'><script>console.error('no')</script>")
    browser.open(page)
    assert "http://example.invalid/x.png" in browser.asked_for()
    assert browser.complaints()


def test_a_finger_on_a_figure_scrolls_the_page_and_changes_nothing_in_it(browser, pages):
    browser.open(pages["digits"], width=390, height=844, phone=True)
    for name in FIGURES:
        figure = f"document.getElementById('figure_{name}')"
        browser.js(f"{figure}.scrollIntoView({{block: 'center'}})")
        browser.settle()
        area = f"{figure}.querySelector('.nsewdrag').getBoundingClientRect()"
        place = f"(r => [r.x + r.width / 2, r.y + r.height / 2])({area})"
        ranges = f"JSON.stringify([{figure}._fullLayout.xaxis.range, {figure}._fullLayout.yaxis.range])"
        before = browser.js(ranges)
        assert browser.swipe(*browser.js(place), by=150) > 75, name
        assert browser.js(ranges) == before, name


def test_on_paper_nothing_is_cut_and_pages_are_few(browser, pages, tmp_path):
    browser.open(pages["digits"])
    heights = "[...document.querySelectorAll('.js-plotly-plot')].map(f => f.offsetHeight)"
    before = browser.js(heights)
    assert 4 <= browser.pdf(tmp_path / "report.pdf") <= 11
    assert browser.js(heights) == before  # the screen has its own again
    browser.call("Emulation.setDeviceMetricsOverride", width=PAPER, height=1000, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.js("dispatchEvent(new Event('beforeprint'))")
    lower = f"{heights}.every((height, i) => height < {before}[i])"
    browser.js(f"new Promise(done => (function look() {{ {lower} ? done(1) : requestAnimationFrame(look) }})())")
    wide = f"[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > {PAPER + 1})"
    assert browser.js(f"{wide}.map(e => e.tagName + ' ' + (e.className.baseVal ?? e.className)).slice(0, 5)") == []
    cut = "[...document.querySelectorAll('pre, .scroll')].filter(e => e.scrollWidth > e.clientWidth + 1).length"
    assert browser.js(cut) == 0
    buttons = "[...document.querySelectorAll('.updatemenu-container, .modebar-container')]"
    assert browser.js(f"{buttons}.length") > 0
    assert browser.js(f"{buttons}.filter(e => e.getClientRects().length).length") == 0
    browser.call("Emulation.setEmulatedMedia", media="")


def test_what_is_absent_comes_last_however_a_table_is_sorted(browser, pages):
    browser.open(pages["digits"])
    browser.js("document.querySelectorAll('details').forEach(one => one.open = true)")
    table = "document.querySelector('#groups').parentElement.querySelector('table')"
    column = browser.js(
        f"[...{table}.tHead.rows[0].cells].findIndex(cell => cell.textContent == 'few: deviation over seeds')"
    )
    read = f"[...{table}.tBodies[0].rows].map(row => row.cells[{column}].textContent)"
    for key in ("click()", "dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', bubbles: true}))"):
        browser.js(f"{table}.tHead.rows[0].cells[{column}].{key}")
        values = browser.js(read)
        assert values[0] != "none"
        assert set(values[1:]) == {"none"}
    name = f"[...{table}.tBodies[0].rows].map(row => row.cells[1].textContent)"
    for sign in (-1, 1):
        browser.js(f"{table}.tHead.rows[0].cells[4].click()")
        numbers = [float(value) for value in browser.js(name.replace("cells[1]", "cells[4]"))]
        assert numbers == sorted(numbers, key=lambda value: sign * value)


def test_studies_side_by_side_are_drawn_too(browser, tmp_path):
    studies = [Generator(seed=0, name="one").study(fresh=3), Generator(seed=1, name="two").study()]
    page = write_comparison(studies, tmp_path / "compared.html")[0]
    browser.open(page, width=390, phone=True)
    assert browser.complaints() == []
    assert browser.js("document.documentElement.scrollWidth") == 390
    assert browser.js("document.querySelectorAll('.js-plotly-plot .main-svg').length") > 0
