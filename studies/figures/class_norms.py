"""The norm of every class's row over the epochs of stage 1: naive, and the backbone of the chosen trial."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import StudyData
from trainers.config import Scalar

_MOST_EPOCHS = 21  # epochs that are drawn: forty columns would show no more


class TrainingNorms(NamedTuple):
    """One training; `norms` (epochs, C), classes from the largest to the smallest."""

    label: str
    epochs: tuple[int, ...]
    norms: tuple[tuple[float, ...], ...]


class ClassNormsInfo(NamedTuple):
    """What is drawn, classes from the largest to the smallest."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    panels: tuple[TrainingNorms, ...]


def class_norms_info(data: StudyData) -> ClassNormsInfo | Absent:
    counts = data.study.train_counts
    order = sorted(range(len(counts)), key=lambda index: (-counts[index], index))
    wanted = {"naive (no weight decay)": data.naive, "stage 1 of best": data.best}
    panels = []
    for label, trial in wanted.items():
        rows = [
            row
            for row in data.epochs
            if trial is not None and row.backbone == trial.backbone and len(row.norms) == len(counts)
        ]
        if rows:
            rows = sorted(rows, key=lambda row: row.epoch)[:: -(-len(rows) // _MOST_EPOCHS)]
            norms = tuple(tuple(row.norms[index] for index in order) for row in rows)
            panels.append(TrainingNorms(label, tuple(row.epoch for row in rows), norms))
    if not panels:
        return Absent("The study holds no norms per class and epoch; it was made by an earlier release.")
    return ClassNormsInfo(tuple(data.class_name(i) for i in order), tuple(counts[i] for i in order), tuple(panels))


def draw_class_norms(info: ClassNormsInfo) -> go.Figure:
    figure = style.figure(height=470, legend=False)
    grids = [[_logs(norms) for norms in panel.norms] for panel in info.panels]
    reach = max((abs(value) for grid in grids for row in grid for value in row), default=0.0) or 1.0
    labels = [style.plotly_text(f"{name} ({count})") for name, count in zip(info.names, info.counts, strict=True)]
    for place, (panel, grid) in enumerate(zip(info.panels, grids, strict=True)):
        figure.add_heatmap(**_map(panel, grid, labels, reach, axis="" if place == 0 else "2"))
    every_class = {"tickvals": list(range(len(labels))), "ticktext": labels}
    named = every_class if len(labels) <= style.NAMED_CLASSES else {"nticks": 6}
    y_axis = {"autorange": "reversed", "title": "class, largest first", **named}
    if len(info.panels) == 2:
        figure.update_layout(
            xaxis={"domain": [0, 0.48], "nticks": 5},
            xaxis2={"domain": [0.52, 1], "nticks": 5, "anchor": "y2"},
            yaxis=y_axis,
            yaxis2={"autorange": "reversed", "matches": "y", "showticklabels": False, "anchor": "x2"},
        )
        style.title_panels(figure, (info.panels[0].label, info.panels[1].label), "stage 1, epoch")
    else:
        figure.update_layout(xaxis={"title": f"{info.panels[0].label}, epoch"}, yaxis=y_axis)
    return figure.update_layout(margin={"t": 60, "b": 120})


def _logs(norms: Sequence[float]) -> list[float]:
    """Logarithms to base 2 of the norms over their mean: scale-free, 0 where all are equal."""
    mean = math.fsum(norms) / len(norms)
    return [math.log2(max(norm, 1e-6 * mean) / mean) if mean > 0 else 0.0 for norm in norms]


def _map(
    panel: TrainingNorms, grid: list[list[float]], labels: list[str], reach: float, *, axis: str
) -> dict[str, Any]:
    by_class = [list(column) for column in zip(*grid, strict=True)]
    bar = {
        "orientation": "h", "y": -0.24, "yanchor": "top", "thickness": 12, "len": 0.7,
        "title": {"text": "norm ÷ mean norm", "side": "bottom"},
        "tickvals": [-reach, 0, reach], "ticktext": [f"{2**-reach:.2g}", "1", f"{2**reach:.2g}"],
    }  # fmt: skip
    return {
        "x": list(panel.epochs), "y": list(range(len(labels))), "z": style.packed_grid(by_class),
        "xaxis": f"x{axis}", "yaxis": f"y{axis}", "zmin": -reach, "zmax": reach,
        "colorscale": style.DIVERGING, "showscale": axis == "", "colorbar": bar,
        "text": [[f"{label}<br>{2**value:.3g} of the mean" for value in row]
                 for label, row in zip(labels, by_class, strict=True)] if len(labels) <= style.NAMED_CLASSES else None,
        "hovertemplate": f"{panel.label}, epoch %{{x}}: %{{text}}<extra></extra>" if len(labels) <= style.NAMED_CLASSES
                         else f"{panel.label}, epoch %{{x}}, class %{{y}}: 2^%{{z:.2f}} of the mean<extra></extra>",
    }  # fmt: skip


def class_norms_table(info: ClassNormsInfo) -> Table:
    rows: list[tuple[Scalar, ...]] = [
        (panel.label, epoch, name, count, norm)
        for panel in info.panels
        for epoch, norms in zip(panel.epochs, panel.norms, strict=True)
        for name, count, norm in zip(info.names, info.counts, norms, strict=True)
    ]
    return Table(("training", "epoch", "class", "training images", "norm"), tuple(rows))


def class_norms_caption(info: ClassNormsInfo) -> str:
    every = "" if len(info.panels[0].epochs) < 2 else ", about twenty times over the run"
    return (
        f"L2 norm of each class's row of the classifier while stage 1 trains it, over the mean of all rows{every}. "
        "White is the mean: blue rows are longer, red ones shorter. Where rows at the top turn blue and those at the "
        "bottom red, training favours common classes."
    )


CLASS_NORMS = Figure(
    name="class_norms",
    title="How each class's norm grew",
    info=class_norms_info,
    draw=draw_class_norms,
    table=class_norms_table,
    caption=class_norms_caption,
)
