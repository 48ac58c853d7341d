"""Accuracy against the balance of the classifier's weights, over all trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.records import Metrics, Scalar
from studies.study_data import ACCURACY, StudyData

MEASURES = {
    "norm.slope": "the slope of log norm on log count",
    "norm.spearman": "the rank correlation of norm and count",
}


class BalancePoint(NamedTuple):
    """One classifier; `settings` are the values of the settings that vary in this study."""

    label: str
    role: str
    number: int | None
    accuracy: float
    balance: tuple[float | None, ...]  # in the order of MEASURES
    colour: float | None
    settings: tuple[Scalar, ...]


class BalanceInfo(NamedTuple):
    """What is drawn. `front` holds, per measure, the places in `trials` that no other trial beats in both."""

    group: str  # whose accuracy is the colour: the rarest group that has classes
    names: tuple[str, ...]  # of the settings
    trials: tuple[BalancePoint, ...]
    marks: tuple[BalancePoint, ...]
    front: tuple[tuple[int, ...], ...]


def accuracy_vs_balance_info(data: StudyData) -> BalanceInfo | Absent:
    group = _rarest_group(data)
    trials = [
        point
        for row in data.searched
        if (point := _point(f"trial {row.number}", row.role, row.number, row.metrics, row.config, group, data.varying))
    ]
    if not trials:
        return Absent("No finished trial has a classifier whose weight norms could be compared.")
    marks = []
    if data.naive is not None:
        row = data.naive
        marks.append(_point("naive", "naive", row.number, row.metrics, row.config, group, data.varying))
    marks += [
        _point(style.role_label(r.role), r.role, r.number, r.metrics, r.config, group, data.varying)
        for r in data.baselines
    ]
    best = data.best
    if best is not None:
        marks.append(
            _point(f"best: trial {best.number}", "best", best.number, best.metrics, best.config, group, data.varying)
        )
    front = tuple(_front(trials, index) for index in range(len(MEASURES)))
    return BalanceInfo(group, data.varying, tuple(trials), tuple(m for m in marks if m), front)


def _rarest_group(data: StudyData) -> str:
    groups = ("few", "medium", "many")
    return next((g for g in groups if any(row.metrics.get(f"val.{g}") is not None for row in data.complete)), "few")


def _point(
    label: str,
    role: str,
    number: int | None,
    metrics: Metrics,
    config: Any,
    group: str,
    names: Sequence[str],
) -> BalancePoint | None:
    accuracy = metrics.get(ACCURACY)
    balance = tuple(metrics.get(measure) for measure in MEASURES)
    if accuracy is None or all(value is None for value in balance):
        return None
    settings = tuple(config.get(name) for name in names)
    return BalancePoint(label, role, number, accuracy, balance, metrics.get(f"val.{group}"), settings)


def _front(points: Sequence[BalancePoint], measure: int) -> tuple[int, ...]:
    """Places of the points that no other beats in accuracy and in nearness to balance, from balanced outwards."""
    known = [
        (abs(x), -point.accuracy, i) for i, point in enumerate(points) if (x := point.balance[measure]) is not None
    ]
    front: list[int] = []
    reached = float("-inf")
    for _, negative, index in sorted(known):
        if -negative > reached:
            front.append(index)
            reached = -negative
    return tuple(front)


def draw_accuracy_vs_balance(info: BalanceInfo) -> go.Figure:
    figure = style.figure(height=600)
    coloured = any(point.colour is not None for point in info.trials)
    colour = style.rounded([point.colour for point in info.trials], digits=4) if coloured else style.SKY
    marker = {"color": colour, "size": 8, "opacity": 0.8, "line": {"width": 0.5, "color": "white"}}
    if coloured:
        title = {"text": f"{info.group}-shot<br>accuracy"}
        marker |= {
            "colorscale": style.SCALE,
            "colorbar": {"title": title, "tickformat": ".0%", "thickness": 12, "len": 0.8},
        }
    figure.add_scatter(
        name="trials",
        mode="markers",
        marker=marker,
        y=style.rounded([point.accuracy for point in info.trials]),
        customdata=[_hover_values(point) for point in info.trials],
        hovertemplate=_hover(info),
    )
    figure.add_scatter(name="Pareto front", mode="lines", line={"color": style.GREY, "dash": "dot"}, hoverinfo="skip")
    for mark in info.marks:
        figure.add_scatter(
            name=style.text(mark.label),
            mode="markers",
            y=[mark.accuracy],
            customdata=[_hover_values(mark)],
            hovertemplate=_hover(info),
            marker=_mark(mark.role),
        )
    _switch_measures(figure, info)
    figure.add_vline(x=0, line={"color": style.GREY, "width": 1})
    figure.update_yaxes(**style.accuracy_axis("balanced validation accuracy"))
    return figure


def _mark(role: str) -> dict[str, Any]:
    symbol, size = {"best": ("star", 20), "naive": ("x", 13)}.get(role, ("diamond", 12))
    return {"symbol": symbol, "size": size, "color": style.role_colour(role), "line": {"width": 1.5, "color": "white"}}


def _switch_measures(figure: go.Figure, info: BalanceInfo) -> None:
    """Sets the first measure, and buttons that put another in its place."""
    buttons = []
    for index, measure in enumerate(MEASURES):
        front = [info.trials[i] for i in info.front[index]]
        ordered = sorted(front, key=lambda point: point.balance[index] or 0.0)
        front_y = style.rounded([point.accuracy for point in ordered])
        x = [
            style.rounded([point.balance[index] for point in info.trials]),
            style.rounded([point.balance[index] for point in ordered]),
            *([mark.balance[index]] for mark in info.marks),
        ]
        title = f"{measure} (0 = balanced)"
        if index == 0:
            for trace, xs in zip(figure.data, x, strict=True):
                trace.x = xs
            figure.data[1].y = front_y
            figure.update_xaxes(title=title)
        y = [figure.data[0].y, front_y, *(trace.y for trace in figure.data[2:])]
        args = [{"x": x, "y": y}, {"xaxis.title.text": title}]
        buttons.append({"label": measure.removeprefix("norm."), "method": "update", "args": args})
    figure.update_layout(updatemenus=[style.switch(buttons)], margin={"b": 106})


def _hover_values(point: BalancePoint) -> list[Scalar]:
    measured = [style.number(value) for value in (*point.balance, point.colour)]
    return [style.text(point.label), *measured, *(style.text(style.number(value)) for value in point.settings)]


def _hover(info: BalanceInfo) -> str:
    measures = "".join(f"{name} %{{customdata[{1 + i}]}}<br>" for i, name in enumerate(MEASURES))
    after = 2 + len(MEASURES)
    settings = "".join(f"<br>{style.text(name)} %{{customdata[{after + i}]}}" for i, name in enumerate(info.names))
    few = f"{info.group} %{{customdata[{after - 1}]}}"
    return f"<b>%{{customdata[0]}}</b><br>balanced accuracy %{{y:.1%}}, {few}<br>{measures}{settings}<extra></extra>"


def accuracy_vs_balance_table(info: BalanceInfo) -> Table:
    columns = ("classifier", "role", ACCURACY, f"val.{info.group}", *MEASURES, *info.names)
    ordered = sorted(info.trials, key=lambda point: -point.accuracy)
    rows = [(p.label, p.role, p.accuracy, p.colour, *p.balance, *p.settings) for p in (*info.marks, *ordered)]
    return Table(columns, tuple(rows))


def accuracy_vs_balance_caption(info: BalanceInfo) -> str:
    meanings = "; ".join(f"{name} is {meaning}" for name, meaning in MEASURES.items())
    return (
        f"Each dot is a finished trial ({len(info.trials)} in all). Right of 0, classes with more images have "
        "the larger weights; "
        "left of 0 the order is inverted. The dotted line joins the trials that no other beats in both accuracy and "
        f"nearness to balance. {meanings}. Point at a dot for all settings in which trials differ; what they "
        "share stands under "
        "Configuration."
    )


ACCURACY_VS_BALANCE = Figure(
    name="accuracy_vs_balance",
    title="Accuracy against weight-norm balance",
    info=accuracy_vs_balance_info,
    draw=draw_accuracy_vs_balance,
    table=accuracy_vs_balance_table,
    caption=accuracy_vs_balance_caption,
)
