"""Writes the report of a study: one self-contained HTML page, the same numbers as JSON and CSV."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.export.write import dump_config, export_config
from studies.figures import figures_of
from studies.figures.figure import Absent, Table
from studies.findings.cautions import cautions, never_asked_sentence, remarks
from studies.findings.headline import headline
from studies.report.end import again, failed, settings
from studies.report.page import Page, Panel, document, panel_html
from studies.report.redaction import redacted_study
from studies.report.rerun import needs
from studies.report.spreadsheet import guarded
from studies.report.tables import study_tables
from studies.report.top import top
from studies.study_data import SLOPE, StudyData
from studies.wording import computed_on, count, number

if TYPE_CHECKING:
    import plotly.graph_objects as go

log = logging.getLogger(__name__)

PLOTLY = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


def write_report(data: StudyData, path: Path, *, images: bool = False) -> list[Path]:
    """Writes `path` (HTML), the same numbers as JSON beside it, a folder of CSVs, and with `images` each figure as SVG.

    Returns all files written. The same data gives the same files. They do not reveal where data and study are.
    """
    data, folder = redacted_study(data), tables_folder(path)
    drawn = {name: draw_panel(name, data) for name in figures_of(data)}
    tables = {**study_tables(data), **{panel.name: panel.table for panel, _ in drawn.values() if panel.table}}
    page = _page(data, tuple(panel for panel, _ in drawn.values()), tables, path)
    write_text(path, _render(page))
    written = [path, write_json(path, _report_json(page, tables)), *write_tables(folder, tables)]
    if images:
        figures = {name: figure for name, (_, figure) in drawn.items() if figure is not None}
        written += write_images(figures, path.with_name(f"{path.stem}_images"))
    return written


def _render(page: Page) -> str:
    panels = (panel_html(panel, place, page.tables) for place, panel in enumerate(page.panels, start=1))
    return document(
        f"{page.headline.study}: tuner report", [top(page), *panels, failed(page), again(page), settings(page)]
    )


def write_json(page: Path, content: Mapping[str, Any]) -> Path:
    """Writes a page's numbers beside it, under its name."""
    path = page.with_suffix(".json")
    write_text(path, json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    return path


def write_tables(folder: Path, tables: Mapping[str, Table]) -> list[Path]:
    """Writes one CSV per table; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        write_csv(folder / f"{name}.csv", table)
    return [folder / f"{name}.csv" for name in tables]


def write_images(figures: Mapping[str, go.Figure], folder: Path) -> list[Path]:
    """Writes figures as SVG with kaleido and Chromium; without them it logs a warning and writes nothing."""
    try:
        from choreographer.errors import ChromeNotFoundError  # noqa: PLC0415  (kaleido's own dependency)

        from studies.report.images import svg  # noqa: PLC0415  (kaleido is optional, and slow to import)
    except ImportError:
        log.warning("images need the package kaleido; the HTML report was written without them")
        return []
    try:
        drawn = svg(figures)
    except (ChromeNotFoundError, RuntimeError) as error:
        log.warning("image export needs Chrome or Chromium; HTML was written (%s)", str(error).split(".")[0])
        return []
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in drawn.items():
        (folder / f"{name}.svg").write_bytes(content)
    return [folder / f"{name}.svg" for name in drawn]


def draw_panel(name: str, data: StudyData) -> tuple[Panel, go.Figure | None]:
    figure = figures_of(data)[name]
    info = figure.info(data)
    if isinstance(info, Absent):
        return Panel(name, figure.title, None, info.reason, None), None
    drawn = figure.draw(info)
    return Panel(name, figure.title, fragment(name, drawn), figure.caption(info), figure.table(info)), drawn


def fragment(name: str, drawn: go.Figure) -> str:
    """A figure as HTML that needs plotly.js on its page."""
    body: str = drawn.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure_{name}", config=PLOTLY)
    return body


def _page(data: StudyData, panels: tuple[Panel, ...], tables: Mapping[str, Table], path: Path) -> Page:
    line = headline(data)
    return Page(
        headline=line,
        summary=_summary(data),
        chosen=tuple((name, number(value)) for name, value in data.best.params.items()) if data.best else (),
        slopes=_slopes(data),
        naive=_naive(data),
        cautions=cautions(data),
        remarks=remarks(data),
        panels=panels,
        failures=tables["failed_jobs"],
        never_asked=never_asked_sentence(data, line) if line.never_asked else "",
        configuration=tables["configuration"],
        provenance=tables["provenance"],
        spaces=tables.get("spaces"),
        baselines=tuple(data.space.baselines),
        thresholds=data.thresholds,
        space_yaml=data.study.space_yaml,
        needs=needs(data),
        best_yaml=dump_config(export_config(data)) if data.best else None,
        tables=tables_folder(path).name,
        as_json=path.with_suffix(".json").name,
    )


def tables_folder(path: Path) -> Path:
    """The folder of CSVs that belongs to a page."""
    return path.with_name(f"{path.stem}_tables")


def _slopes(data: StudyData) -> tuple[float, float] | None:
    found = [row.metrics.get(SLOPE) for row in (data.reading("best"), data.reading("naive")) if row is not None]
    known = [slope for slope in found if slope is not None]
    return (known[0], known[1]) if len(known) == 2 else None


def _naive(data: StudyData) -> str:
    """How the naive baseline was trained, for readers of gains over it."""
    if data.naive is None:
        return ""
    config = data.naive.config
    own, then = data.space_of(data.naive), " then" if data.naive.space < len(data.spaces) else ""
    searched = [name for name in own.searched if name.startswith("stage1.") and name != "stage1.weight_decay"]
    middle = "".join(f"{name} {number(config[name])} (the middle of its range{then}), " for name in searched)
    return (
        f"Naive is one untuned training: no weight decay, {middle}"
        f"{count(int(config['stage1.epochs'] or 0), 'epoch')}, seed {number(config['stage1.seed'])}. Points above it "
        "depend on these settings; its interval is from its images alone."
    )


def _summary(data: StudyData) -> str:
    config, counts = data.configuration, data.study.train_counts
    parts = [f"{config['task.dataset']}, {config['task.model']}"] if config else []
    if counts:
        parts.append(
            f"{len(counts)} classes, {sum(counts):,} training images ({max(counts):,} down to {min(counts):,} a class)"
        )
    devices = sorted({computed_on(row.device, row.precision) for row in data.backbones})
    sizes = sorted({row.parameters for row in data.backbones})
    parts += [f"{sizes[-1]:,} parameters"] if sizes else []
    parts += [f"trained on {', '.join(devices)}"] if devices else []
    return "; ".join([*parts, f"study of {data.study.created:%Y-%m-%d}"])


def table_object(table: Table) -> dict[str, Any]:
    """A table as plain JSON values."""
    return {"columns": list(table.columns), "rows": [list(row) for row in table.rows]}


def _report_json(page: Page, tables: Mapping[str, Table]) -> dict[str, Any]:
    return {
        "headline": plain(page.headline),
        "naive": page.naive,
        "cautions": list(page.cautions),
        "remarks": list(page.remarks),
        "absent": {panel.name: panel.caption for panel in page.panels if panel.body is None},
        "best_yaml": page.best_yaml,
        "space_yaml": page.space_yaml,
        "tables": {name: table_object(table) for name, table in tables.items()},
    }


def plain(value: Any) -> Any:
    """Named tuples as mappings, recursively."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def write_csv(path: Path, table: Table) -> None:
    """Writes a table for spreadsheets; None is an empty cell."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([guarded(cell) for cell in row] for row in (table.columns, *table.rows))


def write_text(path: Path, text: str) -> None:
    """Writes atomically: readers see the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
