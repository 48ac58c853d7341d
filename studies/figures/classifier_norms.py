"""Norms of the classifier's rows, classes sorted by size: naive, and both stages of the chosen configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import SLOPE, StudyData
from studies.wording import number
from trainers.config import Scalar


class NormSeries(NamedTuple):
    """Row norms of one classifier, and their slope on class size."""

    label: str
    role: str
    norms: tuple[float, ...]
    slope: float | None


class ClassifierNormsInfo(NamedTuple):
    """What is drawn, classes from the largest to the smallest."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    series: tuple[NormSeries, ...]


def classifier_norms_info(data: StudyData) -> ClassifierNormsInfo | Absent:
    counts = data.study.train_counts
    found = [
        (label, role, norms, slope) for label, role, norms, slope in _classifiers(data) if len(norms) == len(counts)
    ]
    if not counts or not found:
        return Absent("No finished trial has a classifier whose norms could be shown.")
    order = sorted(range(len(counts)), key=lambda index: (-counts[index], index))
    series = tuple(
        NormSeries(label, role, tuple(norms[i] for i in order), slope) for label, role, norms, slope in found
    )
    return ClassifierNormsInfo(tuple(data.class_name(i) for i in order), tuple(counts[i] for i in order), series)


def _classifiers(data: StudyData) -> list[tuple[str, str, Sequence[float], float | None]]:
    found: list[tuple[str, str, Sequence[float], float | None]] = []
    if data.naive is not None:
        found.append(("naive", "naive", data.naive.norms, data.naive.metrics.get(SLOPE)))
    best = data.best
    if best is not None:
        backbone = data.backbone_by_fingerprint.get(best.backbone or "")
        if backbone is not None:
            found.append(("stage 1 of best", "stage1", backbone.norms, _stage1_slope(data, backbone.fingerprint)))
        found.append((f"best: trial {best.number}", "best", best.norms, best.metrics.get(SLOPE)))
    return found


def _stage1_slope(data: StudyData, fingerprint: str) -> float | None:
    of_stage1 = (r for r in data.posthoc if r.backbone == fingerprint and r.config.get("stage2.method") == "none")
    return next((row.metrics.get(SLOPE) for row in of_stage1), None)


def draw_classifier_norms(info: ClassifierNormsInfo) -> go.Figure:
    figure = style.figure(height=460)
    named = len(info.names) <= style.NAMED_CLASSES
    ranks = list(range(1, len(info.names) + 1))
    for series in info.series:
        colour, symbol = _line_look(series.role)
        slope = "" if series.slope is None else f" (slope {series.slope:+.2f})".replace("-", "−")
        figure.add_scatter(
            name=style.plotly_text(series.label) + slope,
            mode="lines+markers" if named else "lines",
            x=ranks,
            y=style.rounded(_over_mean(series.norms)),
            customdata=[
                [style.plotly_text(name), count, number(norm)]
                for name, count, norm in zip(info.names, info.counts, series.norms, strict=True)
            ],
            line={"color": colour, "width": 2, "dash": "dash" if series.role == "naive" else "solid"},
            marker={"color": colour, "symbol": symbol, "size": 8},
            hovertemplate=(
                "<b>%{customdata[0]}</b>, %{customdata[1]} training images<br>norm %{customdata[2]}, "
                f"%{{y:.2f}} of the mean<extra>{style.plotly_text(series.label)}</extra>"
            ),
        )
    figure.add_hline(y=1, line={"color": style.GREY, "width": 1, "dash": "dot"})
    if named:
        labels = [
            f"{style.plotly_text(_short_name(name))} ({count})"
            for name, count in zip(info.names, info.counts, strict=True)
        ]
        figure.update_xaxes(tickvals=ranks, ticktext=labels, tickangle=-45 if len(ranks) > 6 else 0)
        figure.update_xaxes(title="class (training images)")
    else:
        figure.update_xaxes(title="classes, the largest first")
    figure.update_yaxes(title="row norm ÷ mean row norm", rangemode="tozero")
    return figure


def _line_look(role: str) -> tuple[str, str]:
    return {
        "naive": (style.NAIVE_COLOUR, "x"),
        "stage1": (style.STAGE1_COLOUR, "square"),
    }.get(role, (style.BEST_COLOUR, "circle"))


def _short_name(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"


def _over_mean(norms: Sequence[float]) -> list[float]:
    mean = sum(norms) / len(norms)
    return [norm / mean if mean else 0.0 for norm in norms]


def classifier_norms_table(info: ClassifierNormsInfo) -> Table:
    rows: list[tuple[Scalar, ...]] = []
    for i, (name, count) in enumerate(zip(info.names, info.counts, strict=True)):
        rows.append((name, count, *(series.norms[i] for series in info.series)))
    return Table(("class", "training images", *(f"norm: {series.label}" for series in info.series)), tuple(rows))


def classifier_norms_caption(_: ClassifierNormsInfo) -> str:
    return (
        "L2 norm of each class's row of the classifier, divided by the mean of all rows: the scale, which weight "
        "decay changes a thousandfold, does not matter. Flat is balanced; falling to the right favours common "
        "classes; rising favours rare ones. The norms themselves are in the table."
    )


CLASSIFIER_NORMS = Figure(
    name="classifier_norms",
    title="Classifier norms, classes sorted by size",
    info=classifier_norms_info,
    draw=draw_classifier_norms,
    table=classifier_norms_table,
    caption=classifier_norms_caption,
)
