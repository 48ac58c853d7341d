"""Expected calibration error before and after the fitted temperature."""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import StudyData
from studies.wording import number, role_label


class CalibrationBar(NamedTuple):
    """One classifier; errors are fractions."""

    label: str
    before: float
    after: float
    temperature: float | None


class CalibrationInfo(NamedTuple):
    split: str
    bars: tuple[CalibrationBar, ...]


def calibration_info(data: StudyData) -> CalibrationInfo | Absent:
    best = data.reading("best")
    split, prefix = ("test", "test") if best else ("validation", "val")
    if best:
        rows = [best, *data.all_baselines]
        found = [(row.role, row.number, row.metrics, row.temperature) for row in rows]
    else:
        trials = [(row, role) for row, role in ((data.best, "best"), (data.naive, "naive")) if row is not None]
        found = [(role, row.number, row.metrics, row.temperature or 1.0) for row, role in trials]
    bars = []
    for role, trial, metrics, temperature in found:
        before, after = metrics.get(f"{prefix}.ece"), metrics.get(f"{prefix}.ece_calibrated")
        if before is not None and after is not None:
            label = f"best: trial {trial}" if role == "best" else role_label(role)
            bars.append(CalibrationBar(label, before, after, temperature))
    return CalibrationInfo(split, tuple(bars)) if bars else Absent("No calibration error was measured.")


def draw_calibration(info: CalibrationInfo) -> go.Figure:
    figure = style.figure(height=150 + 52 * len(info.bars), barmode="group", bargap=0.25)
    labels = [style.plotly_text(bar.label) for bar in reversed(info.bars)]
    series = (
        ("after temperature", [bar.after for bar in reversed(info.bars)], {"color": style.BLUE}),
        ("before", [bar.before for bar in reversed(info.bars)], style.patterned(style.ORANGE, "/")),
    )
    temperatures = [f"temperature {number(bar.temperature)}" for bar in reversed(info.bars)]
    for name, values, look in series:
        figure.add_bar(
            name=name, y=labels, x=style.rounded(values), orientation="h", marker=look, customdata=temperatures,
            texttemplate="%{x:.1%}", textposition="outside", cliponaxis=False,
            hovertemplate=f"%{{y}}, {name}: %{{x:.1%}}<br>%{{customdata}}<extra></extra>",
        )  # fmt: skip
    reach = max(max(bar.before, bar.after) for bar in info.bars)
    title = f"calibration error (ECE), {info.split}"
    figure.update_xaxes(title=title, tickformat=".1~%", range=[0, max(0.01, reach * 1.15)])
    figure.update_yaxes(showgrid=False)
    figure.update_layout(legend={"traceorder": "reversed"})
    return figure


def calibration_table(info: CalibrationInfo) -> Table:
    return Table(("classifier", "ECE before", "ECE after", "temperature"), tuple(tuple(bar) for bar in info.bars))


def calibration_caption(_: CalibrationInfo) -> str:
    return (
        "Expected calibration error: the difference between confidence and accuracy. Classifiers that weight decay "
        "has shrunk are right far more often than they claim. One temperature, fitted on validation and exported "
        "with the model, corrects this and changes no decision."
    )


CALIBRATION = Figure(
    name="calibration",
    title="Calibration before and after temperature",
    info=calibration_info,
    draw=draw_calibration,
    table=calibration_table,
    caption=calibration_caption,
)
