"""The report as one HTML page. All data is escaped; the page fetches nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib.resources import files
from typing import NamedTuple

from plotly.offline import get_plotlyjs

from studies.figures.figure import Table
from studies.findings.headline import Headline
from studies.wording import count
from trainers.config import Scalar

_LONG = 40  # characters that make a cell's column wide, even on a phone
_ROWS = 100  # of a table in the page; its CSV has all
# blocks every request of the page, even from its scripts
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class Panel(NamedTuple):
    """One figure of the page; `body` is plotly's fragment, or None and the caption says why."""

    name: str
    title: str
    body: str | None
    caption: str
    table: Table | None


class Need(NamedTuple):
    """A requirement for running the study again; `command` obtains it, or is ""."""

    what: str
    words: str
    command: str = ""


class Page(NamedTuple):
    """The content of the page."""

    headline: Headline
    summary: str  # one line on data and network
    chosen: tuple[tuple[str, str], ...]  # searched settings and the chosen trial's values
    slopes: tuple[float, float] | None  # norm.slope of the chosen classifier and of the naive one
    naive: str  # how the naive baseline was trained, in words
    cautions: tuple[str, ...]
    remarks: tuple[str, ...]
    panels: tuple[Panel, ...]
    failures: Table
    never_asked: str  # why trials of the budget are missing, or ""
    configuration: Table
    provenance: Table
    spaces: Table | None  # of a study that grew
    baselines: tuple[str, ...]  # roles
    thresholds: tuple[int, int]  # of many and few
    space_yaml: str
    needs: tuple[Need, ...]
    best_yaml: str | None
    tables: str  # name of the folder with the CSVs
    as_json: str  # name of the file with all numbers

    def place(self, name: str) -> int:
        """The number of a figure on the page, from 1."""
        return [panel.name for panel in self.panels].index(name) + 1


def document(title: str, parts: Iterable[str]) -> str:
    """An HTML page around escaped HTML, which fetches nothing; `title` is plain text."""
    assets = files("studies.report") / "assets"
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape_html(title)}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{(assets / 'report.css').read_text('utf-8')}</style>",
            f"<script>{get_plotlyjs()}</script></head><body>",
            *parts,
            f"<script>{(assets / 'report.js').read_text('utf-8')}</script></body></html>\n",
        ]
    )


def escape_html(value: object) -> str:
    """Untrusted text in HTML."""
    return html.escape(str(value))


def boxed(kind: str, title: str, lines: Iterable[str]) -> str:
    """A list under a bold title, in a box of this kind; "" without lines."""
    items = "".join(f"<li>{escape_html(line)}</li>" for line in lines)
    return f'<div class="{kind}"><strong>{escape_html(title)}</strong><ul>{items}</ul></div>' if items else ""


def panel_html(panel: Panel, number: int, tables: str | None = None) -> str:
    """One figure with its caption and table; `tables` is the folder of the full CSV."""
    head = f'<section><h2 id="{panel.name}">{number}. {escape_html(panel.title)}</h2>'
    if panel.body is None:
        return f'{head}<p class="absent">{escape_html(panel.caption)}</p></section>'
    label = escape_html(f"Figure {number}: {panel.title}. The table below has its numbers.")
    drawn = f'<div role="img" aria-label="{label}">{panel.body}</div>'
    caption = f'<figcaption id="{panel.name}_caption">{escape_html(panel.caption)}</figcaption>'
    described = f'aria-labelledby="{panel.name}" aria-describedby="{panel.name}_caption"'
    behind = _behind(panel.table, panel.name, panel.title, tables)
    return f"{head}<figure {described}>{drawn}{caption}</figure>{behind}</section>"


def _behind(table: Table | None, name: str, title: str, tables: str | None) -> str:
    if table is None:
        return ""
    more = f", the first {_ROWS} here" if len(table.rows) > _ROWS else ""
    whole = f"; all in {tables}/{name}.csv" if tables else ""
    label = f"The numbers as a table: {count(len(table.rows), 'row')}{more}{whole}"
    return f"<details><summary>{escape_html(label)}</summary>{table_html(table, title)}</details>"


def table_html(table: Table, label: str, *, kind: str = "") -> str:
    """A sortable table; accuracies stay fractions, as in the CSVs. `label` is for screen readers."""
    head = "".join(f'<th scope="col">{escape_html(column)}</th>' for column in table.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows[:_ROWS])
    return (
        f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{escape_html(label)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(value: Scalar) -> str:
    if value is None:
        return '<td class="n">none</td>'
    if isinstance(value, bool) or not isinstance(value, int | float):
        words = str(value).lower() if isinstance(value, bool) else value
        wide = ' class="w"' if len(words) > _LONG else ""
        return f"<td{wide}>{escape_html(words)}</td>"
    shown = f"{value:.5g}" if isinstance(value, float) else str(value)
    return f'<td class="n">{shown}</td>'
