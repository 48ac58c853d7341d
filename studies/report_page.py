"""The report as one HTML page. Everything that comes from data is escaped here; nothing is fetched from anywhere."""

from __future__ import annotations

import html
from collections.abc import Iterable
from importlib.resources import files
from typing import NamedTuple

from plotly.offline import get_plotlyjs

from studies.figures.figure import Table
from studies.figures.style import per_cent, points, role_label
from studies.headline import Compared, Headline
from studies.intervals import Interval
from studies.records import Scalar

_ROWS = 200  # of a table in the page; its CSV has all
# no request can leave the page, whatever a script in it may try
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"


class Panel(NamedTuple):
    """One figure of the page; `body` is plotly's fragment, or None with the reason why there is none."""

    name: str
    title: str
    body: str | None
    caption: str
    table: Table | None


class Page(NamedTuple):
    """All that the page shows."""

    headline: Headline
    summary: str  # one line on data and network
    chosen: tuple[tuple[str, str], ...]  # what was searched, and the chosen trial's values
    slopes: tuple[float, float] | None  # norm.slope of the chosen classifier and of the naive one
    cautions: tuple[str, ...]
    remarks: tuple[str, ...]
    panels: tuple[Panel, ...]
    failures: Table
    configuration: Table
    provenance: Table
    best_yaml: str | None
    tables: str  # name of the folder with the CSVs


def render(page: Page) -> str:
    """The whole document."""
    panels = (panel_html(panel, number, page.tables) for number, panel in enumerate(page.panels, start=1))
    return document(f"{page.headline.study}: tuner report", [_top(page), *panels, _failures(page), _again(page)])


def document(title: str, parts: Iterable[str]) -> str:
    """A page of our own that fetches nothing, around HTML that is escaped already; `title` is plain text."""
    assets = files("studies") / "assets"
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{(assets / 'report.css').read_text('utf-8')}</style>",
            f"<script>{get_plotlyjs()}</script></head><body>",
            *parts,
            f"<script>{(assets / 'report.js').read_text('utf-8')}</script></body></html>\n",
        ]
    )


def escape(value: object) -> str:
    """Untrusted text in HTML."""
    return html.escape(str(value))


def _top(page: Page) -> str:
    line = page.headline
    parts = [f"<header><h1>{escape(line.study)}</h1>", f'<p class="soft">{escape(page.summary)}</p>']
    parts += [f'<p class="lead">{_story(line)}</p>', _chosen(page), f'<div class="cards">{"".join(_cards(line))}</div>']
    if page.cautions:
        items = "".join(f"<li>{escape(caution)}</li>" for caution in page.cautions)
        parts.append(f'<div class="cautions"><strong>Read with care</strong><ul>{items}</ul></div>')
    if page.remarks:
        items = "".join(f"<li>{escape(remark)}</li>" for remark in page.remarks)
        parts.append(f'<div class="remarks"><strong>Good to know</strong><ul>{items}</ul></div>')
    return "".join(parts) + "</header>"


def _chosen(page: Page) -> str:
    settings = ", ".join(f"<code>{escape(name)}</code>&nbsp;{escape(value)}" for name, value in page.chosen)
    told = [f"Its settings: {settings}."] if settings else []
    if page.slopes is not None:
        best, naive = (f"{slope:+.2f}".replace("-", "−") for slope in page.slopes)
        told.append(
            f"Its classifier's norms have slope {best} on class size, the naive one's {naive}; 0 is balanced, and "
            "above it common classes have the longer weight vectors (figures 2, 4 and 6)."
        )
    return f"<p>{' '.join(told)}</p>" if told else ""


def _story(line: Headline) -> str:
    if line.trial is None:
        return "No trial of the search has finished yet."
    chosen = (
        f"<strong>Trial {line.trial}</strong> was chosen on validation ({escape(line.objective)} "
        f"{per_cent(line.value)}, "
        f"the best of {_count(line.searched, 'finished trial')} of the search)."
    )
    if line.accuracy is None:
        return f"{chosen} Test data has not been read for it."
    told = f"{chosen} On test images it reaches <strong>{per_cent(line.accuracy.value)}</strong> balanced accuracy"
    told += f" (95&nbsp;% interval {_limits(line.accuracy)})"
    if line.naive is not None:
        told += f", {_distance(line.naive)} the naive baseline"
    if line.baseline is not None:
        rival = escape(role_label(line.baseline.role))
        told += f" and {_distance(line.baseline)} {rival}, of the other baselines the best on validation"
    return told + "."


def _distance(other: Compared) -> str:
    side = "above" if other.gain.value >= 0 else "below"
    return f"{100 * abs(other.gain.value):.1f} points {side}"


def _limits(interval: Interval) -> str:
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}&nbsp;%"


def _cards(line: Headline) -> Iterable[str]:
    if line.accuracy is not None:
        yield _card(
            per_cent(line.accuracy.value), f"best on test, 95&nbsp;% interval {_limits(line.accuracy)}", mark="best"
        )
        yield _card(per_cent(line.few), "best on test, few-shot classes")
    elif line.value is not None:
        yield _card(per_cent(line.value), f"best: {escape(line.objective)}", mark="best")
    for other in (line.naive, line.baseline):
        if other is not None:
            gain = f"{points(other.gain.low)} to {points(other.gain.high)}"
            over = f"points over {escape(role_label(other.role))} ({per_cent(other.accuracy.value)})"
            yield _card(points(other.gain.value), f"{over}, 95&nbsp;% interval {gain}")
    rest = [f"{count} {word}" for word, count in (("pruned", line.pruned), ("running", line.running)) if count]
    done = f"trial{'' if line.complete == 1 else 's'} complete, {line.failed} failed"
    yield _card(f"{line.complete}", ", ".join([done, *rest, _count(line.backbones, "backbone")]))
    yield _card(
        _duration(line.elapsed_hours),
        f"of work, {_duration(line.trained_hours)} of training; study {escape(line.state)}",
    )
    yield _card(escape((line.data_fingerprint or "unknown")[:12]), "data fingerprint")


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"


def _card(value: str, label: str, *, mark: str = "") -> str:
    return f'<div class="card {mark}"><b>{value}</b><span>{label}</span></div>'


def _duration(hours: float) -> str:
    for unit, seconds in (("h", 3600), ("min", 60)):
        if hours * 3600 >= 1.5 * seconds:
            return f"{hours * 3600 / seconds:.1f} {unit}"
    return f"{hours * 3600:.0f} s"


def panel_html(panel: Panel, number: int, tables: str | None = None) -> str:
    """One figure with its caption and its table; `tables` is the folder that has the whole table as CSV."""
    head = f'<section><h2 id="{panel.name}">{number}. {escape(panel.title)}</h2>'
    if panel.body is None:
        return f'{head}<p class="absent">{escape(panel.caption)}</p></section>'
    caption = f"<figcaption>{escape(panel.caption)}</figcaption>"
    return f"{head}<figure>{panel.body}{caption}</figure>{_behind(panel.table, panel.name, tables)}</section>"


def _behind(table: Table | None, name: str, tables: str | None) -> str:
    if table is None:
        return ""
    more = f", the first {_ROWS} here" if len(table.rows) > _ROWS else ""
    whole = f"; all in {tables}/{name}.csv" if tables else ""
    label = f"The numbers as a table: {_count(len(table.rows), 'row')}{more}{whole}"
    return f"<details><summary>{escape(label)}</summary>{table_html(table)}</details>"


def table_html(table: Table) -> str:
    """A table that can be sorted; accuracies stay fractions, as in the CSVs."""
    head = "".join(f'<th scope="col">{escape(column)}</th>' for column in table.columns)
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows[:_ROWS])
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(value: Scalar) -> str:
    if value is None:
        return '<td class="n">none</td>'
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"<td>{escape(str(value).lower() if isinstance(value, bool) else value)}</td>"
    shown = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'<td class="n">{shown}</td>'


def _failures(page: Page) -> str:
    count = len(page.failures.rows)
    if not count:
        return '<section><h2 id="failures">Failed trials</h2><p>None.</p></section>'
    more = f" The first {_ROWS} are shown." if count > _ROWS else ""
    told = f"<p>{_count(count, 'trial')} failed and {'are' if count > 1 else 'is'} left out above.{more}</p>"
    return f'<section><h2 id="failures">Failed trials</h2>{told}{table_html(page.failures)}</section>'


def _again(page: Page) -> str:
    parts = ['<section><h2 id="configuration">Configuration, provenance, and how to run it again</h2>']
    if page.best_yaml is not None:
        parts.append(
            "<p>Save the text below as <code>best.yaml</code> (it was written beside a finished study) and run</p>"
        )
        parts.append("<pre><code>tuner train best.yaml</code></pre>")
        parts.append(
            f"<details open><summary>best.yaml</summary><pre><code>{escape(page.best_yaml)}</code></pre></details>"
        )
    parts.append("<p>The chosen configuration, setting by setting; searched ones with their range.</p>")
    parts.append(f"{table_html(page.configuration)}<p>Provenance.</p>{table_html(page.provenance)}")
    parts.append(
        '</section><footer class="soft"><p>Accuracies in tables are fractions. '
        "Every number comes from the study database; "
        f"{escape(page.tables)}/ holds them as CSV, report.json all of them in one file.</p></footer>"
    )
    return "".join(parts)
