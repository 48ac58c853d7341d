"""The history of the search: each trial's value and the best so far."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import StudyData
from studies.wording import per_cent

_STRIP = 0.08  # of the height, for failed trials


class HistoryInfo(NamedTuple):
    objective: str
    numbers: tuple[int, ...]
    values: tuple[float, ...]
    best: tuple[float, ...]  # so far
    failed: tuple[int, ...]
    naive: float | None


def history_info(data: StudyData) -> HistoryInfo | Absent:
    rows = data.searched
    if not rows:
        return Absent("No trial of the search has finished yet.")
    values = tuple(row.value or 0.0 for row in rows)
    failed = tuple(sorted(row.number for row in data.trials if row.state == "FAIL"))
    naive = data.naive.value if data.naive else None
    return HistoryInfo(
        data.study.objective, tuple(r.number for r in rows), values, tuple(accumulate(values, max)), failed, naive
    )


def draw_history(info: HistoryInfo) -> go.Figure:
    figure = style.figure(height=400)
    figure.add_scatter(
        name="trials", mode="markers", x=style.packed_integers(info.numbers), y=style.packed(info.values),
        marker={"color": style.SKY, "size": 7, "opacity": 0.8}, hovertemplate="trial %{x}: %{y:.1%}<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        name="best so far", mode="lines", x=style.packed_integers(info.numbers), y=style.packed(info.best),
        line={"color": style.BEST_COLOUR, "width": 2.5, "shape": "hv"},
        hovertemplate="best so far: %{y:.1%}<extra></extra>",
    )  # fmt: skip
    if info.failed:
        _add_failed(figure, info.failed)
    if info.naive is not None:
        figure.add_hline(
            y=info.naive, line={"color": style.NAIVE_COLOUR, "dash": "dash", "width": 1.5},
            annotation={"text": f"naive {per_cent(info.naive)}", "font": {"size": 11}},
            annotation_position="bottom right",
        )  # fmt: skip
    figure.update_xaxes(title="trial number")
    share = _STRIP if info.failed else 0.0
    figure.update_layout(yaxis=style.accuracy_axis(info.objective) | {"domain": [share + 0.04 * bool(share), 1]})
    return figure


def _add_failed(figure: go.Figure, numbers: Sequence[int]) -> None:
    """Failed trials have no value and get a strip of their own below the others."""
    figure.add_scatter(
        name="failed", mode="markers", x=list(numbers), y=["failed"] * len(numbers), yaxis="y2",
        marker={"symbol": "x-thin", "size": 8, "line": {"width": 1.5, "color": style.BLACK}},
        hovertemplate="trial %{x} failed<extra></extra>",
    )  # fmt: skip
    strip = {"domain": [0, _STRIP], "type": "category", "anchor": "x", "showgrid": False, "ticks": ""}
    figure.update_layout(yaxis2=strip, xaxis={"anchor": "y2"})


def history_table(info: HistoryInfo) -> Table:
    rows = tuple(zip(info.numbers, info.values, info.best, strict=True))
    return Table(("trial", info.objective, "best so far"), rows)


def history_caption(info: HistoryInfo) -> str:
    failed = f" {len(info.failed):,} failed trials, which have no value, are in the strip below." if info.failed else ""
    return (
        "All values are on validation data, on which the best was chosen: the highest of many is a little lucky, "
        f"and what the report's top reads on test is what to quote.{failed}"
    )


HISTORY = Figure(
    name="history",
    title="How the search went",
    info=history_info,
    draw=draw_history,
    table=history_table,
    caption=history_caption,
)
