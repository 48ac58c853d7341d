"""Two or more studies in one figure each: accuracy by group, and accuracy against balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.accuracy_vs_balance import BALANCE_MEASURES, accuracy_vs_balance_info
from studies.figures.figure import Absent, Table
from studies.figures.groups import GroupBar, error_bars, groups_info
from studies.figures.pareto_front import branches
from studies.findings.headline import GROUPS_WITH_ALL
from studies.study_data import ACCURACY, FRESH_SEED, StudyData

_COLOURS = (style.VERMILION, style.BLUE, style.GREEN, style.PURPLE)
_PATTERNS = ("", "/", ".", "x")
_SYMBOLS = ("circle", "diamond-open", "triangle-up", "square-open")


class ComparedBar(NamedTuple):
    """One study's chosen configuration or naive baseline; `place` is the study's position."""

    study: str
    place: int
    bar: GroupBar


class ComparedGroups(NamedTuple):
    """What is drawn: accuracies by group, all on the same split."""

    split: str
    bars: tuple[ComparedBar, ...]


class ComparedPoint(NamedTuple):
    """One trial."""

    study: str
    place: int
    number: int | None
    accuracy: float
    balance: float
    front: bool  # on the Pareto front of its study


def compared_groups_info(studies: Sequence[StudyData]) -> ComparedGroups | Absent:
    """Best, its fresh seeds and naive of each study; on validation if test was not read for one of them."""
    found = [(data, info) for data in studies if not isinstance(info := groups_info(data), Absent)]
    if len(found) < len(studies):
        return Absent("One of the studies has no finished trial yet, so there is nothing to compare.")
    splits = {info.split for _, info in found}
    if len(splits) > 1:
        return Absent(
            "Test data was read in one of the studies and not in the other: these figures cannot stand side by side."
        )
    bars = tuple(
        ComparedBar(data.study.name, place, bar)
        for place, (data, info) in enumerate(found)
        for bar in info.bars
        if bar.role in ("best", "naive", FRESH_SEED)
    )
    return ComparedGroups(splits.pop(), bars)


def draw_compared_groups(info: ComparedGroups) -> go.Figure:
    """Bars side by side, one colour per study, naive baselines in outline."""
    shown = [i for i in range(len(GROUPS_WITH_ALL)) if any(one.bar.accuracy[i] is not None for one in info.bars)]
    figure = style.figure(height=460, barmode="group", bargap=0.18, bargroupgap=0.04)
    for study, place, bar in info.bars:
        label = style.plotly_text(f"{study}: {bar.label.removeprefix('best: ')}")
        figure.add_bar(
            name=label,
            x=[GROUPS_WITH_ALL[i] for i in shown],
            y=style.rounded([bar.accuracy[i] for i in shown]),
            error_y=error_bars(bar, shown),
            marker=_fill(bar, place),
            hovertemplate=f"{label}<br>%{{x}}: %{{y:.1%}}<extra></extra>",
        )
    figure.update_yaxes(title=f"balanced {info.split} accuracy", tickformat=".0%", rangemode="tozero")
    return figure


def compared_groups_table(info: ComparedGroups) -> Table:
    rows = []
    for study, _, bar in info.bars:
        limit = bar.limits[-1]
        rows.append((study, bar.label, *bar.accuracy, *((limit.low, limit.high) if limit else (None, None))))
    return Table(("study", "method", *GROUPS_WITH_ALL, "all: 95 % low", "all: 95 % high"), tuple(rows))


def compared_balance_info(studies: Sequence[StudyData]) -> tuple[ComparedPoint, ...] | Absent:
    """Trials of all studies by the first measure of balance, on validation."""
    points: list[ComparedPoint] = []
    for place, data in enumerate(studies):
        info = accuracy_vs_balance_info(data)
        if isinstance(info, Absent):
            continue
        front = set(info.front[0])
        points += [
            ComparedPoint(data.study.name, place, one.number, one.accuracy, balance, i in front)
            for i, one in enumerate(info.trials)
            if (balance := one.balance[0]) is not None
        ]
    return tuple(points) or Absent("No finished trial has a classifier whose weight norms could be compared.")


def draw_compared_balance(points: Sequence[ComparedPoint]) -> go.Figure:
    """The trials and the Pareto front of each study."""
    figure = style.figure(height=560)
    for study, place in dict.fromkeys((point.study, point.place) for point in points):
        colour = _study_colour(place)
        own = [point for point in points if point.place == place]
        accuracy, balance = [point.accuracy for point in own], [point.balance for point in own]
        ordered = sorted((i for i, point in enumerate(own) if point.front), key=lambda i: abs(balance[i]))
        front_x, front_y = branches(tuple(ordered), accuracy, balance)
        figure.add_scatter(
            name=style.plotly_text(study),
            mode="markers",
            x=style.rounded([point.balance for point in own]),
            y=style.rounded([point.accuracy for point in own]),
            customdata=[point.number for point in own],
            marker={"color": colour, "size": 7, "opacity": 0.6, "symbol": _SYMBOLS[place % len(_SYMBOLS)]},
            hovertemplate=f"{style.plotly_text(study)}: trial %{{customdata}}<br>%{{x:.3f}}, %{{y:.1%}}<extra></extra>",
        )
        figure.add_scatter(
            name=f"{style.plotly_text(study)}: front",
            mode="lines+markers",
            marker={"symbol": "circle-open", "size": 12, "color": colour},
            x=style.rounded(front_x),
            y=style.rounded(front_y),
            line={"color": colour, "dash": "dot"},
            hoverinfo="skip",
        )
    figure.add_vline(x=0, line={"color": style.GREY, "width": 1})
    figure.update_xaxes(title=f"{next(iter(BALANCE_MEASURES))} (0 = balanced)")
    figure.update_yaxes(**style.accuracy_axis("balanced validation accuracy"))
    return figure


def compared_balance_table(points: Sequence[ComparedPoint]) -> Table:
    ordered = sorted(points, key=lambda point: (point.place, -point.accuracy))
    rows = tuple((p.study, p.number, p.accuracy, p.balance, p.front) for p in ordered)
    return Table(("study", "trial", ACCURACY, next(iter(BALANCE_MEASURES)), "on its front"), rows)


def _fill(bar: GroupBar, place: int) -> dict[str, Any]:
    """One colour and pattern per study; naive in outline, fresh seeds dotted."""
    outline = {"line": {"color": _study_colour(place), "width": 2}}
    if bar.role == "naive":
        return {"color": "white"} | outline
    pattern = "." if bar.role == FRESH_SEED else _PATTERNS[place % len(_PATTERNS)]
    return style.patterned(_study_colour(place), pattern) | outline


def _study_colour(place: int) -> str:
    return _COLOURS[place % len(_COLOURS)]
