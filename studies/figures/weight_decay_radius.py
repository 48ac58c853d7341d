"""The effect of stage 2's two regularisers, weight decay and MaxNorm radius, on accuracy and norms."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from search_spaces.geometry import is_log
from studies.applicable import applies
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.figures.smoothing import surface
from studies.records import TrialRow
from studies.study_data import ACCURACY, SLOPE, StudyData

STAGE2_WEIGHT_DECAY, RADIUS, BALANCE = "stage2.weight_decay", "stage2.maxnorm_radius", SLOPE
_BACKBONES = 6  # the best ones have their own views
_CROWDED = 300  # from this many points on they are drawn smaller


class PlaneView(NamedTuple):
    """Heads of all backbones, or of one; accuracies of all are relative to the best head of their backbone."""

    label: str
    numbers: tuple[int, ...]
    weight_decay: tuple[float, ...]
    radius: tuple[float, ...]
    accuracy: tuple[float, ...]
    balance: tuple[float | None, ...]
    best: int | None  # place of the chosen trial


class WeightDecayRadiusInfo(NamedTuple):
    """What is drawn, the view of all backbones first."""

    log: tuple[bool, bool]  # scale of weight decay, of radius
    views: tuple[PlaneView, ...]


def weight_decay_radius_info(data: StudyData) -> WeightDecayRadiusInfo | Absent:
    rows = [row for row in data.searched if _has_both(row)]
    if any(len({row.config[name] for row in rows}) < 2 for name in (STAGE2_WEIGHT_DECAY, RADIUS)):
        return Absent(
            f"Finished trials do not differ in both {STAGE2_WEIGHT_DECAY} and {RADIUS}; search both to see their plane."
        )
    heads = defaultdict(list)
    for row in rows:
        heads[row.backbone_index].append(row)
    top = {index: max(_accuracy(row) for row in group) for index, group in heads.items()}
    best = data.best.number if data.best else None
    everything = _plane_view("all backbones", rows, best, [_accuracy(row) - top[row.backbone_index] for row in rows])
    leading = sorted(top, key=lambda index: (-top[index], index))[:_BACKBONES] if len(top) > 1 else []
    single = [_plane_view(f"backbone {i}", heads[i], best, [_accuracy(row) for row in heads[i]]) for i in leading]
    searched = data.space.searched
    log = is_log(searched.get(STAGE2_WEIGHT_DECAY)), is_log(searched.get(RADIUS))
    return WeightDecayRadiusInfo(log, (everything, *single))


def _has_both(row: TrialRow) -> bool:
    if not (applies(STAGE2_WEIGHT_DECAY, row.config) and applies(RADIUS, row.config)):
        return False
    values = (row.config.get(STAGE2_WEIGHT_DECAY), row.config.get(RADIUS), row.metrics.get(ACCURACY))
    return all(isinstance(value, int | float) for value in values)


def _accuracy(row: TrialRow) -> float:
    return row.metrics[ACCURACY] or 0.0


def _plane_view(label: str, rows: Sequence[TrialRow], best: int | None, accuracy: Sequence[float]) -> PlaneView:
    numbers = tuple(row.number for row in rows)
    return PlaneView(
        label,
        numbers,
        tuple(float(row.config[STAGE2_WEIGHT_DECAY] or 0.0) for row in rows),
        tuple(float(row.config[RADIUS] or 0.0) for row in rows),
        tuple(round(value, 6) for value in accuracy),
        tuple(row.metrics.get(BALANCE) for row in rows),
        numbers.index(best) if best in numbers else None,
    )


def draw_weight_decay_radius(info: WeightDecayRadiusInfo) -> go.Figure:
    figure = style.figure(height=470, legend=False)
    owners: list[int] = []
    for index, view in enumerate(info.views):
        traces = _view_traces(view, info.log, relative=index == 0)
        for trace in traces:
            figure.add_trace(trace | {"visible": index == 0})
        owners += [index] * len(traces)
    x_axis = _scale(info.views[0].weight_decay, info.log[0])
    y_axis = _scale(info.views[0].radius, info.log[1])
    figure.update_layout(
        xaxis=style.sparse(x_axis) | {"domain": [0, 0.46]},
        xaxis2=style.sparse(x_axis) | {"domain": [0.54, 1], "matches": "x", "anchor": "y2"},
        yaxis=y_axis | {"title": RADIUS},
        yaxis2=y_axis | {"matches": "y", "showticklabels": False, "anchor": "x2"},
    )
    style.title_panels(figure, ("accuracy", BALANCE), STAGE2_WEIGHT_DECAY)
    figure.update_layout(margin={"t": 84, "b": 110})
    if len(info.views) > 1:
        _switch_views(figure, info, owners)
    return figure


def _scale(values: Sequence[float], log: bool) -> dict[str, Any]:
    low = min((value for value in values if value > 0), default=0.0)
    return style.log_ticks(low, max(values)) if log and low > 0 else {"type": "linear", "nticks": 4}


def _view_traces(view: PlaneView, log: tuple[bool, bool], *, relative: bool) -> list[dict[str, Any]]:
    """Both panels of one view."""
    meaning = "below its backbone's best" if relative else "balanced validation accuracy"
    accuracy = _Panel("", 0.23, f"{meaning}: %{{marker.color:.1%}}", ".0%")
    balance = _Panel("2", 0.77, f"{BALANCE}: %{{marker.color:.3f}}", ".2f")
    return [
        *_panel_traces(view, log, accuracy, view.accuracy, _accuracy_colours(view.accuracy, relative=relative)),
        *_panel_traces(view, log, balance, view.balance, _balance_colours(view.balance)),
    ]


class _Panel(NamedTuple):
    axis: str  # "" for the first pair of axes, "2" for the second
    centre: float  # of its colour bar
    words: str  # of the value, on hover
    tick_format: str


def _panel_traces(
    view: PlaneView, log: tuple[bool, bool], panel: _Panel, values: Sequence[float | None], colours: dict[str, Any]
) -> list[dict[str, Any]]:
    """The surface (if there are enough points), the points, and the star."""
    axes = {"xaxis": f"x{panel.axis}", "yaxis": f"y{panel.axis}", "showlegend": False}
    known = [(x, y, v, n) for x, y, v, n in zip(*view[2:4], values, view.numbers, strict=True) if v is not None]
    traces: list[dict[str, Any]] = []
    smooth = surface([row[:3] for row in known], log=log)
    if smooth is not None:
        scale = {"colorscale": colours["colorscale"], "zmin": colours["cmin"], "zmax": colours["cmax"]}
        look = {"showscale": False, "line": {"width": 0}, "hoverinfo": "skip", "opacity": 0.55}
        coloured = {"contours": {"coloring": "heatmap", "showlines": False}}
        traces.append(
            {
                "type": "contour",
                **smooth._asdict(),
                "z": style.packed_grid(smooth.z),
                **scale,
                **look,
                **coloured,
                **axes,
            }
        )
    place = {"orientation": "h", "x": panel.centre, "yref": "container", "y": 0, "yanchor": "bottom", "len": 0.4}
    ends = {"tickvals": _three(colours["cmin"], colours["cmax"]), "tickfont": {"size": 11}, "tickangle": 0}
    bar = {**place, "thickness": 10, "tickformat": panel.tick_format, **ends}
    size = 8 if len(known) <= _CROWDED else 5
    settings = f"{STAGE2_WEIGHT_DECAY} %{{x:.3g}}<br>{RADIUS} %{{y:.3g}}"
    hover = f"trial %{{customdata}}<br>{settings}<br>{panel.words}<extra></extra>"
    x, y, color = (style.packed([row[i] for row in known]) for i in range(3))
    marker = {"color": color, "size": size, "line": {"width": 0.7, "color": "#444"}, "colorbar": bar, **colours}
    points = {
        "type": "scatter",
        "mode": "markers",
        "x": x,
        "y": y,
        "customdata": style.packed_integers([row[3] for row in known]),
    }
    traces.append({**points, "marker": marker, "hovertemplate": hover, **axes})
    if view.best is not None:
        star = {"symbol": "star", "size": 18, "color": style.BEST_COLOUR, "line": {"width": 1.5, "color": "white"}}
        at = {"x": [view.weight_decay[view.best]], "y": [view.radius[view.best]]}
        traces.append({"type": "scatter", "mode": "markers", **at, "marker": star, "hoverinfo": "skip", **axes})
    return traces


def _three(low: float, high: float) -> list[float]:
    """Ends and middle of a colour bar: a hundred pixels have room for three ticks."""
    return [low + share * (high - low) for share in (0.0, 0.5, 1.0)]


def _accuracy_colours(values: Sequence[float], *, relative: bool) -> dict[str, Any]:
    """The worst tenth shares one colour, so that a collapsed head does not use up the scale."""
    low = float(np.quantile(values, 0.1))
    high = 0.0 if relative else max(values)
    return {"colorscale": style.SCALE, "cmin": low if low < high else high - 1e-3, "cmax": high}


def _balance_colours(values: Sequence[float | None]) -> dict[str, Any]:
    reach = max((abs(value) for value in values if value is not None), default=1.0) or 1.0
    return {"colorscale": style.DIVERGING, "cmin": -reach, "cmax": reach}


def _switch_views(figure: go.Figure, info: WeightDecayRadiusInfo, owners: Sequence[int]) -> None:
    buttons = [
        {"label": view.label, "method": "restyle", "args": [{"visible": [owner == index for owner in owners]}]}
        for index, view in enumerate(info.views)
    ]
    place = {"x": 0, "xanchor": "left", "y": 1.1, "yanchor": "bottom"}
    figure.update_layout(updatemenus=[{"type": "dropdown", "buttons": buttons, **place, "bgcolor": "white"}])


def weight_decay_radius_table(info: WeightDecayRadiusInfo) -> Table:
    view = info.views[0]
    rows = zip(view.numbers, view.weight_decay, view.radius, view.accuracy, view.balance, strict=True)
    return Table(("trial", STAGE2_WEIGHT_DECAY, RADIUS, f"{ACCURACY} - best of backbone", BALANCE), tuple(rows))


def weight_decay_radius_caption(info: WeightDecayRadiusInfo) -> str:
    caption = (
        f"Each dot is one of {len(info.views[0].numbers):,} heads, the star the chosen trial. Left: balanced "
        "validation accuracy, "
        "for all backbones together in points below the best head of the same backbone. Right: what the same "
        "settings do to "
        f"the norms ({BALANCE}: white is balanced, blue favours common classes, red rare ones)."
    )
    return caption + (" The menu shows single backbones." if len(info.views) > 1 else "")


WEIGHT_DECAY_RADIUS = Figure(
    name="weight_decay_radius",
    title="What weight decay and MaxNorm radius do",
    info=weight_decay_radius_info,
    draw=draw_weight_decay_radius,
    table=weight_decay_radius_table,
    caption=weight_decay_radius_caption,
)
