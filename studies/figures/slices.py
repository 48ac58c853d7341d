"""The objective against each searched parameter, with the ends of its range."""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go

from search_spaces.geometry import bounds, is_log
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import StudyData
from studies.wording import number
from trainers.config import Scalar


class Slice(NamedTuple):
    """One parameter; `low` and `high` are None for choices."""

    name: str
    low: float | None
    high: float | None
    log: bool
    numbers: tuple[int, ...]
    values: tuple[Scalar, ...]
    objective: tuple[float, ...]


class SlicesInfo(NamedTuple):
    objective: str
    best: int | None  # number of the chosen trial
    slices: tuple[Slice, ...]


def slices_info(data: StudyData) -> SlicesInfo | Absent:
    slices = []
    params = {row.number: data.params(row) for row in data.searched}
    for name, distribution in data.space.searched.items():
        rows = [row for row in data.searched if name in params[row.number]]
        if rows:
            low, high = bounds(distribution) or (None, None)
            numbers = tuple(row.number for row in rows)
            values = tuple(params[row.number][name] for row in rows)
            objective = tuple(row.value or 0.0 for row in rows)
            slices.append(Slice(name, low, high, is_log(distribution), numbers, values, objective))
    if not slices:
        return Absent("No trial of the search has finished yet.")
    return SlicesInfo(data.study.objective, data.best.number if data.best else None, tuple(slices))


def draw_slices(info: SlicesInfo) -> go.Figure:
    columns = min(2, len(info.slices))
    rows = -(-len(info.slices) // columns)
    figure = style.figure(height=70 + 250 * rows, legend=False)
    for index, one in enumerate(info.slices):
        row, column = divmod(index, columns)
        axis = "" if index == 0 else str(index + 1)
        across = [0.0, 1.0] if columns == 1 else [[0.0, 0.46], [0.54, 1.0]][column]
        down = [1 - (row + 0.7) / rows, 1 - row / rows]  # three tenths of each row for ticks and title
        title = {"text": style.plotly_text(one.name), "standoff": 4, "font": {"size": 12}}
        x = {"title": title, "domain": across, "anchor": f"y{axis}"}
        y = style.accuracy_axis() | {"domain": down, "anchor": f"x{axis}", "showticklabels": column == 0}
        matches = {"matches": "y"} if axis else {}
        figure.update_layout({f"xaxis{axis}": x | _x_scale(one), f"yaxis{axis}": y | matches})
        _add_slice(figure, one, axis, info.best)
    figure.add_annotation(
        x=0, y=1, xref="paper", yref="paper", xanchor="left", yanchor="bottom", yshift=8, showarrow=False,
        text=style.plotly_text(info.objective),
    )  # fmt: skip
    figure.update_layout(margin={"b": 8})
    return figure


def _x_scale(one: Slice) -> dict[str, object]:
    if one.low is None:
        return {"type": "category"}
    if one.log and one.low > 0 and one.high is not None:
        return style.sparse(style.log_ticks(one.low, one.high))
    return {"type": "linear", "nticks": 4, "tickfont": {"size": 11}}


def _add_slice(figure: go.Figure, one: Slice, axis: str, best: int | None) -> None:
    axes = {"xaxis": f"x{axis}", "yaxis": f"y{axis}", "mode": "markers"}
    numeric = one.low is not None
    values = style.packed(one.values) if numeric else [style.plotly_text(number(value)) for value in one.values]
    stage1 = one.name.startswith("stage1.")
    figure.add_scatter(
        x=values,
        y=style.packed(one.objective),
        customdata=style.packed_integers(one.numbers),
        marker={
            "color": style.BLUE if stage1 else style.ORANGE,
            "symbol": "circle" if stage1 else "diamond",
            "size": 6,
            "opacity": 0.5,
        },
        hovertemplate=f"trial %{{customdata}}<br>{style.plotly_text(one.name)} %{{x}}: %{{y:.1%}}<extra></extra>",
        **axes,
    )
    if best in one.numbers:
        place = one.numbers.index(best)
        star = {"symbol": "star", "size": 16, "color": style.BEST_COLOUR, "line": {"width": 1.5, "color": "white"}}
        y = style.packed([one.objective[place]])
        figure.add_scatter(x=[values[place]], y=y, marker=star, hoverinfo="skip", **axes)
    for end in (one.low, one.high):
        if end is not None and not (one.log and end <= 0):
            line = {"color": style.GREY, "width": 1, "dash": "dot"}
            figure.add_shape(
                type="line", x0=end, x1=end, y0=0, y1=1, xref=f"x{axis}", yref=f"y{axis} domain", line=line
            )


def slices_table(info: SlicesInfo) -> Table:
    rows: list[tuple[Scalar, ...]] = []
    for one in info.slices:
        inside = sorted(zip(one.objective, one.values, one.numbers, strict=True), key=lambda row: (-row[0], row[2]))
        rows += [(one.name, one.low, one.high, number, value, objective) for objective, value, number in inside]
    return Table(("parameter", "low", "high", "trial", "value", info.objective), tuple(rows))


def slices_caption(info: SlicesInfo) -> str:
    return (
        f"Every finished trial of the search ({info.objective}), the star is the chosen one. Dotted lines are "
        "the ends of the range: "
        "if good trials crowd at one, widen the range. Blue dots: stage 1; orange diamonds: stage 2."
    )


SLICES = Figure(
    name="slices",
    title="Each parameter by itself",
    info=slices_info,
    draw=draw_slices,
    table=slices_table,
    caption=slices_caption,
)
