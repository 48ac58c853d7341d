"""Studies side by side: one offline page with their headlines, and two figures of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studies.figures.compared import (
    compared_balance_info,
    compared_balance_table,
    compared_groups_info,
    compared_groups_table,
    draw_compared_balance,
    draw_compared_groups,
)
from studies.figures.figure import Absent, Table
from studies.headline import Headline, headline
from studies.records import Scalar
from studies.report import PLOTLY, write_text
from studies.report_page import Panel, document, escape, panel_html, table_html
from studies.study_data import StudyData

_SETTINGS_ALWAYS = ("stage1.weight_decay", "stage2.weight_decay", "stage2.maxnorm_radius")


def write_comparison(studies: Sequence[StudyData], path: Path) -> list[Path]:
    """Writes `path` (HTML) and the same numbers as JSON beside it. The same data gives the same files."""
    lines = [headline(data) for data in studies]
    found = {"headlines": headlines_table(lines), "settings": settings_table(studies)}
    panels = [_groups(studies), _balance(studies)]
    names = ", ".join(line.study for line in lines)
    cautions = comparison_cautions(studies)
    parts = [f"<header><h1>{escape(' and '.join(line.study for line in lines))}</h1>"]
    parts.append(
        '<p class="lead">Studies side by side: what each of them chose on validation. Accuracies are fractions.</p>'
    )
    if cautions:
        items = "".join(f"<li>{escape(caution)}</li>" for caution in cautions)
        parts.append(f'<div class="cautions"><strong>Read with care</strong><ul>{items}</ul></div>')
    parts.append(f"</header>{table_html(found['headlines'])}")
    parts += [panel_html(panel, number) for number, panel in enumerate(panels, start=1)]
    parts.append('<section><h2 id="settings">Settings in which the chosen configurations differ</h2>')
    parts.append(f"{table_html(found['settings'])}</section>")
    write_text(path, document(f"{names}: tuner comparison", parts))
    tables = {**found, **{panel.name: panel.table for panel in panels if panel.table}}
    as_json = path.with_suffix(".json")
    content = {"cautions": list(cautions), "tables": {name: _plain(table) for name, table in tables.items()}}
    write_text(as_json, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return [path, as_json]


def comparison_cautions(studies: Sequence[StudyData]) -> tuple[str, ...]:
    """Why these studies might not be comparable, one sentence each."""
    found = []
    if len({data.study.data_fingerprint for data in studies}) > 1:
        found.append("The studies were made on different images or splits: their accuracies are of different tasks.")
    if len({data.study.objective for data in studies}) > 1:
        found.append(f"They maximised different things: {', '.join(data.study.objective for data in studies)}.")
    if len({data.thresholds for data in studies}) > 1:
        found.append("Many, medium and few mean different sizes in these studies.")
    found += [f"{data.study.name} is {data.study.state}, not done." for data in studies if data.study.state != "done"]
    return tuple(found)


def headlines_table(lines: Sequence[Headline]) -> Table:
    """A column a study."""
    rows: list[tuple[Scalar, ...]] = []

    def row(name: str, *values: Scalar) -> None:
        rows.append((name, *values))

    row("chosen trial", *(line.trial for line in lines))
    row("objective on validation", *(line.value for line in lines))
    row("balanced accuracy on test", *(line.accuracy.value if line.accuracy else None for line in lines))
    row("95 % low", *(line.accuracy.low if line.accuracy else None for line in lines))
    row("95 % high", *(line.accuracy.high if line.accuracy else None for line in lines))
    row("few-shot accuracy on test", *(line.few for line in lines))
    row("naive on test", *(line.naive.accuracy.value if line.naive else None for line in lines))
    row("gain over naive", *(line.naive.gain.value if line.naive else None for line in lines))
    row("finished trials", *(line.complete for line in lines))
    row("failed trials", *(line.failed for line in lines))
    row("backbones", *(line.backbones for line in lines))
    row("hours of training", *(line.trained_hours for line in lines))
    row("data fingerprint", *((line.data_fingerprint or "unknown")[:12] for line in lines))
    return Table(("", *(line.study for line in lines)), tuple(rows))


def settings_table(studies: Sequence[StudyData]) -> Table:
    """Settings of the chosen configurations that are not the same, and the three that matter most."""
    configs = [data.best.config if data.best else {} for data in studies]
    names = dict.fromkeys(name for config in configs for name in config)
    rows = tuple(
        (name, *(config.get(name) for config in configs))
        for name in names
        if name in _SETTINGS_ALWAYS or len({config.get(name) for config in configs}) > 1
    )
    return Table(("setting", *(data.study.name for data in studies)), rows)


def _groups(studies: Sequence[StudyData]) -> Panel:
    info, name, title = compared_groups_info(studies), "compared_groups", "Many, medium, few and all"
    if isinstance(info, Absent):
        return Panel(name, title, None, info.reason, None)
    caption = (
        f"Balanced {info.split} accuracy of the chosen configurations, and in outline of the naive baselines. "
        "Whiskers are 95 % intervals from the images of each class."
    )
    return Panel(name, title, _html(name, draw_compared_groups(info)), caption, compared_groups_table(info))


def _balance(studies: Sequence[StudyData]) -> Panel:
    info, name, title = compared_balance_info(studies), "compared_balance", "Accuracy against weight-norm balance"
    if isinstance(info, Absent):
        return Panel(name, title, None, info.reason, None)
    caption = "Each dot is a finished trial; a dotted line joins those that no other trial of its study beats in both."
    return Panel(name, title, _html(name, draw_compared_balance(info)), caption, compared_balance_table(info))


def _html(name: str, figure: Any) -> str:
    body: str = figure.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure_{name}", config=PLOTLY)
    return body


def _plain(table: Table) -> dict[str, Any]:
    return {"columns": list(table.columns), "rows": [list(row) for row in table.rows]}
