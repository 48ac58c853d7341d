"""Whether short schedules ranked configurations as the full one does, over those that were trained with both."""

from __future__ import annotations

from typing import NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.findings.schedules import Pair, agreement, pairs
from studies.study_data import StudyData
from studies.wording import count

_COLOURS = (style.SKY, style.ORANGE, style.GREEN, style.PURPLE)


class SchedulesInfo(NamedTuple):
    objective: str
    full: int  # epochs
    pairs: tuple[Pair, ...]
    ranks: dict[int, float]  # epochs of the shorter schedule -> rank correlation with the full one


def schedules_info(data: StudyData) -> SchedulesInfo | Absent:
    found = pairs(data)
    if not found:
        return Absent("No configuration has been trained with a short and with the full schedule yet.")
    return SchedulesInfo(data.study.objective, data.space.ladder[-1], found, agreement(found))


def draw_schedules(info: SchedulesInfo) -> go.Figure:
    figure = style.figure(height=400)
    for colour, length in zip(_COLOURS, sorted({pair.epochs for pair in info.pairs}), strict=False):
        own = [pair for pair in info.pairs if pair.epochs == length]
        figure.add_scatter(
            name=f"{length} epochs", mode="markers", x=style.packed([pair.short for pair in own]),
            y=style.packed([pair.full for pair in own]), marker={"color": colour, "size": 9},
            customdata=[pair.backbones for pair in own],
            hovertemplate="backbones %{customdata[0]} and %{customdata[1]}: %{x:.1%}, then %{y:.1%}<extra></extra>",
        )  # fmt: skip
    axis = style.accuracy_axis(info.objective)
    figure.update_layout(yaxis=axis | {"title": f"best head after {info.full} epochs"})
    figure.update_xaxes(title="best head after the short schedule", tickformat=".0%")
    return figure


def schedules_table(info: SchedulesInfo) -> Table:
    rows = tuple((*pair.backbones, pair.epochs, pair.short, pair.full) for pair in info.pairs)
    return Table(("short backbone", "full backbone", "epochs", "after the short one", "after the full one"), rows)


def schedules_caption(info: SchedulesInfo) -> str:
    ranks = "; ".join(
        f"{length} epochs: rank correlation {rank:.2f} over {count(n, 'configuration')}"
        for length, rank in info.ranks.items()
        if (n := sum(pair.epochs == length for pair in info.pairs))
    )
    told = f" {ranks[0].upper()}{ranks[1:]}." if ranks else " There are too few of them for a rank correlation."
    return (
        "Each dot is a configuration of stage 1 that was trained with a short schedule and anew with the full one, by "
        "its best head on validation. Mostly those that looked good when short are trained in full, so the correlation "
        f"is over a choice.{told}"
    )


SCHEDULES = Figure(
    name="schedules",
    title="Did short schedules rank as the full one does?",
    info=schedules_info,
    draw=draw_schedules,
    table=schedules_table,
    caption=schedules_caption,
)
