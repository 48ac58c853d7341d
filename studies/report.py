"""The report of a study: one HTML page that needs nothing else, the same numbers as JSON and CSV."""

from __future__ import annotations

import csv
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from studies.export import dump_config, export_config
from studies.figures import FIGURES
from studies.figures.figure import Absent, Table
from studies.figures.style import number
from studies.headline import cautions, headline, remarks
from studies.records import Scalar
from studies.report_page import Page, Panel, render
from studies.report_tables import study_tables
from studies.study_data import StudyData

if TYPE_CHECKING:
    import plotly.graph_objects as go

log = logging.getLogger(__name__)

PLOTLY = {
    "displaylogo": False,
    "responsive": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}
_SPREADSHEET_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def write_report(data: StudyData, path: Path, *, images: bool = False) -> list[Path]:
    """Writes `path` (HTML), the same numbers as JSON beside it, a folder of CSVs, and with `images` each figure as SVG.

    Returns all files written. The same data gives the same files.
    """
    folder = path.with_name(f"{path.stem}_tables")
    drawn = {name: _draw(name, data) for name in FIGURES}
    tables = {**study_tables(data), **{panel.name: panel.table for panel, _ in drawn.values() if panel.table}}
    page = _page(data, tuple(panel for panel, _ in drawn.values()), tables, folder.name)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, render(page))
    as_json = path.with_suffix(".json")
    write_text(as_json, json.dumps(_as_json(page, tables), indent=1, allow_nan=False, ensure_ascii=False) + "\n")
    written = [path, as_json]
    for name, table in tables.items():
        written.append(folder / f"{name}.csv")
        _write_csv(written[-1], table)
    if images:
        figures = {name: figure for name, (_, figure) in drawn.items() if figure is not None}
        written += write_images(figures, path.with_name(f"{path.stem}_images"))
    return written


def write_images(figures: Mapping[str, go.Figure], folder: Path) -> list[Path]:
    """Writes figures as SVG by kaleido and a Chromium; without one, says so and writes nothing."""
    try:
        from choreographer.errors import ChromeNotFoundError  # noqa: PLC0415  (kaleido's own dependency)

        from studies.images import svg  # noqa: PLC0415  (kaleido is optional, and slow to import)
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


def _draw(name: str, data: StudyData) -> tuple[Panel, go.Figure | None]:
    figure = FIGURES[name]
    info = figure.info(data)
    if isinstance(info, Absent):
        return Panel(name, figure.title, None, info.reason, None), None
    drawn = figure.draw(info)
    body = drawn.to_html(full_html=False, include_plotlyjs=False, div_id=f"figure_{name}", config=PLOTLY)
    return Panel(name, figure.title, body, figure.caption(info), figure.table(info)), drawn


def _page(data: StudyData, panels: tuple[Panel, ...], tables: Mapping[str, Table], folder: str) -> Page:
    best_yaml = dump_config(export_config(data, created=_finished(data))) if data.best else None
    return Page(
        headline=headline(data),
        summary=_summary(data),
        chosen=tuple((name, number(value)) for name, value in data.best.params.items()) if data.best else (),
        slopes=_slopes(data),
        cautions=cautions(data),
        remarks=remarks(data),
        panels=panels,
        failures=tables["failures"],
        configuration=tables["configuration"],
        provenance=tables["provenance"],
        best_yaml=best_yaml,
        tables=folder,
    )


def _slopes(data: StudyData) -> tuple[float, float] | None:
    found = [row.metrics.get("norm.slope") for row in (data.reading("best"), data.reading("naive")) if row is not None]
    known = [slope for slope in found if slope is not None]
    return (known[0], known[1]) if len(known) == 2 else None


def _finished(data: StudyData) -> Any:
    """The last moment the study knows of, so that the same data gives the same report."""
    moments = [row.finished for row in data.trials if row.finished] + [r.read_at for r in data.readings if r.read_at]
    return max(moments, default=data.study.created)


def _summary(data: StudyData) -> str:
    config, counts = data.configuration, data.study.train_counts
    parts = [f"{config['task.dataset']}, {config['task.model']}"] if config else []
    if counts:
        parts.append(
            f"{len(counts)} classes, {sum(counts):,} training images ({max(counts):,} down to {min(counts):,} a class)"
        )
    devices = sorted({row.device for row in data.backbones})
    sizes = sorted({row.parameters for row in data.backbones})
    parts += [f"{sizes[-1]:,} parameters"] if sizes else []
    parts += [f"trained on {', '.join(devices)}"] if devices else []
    return "; ".join([*parts, f"study of {data.study.created:%Y-%m-%d}"])


def _as_json(page: Page, tables: Mapping[str, Table]) -> dict[str, Any]:
    return {
        "headline": _plain(page.headline),
        "cautions": list(page.cautions),
        "remarks": list(page.remarks),
        "absent": {panel.name: panel.caption for panel in page.panels if panel.body is None},
        "best_yaml": page.best_yaml,
        "tables": {name: {"columns": list(t.columns), "rows": [list(r) for r in t.rows]} for name, t in tables.items()},
    }


def _plain(value: Any) -> Any:
    """Named tuples as mappings, all the way down."""
    return {k: _plain(v) for k, v in value._asdict().items()} if hasattr(value, "_asdict") else value


def _write_csv(path: Path, table: Table) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table.columns)
        writer.writerows(_csv_rows(table))


def _csv_rows(table: Table) -> Iterator[list[Scalar]]:
    """Rows as they are, but text that a spreadsheet would run as a formula is quoted."""
    for row in table.rows:
        yield [f"'{v}" if isinstance(v, str) and v.startswith(_SPREADSHEET_FORMULA) else v for v in row]


def write_text(path: Path, text: str) -> None:
    """Readers see the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)
