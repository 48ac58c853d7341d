"""Balance of the classifier's norms over the epochs of both stages."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.colors import sample_colorscale

from studies.confirmed import CONFIRM, seed_in
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.records import EpochRow
from studies.study_data import SLOPE, StudyData
from studies.wording import number
from trainers.config import Scalar

NORM_MEASURES = (SLOPE, "norm.cv")
WEIGHT_DECAY = "stage1.weight_decay"
_FAINT = 40  # backbones drawn behind the two that matter
_DARK_HALF = 0.9  # of the colour scale: its light end is hard to see on white


class Curve(NamedTuple):
    """One classifier over its epochs; `values` per measure, in the order of NORM_MEASURES."""

    label: str
    role: str  # "best", "naive" or "other"
    weight_decay: float | None  # of stage 1
    epochs: tuple[int, ...]
    values: tuple[tuple[float | None, ...], ...]


class NormEvolutionInfo(NamedTuple):
    """Curves of stage 1, one per backbone, and of the chosen trial's stage 2, from the stage-1 classifier (epoch 0)."""

    stage1: tuple[Curve, ...]
    stage2: tuple[Curve, ...]


def norm_evolution_info(data: StudyData) -> NormEvolutionInfo | Absent:
    measured = [row for row in data.epochs if any(row.metrics.get(name) is not None for name in NORM_MEASURES)]
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
            seed = f", seed {seed_in(backbone.config)}" if backbone.kind == CONFIRM else ""
            label = {"naive": "naive", "best": "backbone of best"}.get(role, f"backbone {backbone.index}{seed}")
            decay = _decay(backbone.config.get(WEIGHT_DECAY))
            stage1.append(_curve(label, role, decay, by_backbone[backbone.fingerprint]))
    stage2 = _stage2(data, by_trial)
    if not stage1 and not stage2:
        return Absent("The study holds no norms per epoch.")
    return NormEvolutionInfo(tuple(stage1), stage2)


def _stage2(data: StudyData, by_trial: dict[int, list[EpochRow]]) -> tuple[Curve, ...]:
    best = data.best
    if best is None or best.number not in by_trial:
        return ()
    rows = by_trial[best.number]
    start = stage1_metrics(data, best.backbone) if best.config.get("stage2.method") != "crt" else None  # starts fresh
    if start is not None:
        rows = [EpochRow(stage=2, epoch=0, metrics=start, number=best.number), *rows]
    return (_curve(f"best: trial {best.number}", "best", _decay(best.config.get(WEIGHT_DECAY)), rows),)


def stage1_metrics(data: StudyData, backbone: str | None) -> dict[str, float | None] | None:
    """The measures of a backbone's stage-1 classifier; None if they were not stored."""
    rows = (row for row in data.posthoc if row.backbone == backbone and row.config.get("stage2.method") == "none")
    return next((dict(row.metrics) for row in rows), None)


def _decay(value: Scalar) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _curve(label: str, role: str, decay: float | None, rows: Iterable[EpochRow]) -> Curve:
    ordered = sorted(rows, key=lambda row: row.epoch)
    values = tuple(tuple(row.metrics.get(name) for row in ordered) for name in NORM_MEASURES)
    return Curve(label, role, decay, tuple(row.epoch for row in ordered), values)


def draw_norm_evolution(info: NormEvolutionInfo) -> go.Figure:
    figure = style.figure(height=460)
    others = [curve for curve in info.stage1 if curve.role == "other"]
    faint = others[:: -(-len(others) // _FAINT)] if others else []
    drawn = [(curve, "x") for curve in (*faint, *(c for c in info.stage1 if c.role != "other"))]
    drawn += [(curve, "x2") for curve in info.stage2]
    reach = _reach([curve.weight_decay for curve in others])
    seen: set[str] = set()
    for curve, axis in drawn:
        figure.add_scatter(**_curve_trace(curve, axis, reach, first=curve.role not in seen))
        seen.add(curve.role)
    if reach is not None:
        figure.add_scatter(**_colour_bar(reach))
    split = 0.66 if info.stage1 and info.stage2 else 1.0 if info.stage1 else 0.0
    last = max((curve.epochs[-1] for curve in info.stage2), default=1)
    figure.update_layout(
        xaxis={"title": "stage 1, epoch", "domain": [0, max(0.0, split - 0.02)], "visible": bool(info.stage1)},
        xaxis2={
            "title": "stage 2",
            "domain": [min(1.0, split + 0.02), 1],
            "visible": bool(info.stage2),
            "range": [-0.04 * last, 1.04 * last],
            "nticks": 4,
            "anchor": "y",
        },
        yaxis={"title": NORM_MEASURES[0]},
    )
    figure.add_hline(y=0, line={"color": style.GREY, "width": 1})
    _add_measure_buttons(figure, [curve for curve, _ in drawn], extra=reach is not None)
    return figure


def _reach(decays: Sequence[float | None]) -> tuple[float, float] | None:
    """Lowest and highest logarithm of the weight decays; None where they do not vary."""
    known = [math.log10(decay) for decay in decays if decay]
    return (min(known), max(known)) if known and max(known) > min(known) else None


def _curve_colour(curve: Curve, reach: tuple[float, float] | None) -> str:
    if reach is None or not curve.weight_decay:
        return style.LIGHT
    place = (math.log10(curve.weight_decay) - reach[0]) / (reach[1] - reach[0])
    colour: str = sample_colorscale(style.SCALE, [_DARK_HALF * min(1.0, max(0.0, place))])[0]
    return colour


def _colour_bar(reach: tuple[float, float]) -> dict[str, Any]:
    """An invisible mark that carries the colour scale of the weight decays."""
    ends = style.sparse(style.log_ticks(10 ** reach[0], 10 ** reach[1]))
    bar = {
        "title": {"text": "weight<br>decay"}, "thickness": 12, "len": 0.8,
        "tickvals": [math.log10(value) for value in ends["tickvals"]], "ticktext": ends["ticktext"],
    }  # fmt: skip
    scale = [[place / 4, sample_colorscale(style.SCALE, [_DARK_HALF * place / 4])[0]] for place in range(5)]
    marker = {"color": [reach[0]], "cmin": reach[0], "cmax": reach[1], "colorscale": scale, "showscale": True}
    hidden = {"mode": "markers", "x": [None], "y": [None], "showlegend": False, "hoverinfo": "skip"}
    return {**hidden, "marker": marker | {"colorbar": bar}}


def _curve_trace(curve: Curve, axis: str, reach: tuple[float, float] | None, *, first: bool) -> dict[str, Any]:
    look = {
        "best": {"color": style.BEST_COLOUR, "width": 3},
        "naive": {"color": style.NAIVE_COLOUR, "width": 2.5, "dash": "dash"},
    }.get(curve.role, {"color": _curve_colour(curve, reach), "width": 1.6})
    name = {"best": "best", "naive": "naive (no weight decay)"}.get(curve.role, "other backbones")
    decay = f"<br>{WEIGHT_DECAY} {number(curve.weight_decay)}"
    return {
        "name": name,
        "legendgroup": name,
        "showlegend": first,
        "mode": "lines+markers" if len(curve.epochs) < 15 else "lines",
        "x": list(curve.epochs),
        "y": style.rounded(curve.values[0], digits=3),
        "xaxis": axis,
        "yaxis": "y",
        "line": look,
        "hovertemplate": f"{style.plotly_text(curve.label)}, epoch %{{x}}: %{{y:.3f}}{decay}<extra></extra>",
    }


def _add_measure_buttons(figure: go.Figure, curves: list[Curve], *, extra: bool) -> None:
    buttons = []
    for index, name in enumerate(NORM_MEASURES):
        ys = [style.rounded(curve.values[index], digits=3) for curve in curves]
        args = [{"y": [*ys, *([[None]] if extra else [])]}, {"yaxis.title.text": name}]
        buttons.append({"label": name.removeprefix("norm."), "method": "update", "args": args})
    figure.update_layout(updatemenus=[style.switch(buttons)], margin={"b": 106})


def norm_evolution_table(info: NormEvolutionInfo) -> Table:
    rows: list[tuple[Scalar, ...]] = []
    for stage, curves in ((1, info.stage1), (2, info.stage2)):
        for curve in curves:
            own = (stage, curve.label, curve.weight_decay)
            rows += [(*own, *values) for values in zip(curve.epochs, *curve.values, strict=True)]
    return Table(("stage", "classifier", WEIGHT_DECAY, "epoch", *NORM_MEASURES), tuple(rows))


def norm_evolution_caption(info: NormEvolutionInfo) -> str:
    right = ""
    if info.stage2:
        start = ", from where stage 1 left it (epoch 0)" if info.stage2[0].epochs[0] == 0 else ""
        right = f" Right: the chosen trial's classifier while stage 2 trains it{start}."
    coloured = (
        " Colours are the weight decay of stage 1." if any(curve.role == "other" for curve in info.stage1) else ""
    )
    return (
        f"{SLOPE}: slope of the log row norm on the log of the class's training images, 0 where norms are balanced; "
        f"norm.cv: their standard deviation over their mean. Left: the classifier of stage 1.{coloured}{right}"
    )


NORM_EVOLUTION = Figure(
    name="norm_evolution",
    title="How balance came about: norms over the epochs",
    info=norm_evolution_info,
    draw=draw_norm_evolution,
    table=norm_evolution_table,
    caption=norm_evolution_caption,
)
