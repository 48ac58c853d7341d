"""Accuracy against the balance of the classifier's weights, over all trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.figures.pareto_front import Front, branches, front
from studies.figures.settings import pairs, small_print, values_of, varying_settings
from studies.findings.headline import rarest_group
from studies.records import ReadingRow, StoredMetrics
from studies.study_data import ACCURACY, FRESH_SEED, SLOPE, StudyData, seed_of
from studies.wording import count, listed, number, role_label
from trainers.config import Scalar

BALANCE_MEASURES = {
    SLOPE: "the slope of log norm on log count",
    "norm.spearman": "the rank correlation of norm and count",
}


class BalancePoint(NamedTuple):
    """One classifier. `settings` holds the values of `names`, "" for those that did not affect its result."""

    label: str
    role: str
    number: int | None
    accuracy: float
    balance: tuple[float | None, ...]  # in the order of BALANCE_MEASURES
    colour: float | None
    settings: tuple[Scalar, ...]
    words: str  # all its settings, shown on hover; "" for trials


class BalanceInfo(NamedTuple):
    """What is drawn. `front` holds, per measure, the positions in `trials` of the Pareto front."""

    group: str  # its accuracy is the colour: the rarest group that has classes
    names: tuple[str, ...]  # of the settings
    shared: str  # settings that all trials share, in words
    trials: tuple[BalancePoint, ...]
    marks: tuple[BalancePoint, ...]
    front: tuple[Front, ...]
    unmeasured: tuple[str, ...]  # per measure, the classifiers without it, in words


def accuracy_vs_balance_info(data: StudyData) -> BalanceInfo | Absent:
    group, names = rarest_group(data), varying_settings(data)
    trials = [
        _point(f"trial {row.number}", row.role, row.number, row.metrics, row.config, group, names)
        for row in data.searched
    ]
    shown = [point for point in trials if point is not None]
    if not shown:
        return Absent("No finished trial has a classifier whose weight norms could be compared.")
    accuracy = [point.accuracy for point in shown]
    fronts = tuple(front(accuracy, [point.balance[i] for point in shown]) for i in range(len(BALANCE_MEASURES)))
    marks = tuple(_marks(data, group, names))
    left_out = len(data.searched) - len(shown)
    return BalanceInfo(
        group, names, small_print(data.searched[0].config, names), tuple(shown), marks, fronts,
        tuple(_unmeasured(shown, marks, index, left_out) for index in range(len(BALANCE_MEASURES))),
    )  # fmt: skip


def _marks(data: StudyData, group: str, names: Sequence[str]) -> list[BalancePoint]:
    """Baselines in the order of the space, fresh seeds, and the chosen trial on top."""
    found = [_reading(role_label(row.role), row, group, names) for row in data.baselines]
    if data.naive is not None:
        row = data.naive
        found.append(_point("naive", "naive", row.number, row.metrics, row.config, group, names, spelt=True))
    found.sort(key=lambda point: data.place(point.role) if point else 0)
    best = data.best
    if best is not None:
        fresh = data.fresh_seeds(best.config)
        found += [_reading(f"fresh seed {seed_of(row)}", row, group, names) for row in fresh]
        label = f"best: trial {best.number}"
        found.append(_point(label, "best", best.number, best.metrics, best.config, group, names, spelt=True))
    return [point for point in found if point is not None]


def _reading(label: str, row: ReadingRow, group: str, names: Sequence[str]) -> BalancePoint | None:
    return _point(label, row.role, row.number, row.metrics, row.config, group, names, spelt=True)


def _point(
    label: str,
    role: str,
    number: int | None,
    metrics: StoredMetrics,
    config: Mapping[str, Scalar],
    group: str,
    names: Sequence[str],
    *,
    spelt: bool = False,
) -> BalancePoint | None:
    accuracy = metrics.get(ACCURACY)
    balance = tuple(metrics.get(measure) for measure in BALANCE_MEASURES)
    if accuracy is None or all(value is None for value in balance):
        return None
    words = pairs(config, names) + small_print(config, names) if spelt else ""
    values = values_of(config, names)
    return BalancePoint(label, role, number, accuracy, balance, metrics.get(f"val.{group}"), values, words)


def _unmeasured(trials: Sequence[BalancePoint], marks: Sequence[BalancePoint], index: int, left_out: int) -> str:
    """The classifiers without this measure, which the caption must name."""
    without = left_out + sum(point.balance[index] is None for point in trials)
    named = [point.label for point in marks if point.balance[index] is None]
    return listed([*([count(without, "trial")] if without else []), *named])


def draw_accuracy_vs_balance(info: BalanceInfo) -> go.Figure:
    drawn = style.figure(height=600)
    drawn.add_scatter(
        name="trials",
        mode="markers",
        marker=_trial_markers(info),
        y=style.packed([point.accuracy for point in info.trials]),
        **_pointed_at(info),
    )
    for index in range(len(BALANCE_MEASURES)):
        drawn.add_scatter(**_front_trace(info, index))
    seen: set[str] = set()
    for mark in info.marks:
        drawn.add_scatter(
            name="fresh seeds of best" if mark.role == FRESH_SEED else style.plotly_text(mark.label),
            legendgroup=mark.role,
            showlegend=mark.role not in seen,
            mode="markers",
            y=[round(mark.accuracy, 5)],
            hovertemplate=_mark_hover(mark, info.group),
            marker=style.mark(mark.role),
        )
        seen.add(mark.role)
    _switch_measures(drawn, info)
    drawn.add_vline(x=0, line={"color": style.GREY, "width": 1})
    drawn.update_yaxes(**style.accuracy_axis("balanced validation accuracy"))
    return drawn


def _front_trace(info: BalanceInfo, index: int) -> dict[str, Any]:
    """The Pareto front by one measure; the buttons choose the measure."""
    accuracy = [point.accuracy for point in info.trials]
    x, y = branches(info.front[index], accuracy, [point.balance[index] for point in info.trials])
    return {
        "name": "Pareto front",
        "mode": "lines+markers",
        "x": style.rounded(x),
        "y": style.rounded(y),
        "visible": index == 0,
        "line": {"color": style.BLACK, "width": 1.5, "dash": "dot"},
        "marker": {"symbol": "circle-open", "size": 13, "color": style.BLACK, "line": {"width": 1.5}},
        "hoverinfo": "skip",
    }


def _trial_markers(info: BalanceInfo) -> dict[str, Any]:
    coloured = any(point.colour is not None for point in info.trials)
    colour = style.packed([point.colour for point in info.trials]) if coloured else style.SKY
    marker = {"color": colour, "size": 8, "opacity": 0.7, "line": {"width": 0.5, "color": "white"}}
    if not coloured:
        return marker
    title = {"text": f"{info.group}-shot<br>accuracy"}
    bar = {"title": title, "tickformat": ".0%", "thickness": 12, "len": 0.8}
    return marker | {"colorscale": style.SCALE, "colorbar": bar}


def _switch_measures(drawn: go.Figure, info: BalanceInfo) -> None:
    """Shows the first measure, with buttons for the others."""
    count = len(BALANCE_MEASURES)
    drawn.data[0].x = style.packed([point.balance[0] for point in info.trials])
    for trace, mark in zip(drawn.data[1 + count :], info.marks, strict=True):
        trace.x = style.rounded([mark.balance[0]])
    drawn.update_xaxes(title=_axis_title(0))
    buttons = []
    for index, measure in enumerate(BALANCE_MEASURES):
        fronts = [list(trace.x) for trace in drawn.data[1 : 1 + count]]
        xs = [style.spec([p.balance[index] for p in info.trials]), *fronts]
        xs += [style.rounded([mark.balance[index]]) for mark in info.marks]
        visible = [True, *(index == other for other in range(count)), *[True] * len(info.marks)]
        args = [{"x": xs, "visible": visible}, {"xaxis.title.text": _axis_title(index)}]
        buttons.append({"label": measure.removeprefix("norm."), "method": "update", "args": args})
    drawn.update_layout(updatemenus=[style.switch(buttons)], margin={"b": 106})


def _axis_title(index: int) -> str:
    return f"{tuple(BALANCE_MEASURES)[index]} (0 = balanced)"


def _pointed_at(info: BalanceInfo) -> dict[str, Any]:
    """The hover text of trials: varying settings as numbers, packed if possible; shared ones as words."""
    first = info.trials[0].settings
    shown = [i for i in range(len(info.names)) if any(point.settings[i] != first[i] for point in info.trials)]
    shared = (i for i in range(len(info.names)) if i not in shown and first[i] != "")
    same = "".join(f"<br>{style.plotly_text(info.names[i])} {style.plotly_text(number(first[i]))}" for i in shared)
    rows = [(p.number, *p.balance, *(p.settings[i] for i in shown)) for p in info.trials]
    numeric = all(isinstance(value, int | float) for row in rows for value in row)
    form = ":.3g" if numeric else ""
    names = (*BALANCE_MEASURES, *(info.names[i] for i in shown))
    settings = "".join(f"<br>{style.plotly_text(n)} %{{customdata[{1 + i}]{form}}}" for i, n in enumerate(names))
    few = f", {info.group} %{{marker.color:.1%}}" if any(point.colour is not None for point in info.trials) else ""
    head = f"<b>trial %{{customdata[0]}}</b><br>balanced accuracy %{{y:.1%}}{few}"
    data = np.asarray(rows, dtype=np.float32) if numeric else [[_brief(value) for value in row] for row in rows]
    return {"customdata": data, "hovertemplate": f"{head}{settings}{same}{info.shared}<extra></extra>"}


def _brief(value: Scalar) -> Scalar:
    if isinstance(value, float):
        return float(f"{value:.3g}")
    return "–" if value == "" else style.plotly_text(number(value))


def _mark_hover(mark: BalancePoint, group: str) -> str:
    balance = zip(BALANCE_MEASURES, mark.balance, strict=True)
    measures = "".join(f"<br>{name} {number(value)}" for name, value in balance)
    few = "" if mark.colour is None else f", {group} {100 * mark.colour:.1f}%"
    label = style.plotly_text(mark.label)
    return f"<b>{label}</b><br>balanced accuracy %{{y:.1%}}{few}{measures}{mark.words}<extra></extra>"


def accuracy_vs_balance_table(info: BalanceInfo) -> Table:
    columns = ("classifier", "role", ACCURACY, f"val.{info.group}", *BALANCE_MEASURES, *info.names)
    ordered = sorted(info.trials, key=lambda point: -point.accuracy)
    rows = [(p.label, p.role, p.accuracy, p.colour, *p.balance, *p.settings) for p in (*info.marks, *ordered)]
    return Table(columns, tuple(rows))


def accuracy_vs_balance_caption(info: BalanceInfo) -> str:
    meanings = "; ".join(f"{name} is {meaning}" for name, meaning in BALANCE_MEASURES.items())
    caption = (
        f"Each dot is a finished trial ({len(info.trials):,} in all). Right of 0, classes with more images have "
        "the larger weights; left of 0 the order is inverted. Rings joined by a dotted line, one per side, are the "
        f"Pareto front of accuracy and balance. Open marks are other methods. {meanings}. Point at a mark for its "
        "whole configuration."
    )
    for measure, without in zip(BALANCE_MEASURES, info.unmeasured, strict=True):
        if without:
            caption += f" Not shown, because they have no {measure}: {without}."
    return caption


ACCURACY_VS_BALANCE = Figure(
    name="accuracy_vs_balance",
    title="Accuracy against weight-norm balance",
    info=accuracy_vs_balance_info,
    draw=draw_accuracy_vs_balance,
    table=accuracy_vs_balance_table,
    caption=accuracy_vs_balance_caption,
)
