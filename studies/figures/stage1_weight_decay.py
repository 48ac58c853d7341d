"""The paper's first claim, per backbone: the effect of stage 1's weight decay on norms and accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from search_spaces.geometry import is_log
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.figures.norm_evolution import WEIGHT_DECAY, stage1_metrics
from studies.findings.headline import rarest_group
from studies.study_data import ACCURACY, SLOPE, StudyData
from studies.wording import number
from trainers.config import Scalar

RATE = "stage1.lr"


class BackbonePoint(NamedTuple):
    """One backbone: its stage-1 classifier and the best head on it."""

    label: str
    role: str  # "best", "naive" or "other"
    weight_decay: float
    rate: float | None
    slope: float | None
    accuracy: float | None
    rarest: float | None
    best_head: float | None  # None for naive, which has no other head


class Stage1WeightDecayInfo(NamedTuple):
    """What is drawn, naive first, then by weight decay."""

    group: str  # the rarest that has classes
    log: bool
    backbones: tuple[BackbonePoint, ...]


def stage1_weight_decay_info(data: StudyData) -> Stage1WeightDecayInfo | Absent:
    group = rarest_group(data)
    found = [
        one for row in data.backbones if row.kind == "search" and (one := _of_search(data, row.fingerprint, group))
    ]
    if len({one.weight_decay for one in found}) < 2:
        return Absent(f"Finished backbones do not differ in {WEIGHT_DECAY}; search it to see what it does.")
    naive = data.naive
    if naive is not None:
        found.append(_backbone_point("naive", "naive", naive.config, naive.metrics, group, None))
    log = is_log(data.space.searched.get(WEIGHT_DECAY))
    return Stage1WeightDecayInfo(
        group, log, tuple(sorted(found, key=lambda one: (one.role != "naive", one.weight_decay)))
    )


def _of_search(data: StudyData, fingerprint: str, group: str) -> BackbonePoint | None:
    row, metrics = data.backbone_by_fingerprint[fingerprint], stage1_metrics(data, fingerprint)
    if metrics is None or not isinstance(row.config.get(WEIGHT_DECAY), int | float):
        return None
    heads = [head.metrics.get(ACCURACY) or 0.0 for head in data.searched if head.backbone == fingerprint]
    best = data.best is not None and data.best.backbone == fingerprint
    label = f"backbone {row.index}{', of best' if best else ''}"
    return _backbone_point(label, "best" if best else "other", row.config, metrics, group, max(heads, default=None))


def _backbone_point(
    label: str, role: str, config: Any, metrics: Any, group: str, best_head: float | None
) -> BackbonePoint:
    rate = config.get(RATE)
    return BackbonePoint(
        label, role, float(config.get(WEIGHT_DECAY) or 0.0), float(rate) if rate is not None else None,
        metrics.get(SLOPE), metrics.get(ACCURACY), metrics.get(f"val.{group}"), best_head,
    )  # fmt: skip


def draw_stage1_weight_decay(info: Stage1WeightDecayInfo) -> go.Figure:
    figure = style.figure(height=430)
    zero = _place_of_zero(info)
    searched = [one for one in info.backbones if one.role != "naive"]
    for name, values, look, axis in (
        ("best head", [one.best_head for one in searched], (style.GREEN, "diamond"), ""),
        ("stage-1 classifier", [one.accuracy for one in searched], (style.BLUE, "circle"), ""),
        (f"the same, {info.group}", [one.rarest for one in searched], (style.ORANGE, "triangle-down"), ""),
        ("stage-1 classifier", [one.slope for one in searched], (style.BLUE, "circle"), "2"),
    ):
        figure.add_scatter(**_backbones_trace(name, values, look, axis, searched))
    naive = next((one for one in info.backbones if one.role == "naive"), None)
    if naive is not None:
        for words, value, axis in (("", naive.accuracy, ""), (info.group, naive.rarest, ""), ("", naive.slope, "2")):
            figure.add_scatter(**_naive_trace(naive, words, value, zero, axis))
    best = next((one for one in info.backbones if one.role == "best"), None)
    if best is not None:
        for axis in ("", "2"):
            line = {"color": style.BEST_COLOUR, "width": 1.5, "dash": "dot"}
            figure.add_shape(
                type="line", x0=best.weight_decay, x1=best.weight_decay, y0=0, y1=1,
                xref=f"x{axis}", yref=f"y{axis} domain", line=line,
            )  # fmt: skip
    _axes(figure, info, zero)
    return figure


def _place_of_zero(info: Stage1WeightDecayInfo) -> float:
    """The x position of naive, left of all others: a logarithmic axis has no 0."""
    low = min(one.weight_decay for one in info.backbones if one.role != "naive")
    return low / 3 if info.log else 0.0


def _backbones_trace(
    name: str, values: Sequence[float | None], look: tuple[str, str], axis: str, backbones: Sequence[BackbonePoint]
) -> dict[str, Any]:
    form = ".3f" if axis else ".1%"
    rates = "" if all(one.rate is None for one in backbones) else f"<br>{RATE} %{{customdata[1]}}"
    return {
        "name": name,
        "legendgroup": name,
        "showlegend": not axis,
        "mode": "markers",
        "marker": {"color": look[0], "symbol": f"{look[1]}-open", "size": 10, "line": {"width": 2, "color": look[0]}},
        "x": style.rounded([one.weight_decay for one in backbones], digits=4),
        "y": style.rounded(values, digits=4),
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "customdata": [[one.label, number(one.rate)] for one in backbones],
        "hovertemplate": (
            f"<b>%{{customdata[0]}}</b>, {name}: %{{y:{form}}}<br>{WEIGHT_DECAY} %{{x:.3g}}{rates}<extra></extra>"
        ),
    }


def _naive_trace(naive: BackbonePoint, group: str, value: float | None, zero: float, axis: str) -> dict[str, Any]:
    """One value of the naive training; that of the rarest `group` in the colour of the others' rarest group."""
    form = ".3f" if axis else ".1%"
    look = style.mark("naive")
    if group:
        look |= {"color": style.ORANGE, "line": {"width": 2.5, "color": style.ORANGE}}
    words = f", {group}" if group else ""
    return {
        "name": "naive",
        "legendgroup": "naive",
        "showlegend": not axis and not group,
        "mode": "markers",
        "marker": look,
        "x": [zero],
        "y": style.rounded([value], digits=4),
        "xaxis": f"x{axis}",
        "yaxis": f"y{axis}",
        "hovertemplate": (
            f"<b>naive</b>{words}: %{{y:{form}}}<br>no weight decay, {RATE} {number(naive.rate)}<extra></extra>"
        ),
    }


def _axes(figure: go.Figure, info: Stage1WeightDecayInfo, zero: float) -> None:
    searched = [one.weight_decay for one in info.backbones if one.role != "naive"]
    x: dict[str, Any] = {"type": "linear", "nticks": 4}
    if info.log and min(searched) > 0:
        x = style.log_ticks(min(searched), max(searched))
        if len(info.backbones) > len(searched):
            kept = [i for i, value in enumerate(x["tickvals"]) if value >= 0.99 * min(searched)]
            x["tickvals"] = [zero, *(x["tickvals"][i] for i in kept)]
            x["ticktext"] = ["0", *(x["ticktext"][i] for i in kept)]
    x = style.sparse(x)
    if len(info.backbones) > len(searched) and "ticktext" in x:
        x["ticktext"] = ["0", *x["ticktext"][1:]]  # this label must stay: it is naive's
    figure.update_layout(
        xaxis=x | {"domain": [0, 0.45]},
        xaxis2=x | {"domain": [0.55, 1], "anchor": "y2"},
        yaxis=style.accuracy_axis(),
        yaxis2={"anchor": "x2", "rangemode": "tozero"},
        margin={"t": 84, "b": 58},
    )
    style.title_panels(figure, ("validation accuracy", SLOPE), WEIGHT_DECAY)


def stage1_weight_decay_table(info: Stage1WeightDecayInfo) -> Table:
    columns = (
        "backbone", WEIGHT_DECAY, RATE, f"{SLOPE} after stage 1", f"{ACCURACY} after stage 1",
        f"val.{info.group} after stage 1", f"{ACCURACY} of its best head",
    )  # fmt: skip
    rows: list[tuple[Scalar, ...]] = [(one.label, *one[2:]) for one in info.backbones]
    return Table(columns, tuple(rows))


def stage1_weight_decay_caption(info: Stage1WeightDecayInfo) -> str:
    searched = [one for one in info.backbones if one.role != "naive"]
    rates = (
        " They differ in learning rate, too, so neighbours need not be alike."
        if len({one.rate for one in searched}) > 1
        else ""
    )
    return (
        f"Each of {len(searched)} backbones by the weight decay that it was trained with: left, what its own "
        "classifier and the best head on it reach on validation; right, how its classifier's norms go with class "
        f"size, 0 being balanced. The vertical line is the backbone of the chosen trial, 0 the naive training.{rates}"
    )


STAGE1_WEIGHT_DECAY = Figure(
    name="stage1_weight_decay",
    title="What weight decay in stage 1 does to norms and accuracy",
    info=stage1_weight_decay_info,
    draw=draw_stage1_weight_decay,
    table=stage1_weight_decay_table,
    caption=stage1_weight_decay_caption,
)
