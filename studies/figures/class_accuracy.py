"""Accuracy of each class against its number of training images, the chosen configuration against the naive one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.records import ClassRow
from studies.study_data import StudyData
from studies.wording import listed
from trainers.config import Scalar

_JOINED = 60  # up to here a line joins the two accuracies of each class
_SMOOTHED = 20  # from this many classes, a mean over similar sizes is drawn
_SMOOTHING_DECADES = 0.25  # of the count: the width of the kernel
_LINE_POINTS = 48


_Found = tuple[str, str, Sequence[ClassRow]]  # label, role, rows


class ClassSeries(NamedTuple):
    """Correct and total images per class, and a smooth line through the recalls."""

    label: str
    role: str
    correct: tuple[int, ...]
    total: tuple[int, ...]
    smooth: tuple[float, ...]  # empty for few classes
    seeds: tuple[tuple[float, float] | None, ...] = ()  # lowest and highest recall over fresh seeds


class ClassAccuracyInfo(NamedTuple):
    """What is drawn, classes from the largest to the smallest."""

    split: str
    thresholds: tuple[int, int]
    names: tuple[str, ...]
    counts: tuple[int, ...]
    grid: tuple[float, ...]  # counts at which `smooth` is given
    series: tuple[ClassSeries, ...]


def class_accuracy_info(data: StudyData) -> ClassAccuracyInfo | Absent:
    split, found = _compared_rows(data)
    if not found:
        return Absent("No trial has results class by class yet.")
    order = sorted(found[0][2], key=lambda row: (-row.train_count, row.class_index))
    indices = [row.class_index for row in order]
    counts = tuple(row.train_count for row in order)
    grid = _grid(counts) if len(counts) >= _SMOOTHED else ()
    series = []
    for label, role, rows in found:
        by_index = {row.class_index: row for row in rows}
        aligned = [by_index[index] for index in indices]
        correct, total = tuple(r.correct for r in aligned), tuple(r.total for r in aligned)
        smooth = smoothed(counts, correct, total, grid)
        series.append(ClassSeries(label, role, correct, total, smooth, _seed_reach(data, split, role, indices)))
    names = tuple(data.class_name(index) for index in indices)
    return ClassAccuracyInfo(split, data.thresholds, names, counts, grid, tuple(series))


def _compared_rows(data: StudyData) -> tuple[str, list[_Found]]:
    """The split and the class rows of naive and best: test if it was read for both that exist, else validation."""
    read = [(role, row) for role in ("naive", "best") if (row := data.reading(role)) and row.classes]
    if any(role == "best" for role, _ in read):
        label = {"naive": "naive", "best": f"best: trial {data.best.number if data.best else ''}"}
        return "test", [(label[role], role, row.classes) for role, row in read]
    found: list[_Found] = []
    for trial, role in ((data.naive, "naive"), (data.best, "best")):
        rows = [row for row in data.classes.get(trial.number, ()) if row.split == "val"] if trial else []
        if trial and rows:
            found.append((role if role == "naive" else f"best: trial {trial.number}", role, rows))
    return "validation", found


def _seed_reach(
    data: StudyData, split: str, role: str, indices: Sequence[int]
) -> tuple[tuple[float, float] | None, ...]:
    """Lowest and highest test recall of each class over the fresh seeds of the chosen configuration."""
    fresh = data.fresh_seeds(data.best.config) if data.best and role == "best" and split == "test" else ()
    if len(fresh) < 2:
        return ()
    runs = [{row.class_index: row.correct / row.total for row in one.classes if row.total} for one in fresh]
    found = [[run[index] for run in runs if index in run] for index in indices]
    return tuple((min(values), max(values)) if values else None for values in found)


def _grid(counts: Sequence[int]) -> tuple[float, ...]:
    low, high = math.log10(max(1, min(counts))), math.log10(max(1, *counts))
    return tuple(float(x) for x in np.logspace(low, high, _LINE_POINTS)) if high > low else ()


def smoothed(
    counts: Sequence[int], correct: Sequence[int], total: Sequence[int], grid: Sequence[float]
) -> tuple[float, ...]:
    """Recall at each count of `grid`: a Gaussian mean of the classes over the logarithm of their counts."""
    known = [i for i, images in enumerate(total) if images > 0 and counts[i] > 0]
    if not known or not grid:
        return ()
    x = np.log10([counts[i] for i in known])  # (classes,)
    y = np.array([correct[i] / total[i] for i in known])
    distance = (np.log10(np.asarray(grid))[:, None] - x[None, :]) / _SMOOTHING_DECADES  # (grid, classes)
    weight = np.exp(-0.5 * (distance**2 - (distance**2).min(1, keepdims=True)))  # the nearest class has weight 1
    return tuple(round(float(value), 5) for value in (weight @ y) / weight.sum(1))


def draw_class_accuracy(info: ClassAccuracyInfo) -> go.Figure:
    figure = style.figure(height=480)
    if len(info.series) > 1 and len(info.counts) <= _JOINED:
        figure.add_scatter(**_joints(info))
    for series in info.series:
        dash = "dash" if series.role == "naive" else "solid"
        figure.add_scatter(**_class_marks(info, series))
        if series.smooth:
            figure.add_scatter(
                mode="lines", x=style.rounded(info.grid, digits=4), y=style.rounded(series.smooth, digits=4),
                showlegend=False, hoverinfo="skip",
                line={"color": _series_colour(series), "width": 2.5, "dash": dash},
            )  # fmt: skip
    low, high = max(1, min(info.counts)), max(1, *info.counts)
    ticks = style.log_ticks(low, high, dense=high / low < 1000)
    reach = [math.log10(low) - 0.06, math.log10(high) + 0.06]
    figure.update_xaxes(title="training images of the class", range=reach, **ticks)
    figure.update_yaxes(title=f"{info.split} accuracy of the class", tickformat=".0%", range=[-0.03, 1.03])
    _mark_thresholds(figure, info)
    return figure


def _class_marks(info: ClassAccuracyInfo, series: ClassSeries) -> dict[str, object]:
    """One mark per class; those of best have bars for the range over fresh seeds."""
    colour, few = _series_colour(series), len(info.counts) <= _JOINED
    hover = "<b>%{text}</b>, %{x} training images<br>%{customdata[0]} of %{customdata[1]} right: %{y:.1%}"
    look = (
        {"symbol": "x-thin", "line": {"width": 2, "color": colour}}
        if series.role == "naive"
        else {"symbol": "circle-open", "line": {"width": 2, "color": colour}}
    )
    drawn: dict[str, object] = {
        "name": style.plotly_text(series.label),
        "mode": "markers",
        "x": list(info.counts),
        "y": style.rounded(_recalls(series)),
        "text": [style.plotly_text(name) for name in info.names],
        "customdata": [list(pair) for pair in zip(series.correct, series.total, strict=True)],
        "marker": {"color": colour, "size": 10 if few else 5, "opacity": 0.85} | look,
        "hovertemplate": f"{hover}<extra>{style.plotly_text(series.label)}</extra>",
    }
    if not (series.seeds and few):
        return drawn
    found = list(zip(_recalls(series), series.seeds, strict=True))
    above = [max(0.0, reach[1] - y) if reach and y is not None else 0 for y, reach in found]
    below = [max(0.0, y - reach[0]) if reach and y is not None else 0 for y, reach in found]
    bars = {"type": "data", "symmetric": False, "array": style.rounded(above), "arrayminus": style.rounded(below)}
    return drawn | {"error_y": bars | {"color": colour, "thickness": 1.2, "width": 5}}


def _series_colour(series: ClassSeries) -> str:
    return style.BEST_COLOUR if series.role == "best" else style.NAIVE_COLOUR


def _joints(info: ClassAccuracyInfo) -> dict[str, object]:
    first, last = _recalls(info.series[0]), _recalls(info.series[-1])
    x = [value for count in info.counts for value in (count, count, None)]
    y = [value for a, b in zip(first, last, strict=True) for value in (a, b, None)]
    line = {"color": style.LIGHT, "width": 2}
    return {"x": x, "y": y, "mode": "lines", "line": line, "showlegend": False, "hoverinfo": "skip"}


def _mark_thresholds(figure: go.Figure, info: ClassAccuracyInfo) -> None:
    for threshold, words in zip(info.thresholds, ("many →", "← few"), strict=True):
        if min(info.counts) < threshold < max(info.counts):
            figure.add_vline(x=threshold, line={"color": style.GREY, "width": 1, "dash": "dot"})
            anchor = "left" if words.endswith("→") else "right"
            figure.add_annotation(
                x=math.log10(threshold), y=1, yref="paper", yanchor="bottom", text=words, xanchor=anchor,
                showarrow=False, font={"size": 11, "color": "#444"},
            )  # fmt: skip


def _recalls(series: ClassSeries) -> list[float | None]:
    return [correct / total if total else None for correct, total in zip(series.correct, series.total, strict=True)]


def class_accuracy_table(info: ClassAccuracyInfo) -> Table:
    parts = []
    for series in info.series:
        parts += [f"{series.role}: {word}" for word in ("correct", "of", "recall")]
        parts += [f"{series.role}: {word} of fresh seeds" for word in ("lowest", "highest")] if series.seeds else []
    rows = []
    for i, (name, count) in enumerate(zip(info.names, info.counts, strict=True)):
        values: list[Scalar] = []
        for one in info.series:
            values += [one.correct[i], one.total[i], _recalls(one)[i]]
            values += (one.seeds[i] or (None, None)) if one.seeds else ()
        rows.append((name, count, *values))
    return Table(("class", "training images", *parts), tuple(rows))


def class_accuracy_caption(info: ClassAccuracyInfo) -> str:
    caption = f"One mark per class and classifier on {info.split} images, {len(info.counts)} classes."
    if any(series.smooth for series in info.series):
        caption += " Lines are means over classes of similar size (Gaussian, a quarter of a decade wide)."
    if any(series.seeds for series in info.series) and len(info.counts) <= _JOINED:
        caption += " Bars reach from the lowest to the highest of the chosen configuration's fresh seeds."
    missing = [name for i, name in enumerate(info.names) if not any(series.total[i] for series in info.series)]
    if missing:
        caption += f" Without a {info.split} image, and so without a mark: {listed(missing[:10])}."
    return caption


CLASS_ACCURACY = Figure(
    name="class_accuracy",
    title="Each class, by its number of training images",
    info=class_accuracy_info,
    draw=draw_class_accuracy,
    table=class_accuracy_table,
    caption=class_accuracy_caption,
)
