"""Balance of the classifier's norms over the epochs of both stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.records import EpochRow, Scalar
from studies.study_data import StudyData

MEASURES = ("norm.slope", "norm.cv")
_FAINT = 40  # backbones drawn in grey behind the two that matter


class Curve(NamedTuple):
    """One classifier over its epochs; `values` per measure, in the order of MEASURES."""

    label: str
    role: str  # "best", "naive" or "other"
    epochs: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]


class NormEvolutionInfo(NamedTuple):
    """Curves of stage 1, one a backbone, and of stage 2 of the chosen trial."""

    stage1: tuple[Curve, ...]
    stage2: tuple[Curve, ...]


def norm_evolution_info(data: StudyData) -> NormEvolutionInfo | Absent:
    measured = [row for row in data.epochs if any(row.metrics.get(name) is not None for name in MEASURES)]
    by_backbone, by_trial = defaultdict(list), defaultdict(list)
    for row in measured:
        if row.stage == 1 and row.backbone is not None:
            by_backbone[row.backbone].append(row)
        elif row.stage == 2 and row.number is not None:
            by_trial[row.number].append(row)
    roles = {row.backbone: role for row, role in ((data.naive, "naive"), (data.best, "best")) if row is not None}
    stage1 = []
    for backbone in sorted(data.backbones, key=lambda row: (row.kind, row.index, row.fingerprint)):
        if backbone.fingerprint in by_backbone:
            role = roles.get(backbone.fingerprint, "other")
            label = {"naive": "naive", "best": "backbone of best"}.get(role, f"backbone {backbone.index}")
            stage1.append(_curve(label, role, by_backbone[backbone.fingerprint]))
    best = data.best
    stage2 = (
        [_curve(f"best: trial {best.number}", "best", by_trial[best.number])]
        if best and best.number in by_trial
        else []
    )
    if not stage1 and not stage2:
        return Absent("The study holds no norms per epoch.")
    return NormEvolutionInfo(tuple(stage1), tuple(stage2))


def _curve(label: str, role: str, rows: Iterable[EpochRow]) -> Curve:
    ordered = sorted(rows, key=lambda row: row.epoch)
    values = tuple(tuple(row.metrics.get(name) for row in ordered) for name in MEASURES)
    return Curve(label, role, tuple(row.epoch for row in ordered), values)


def draw_norm_evolution(info: NormEvolutionInfo) -> go.Figure:
    figure = style.figure(height=460)
    others = [curve for curve in info.stage1 if curve.role == "other"]
    faint = others[:: -(-len(others) // _FAINT)] if others else []
    drawn = [(curve, "x") for curve in (*faint, *(c for c in info.stage1 if c.role != "other"))]
    drawn += [(curve, "x2") for curve in info.stage2]
    seen: set[str] = set()
    for curve, axis in drawn:
        figure.add_scatter(**_trace(curve, axis, first=curve.role not in seen))
        seen.add(curve.role)
    split = 0.68 if info.stage1 and info.stage2 else 1.0 if info.stage1 else 0.0
    figure.update_layout(
        xaxis={"title": "stage 1, epoch", "domain": [0, max(0.0, split - 0.02)], "visible": bool(info.stage1)},
        xaxis2={
            "title": "stage 2",
            "domain": [min(1.0, split + 0.02), 1],
            "visible": bool(info.stage2),
            "range": [0.5, 0.5 + max((curve.epochs[-1] for curve in info.stage2), default=1)],
            "nticks": 4,
            "anchor": "y",
        },
        yaxis={"title": MEASURES[0]},
    )
    figure.add_hline(y=0, line={"color": style.GREY, "width": 1})
    _switch_measures(figure, [curve for curve, _ in drawn])
    return figure


def _trace(curve: Curve, axis: str, *, first: bool) -> dict[str, Any]:
    look = {
        "best": {"color": style.BEST, "width": 3},
        "naive": {"color": style.NAIVE, "width": 2.5, "dash": "dash"},
    }.get(curve.role, {"color": style.LIGHT, "width": 1.2})
    name = {"best": "best", "naive": "naive"}.get(curve.role, "other backbones")
    return {
        "name": name,
        "legendgroup": name,
        "showlegend": first,
        "mode": "lines+markers" if len(curve.epochs) < 15 else "lines",
        "x": list(curve.epochs),
        "y": style.rounded(curve.values[0], digits=4),
        "xaxis": axis,
        "yaxis": "y",
        "line": look,
        "hovertemplate": f"{style.text(curve.label)}, epoch %{{x}}: %{{y:.3f}}<extra></extra>",
    }


def _switch_measures(figure: go.Figure, curves: list[Curve]) -> None:
    buttons = [
        {
            "label": name.removeprefix("norm."),
            "method": "update",
            "args": [
                {"y": [style.rounded(curve.values[index], digits=4) for curve in curves]},
                {"yaxis.title.text": name},
            ],
        }
        for index, name in enumerate(MEASURES)
    ]
    figure.update_layout(updatemenus=[style.switch(buttons)], margin={"b": 106})


def norm_evolution_table(info: NormEvolutionInfo) -> Table:
    rows: list[tuple[Scalar, ...]] = []
    for stage, curves in ((1, info.stage1), (2, info.stage2)):
        for curve in curves:
            rows += [(stage, curve.label, *values) for values in zip(curve.epochs, *curve.values, strict=True)]
    return Table(("stage", "classifier", "epoch", *MEASURES), tuple(rows))


def norm_evolution_caption(info: NormEvolutionInfo) -> str:
    right = " Right: the chosen trial's classifier while stage 2 trains it." if info.stage2 else ""
    return (
        "norm.slope: slope of the log row norm on the log of the class's training images, 0 where norms are balanced; "
        f"norm.cv: their standard deviation over their mean. Left: the classifier of stage 1.{right}"
    )


NORM_EVOLUTION = Figure(
    name="norm_evolution",
    title="How balance came about: norms over the epochs",
    info=norm_evolution_info,
    draw=draw_norm_evolution,
    table=norm_evolution_table,
    caption=norm_evolution_caption,
)
