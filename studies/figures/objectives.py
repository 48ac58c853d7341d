"""All trials by their objectives, with the Pareto front; for studies that have several."""

from __future__ import annotations

from typing import Any, NamedTuple

import plotly.graph_objects as go

from search_spaces.objectives import is_minimised, label, measure, value_of
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.study_data import SLOPE, StudyData
from studies.wording import count, listed, number, per_cent

Values = tuple[float, ...]  # by each objective, as measured
_BESIDE = {"matches": "y", "showticklabels": False}  # the upward axis of a second panel


class ObjectivesInfo(NamedTuple):
    """What is drawn; the front holds positions among the trials, the highest first objective first."""

    labels: tuple[str, ...]
    minimised: tuple[bool, ...]
    fractions: tuple[bool, ...]  # shown as per cent
    numbers: tuple[int, ...]
    values: tuple[Values, ...]  # of each trial
    front: tuple[int, ...]
    naive: Values | None


def objectives_info(data: StudyData) -> ObjectivesInfo | Absent:
    objectives = data.study.objectives
    if len(objectives) == 1:
        return Absent("The study has one objective.")
    if not data.searched:
        return Absent("No trial of the search has finished yet.")
    places = {row.number: place for place, row in enumerate(data.searched)}
    measured = [tuple(value_of(name, row.metrics) or 0.0 for name in objectives) for row in data.searched]
    naive = data.naive
    return ObjectivesInfo(
        tuple(map(label, objectives)),
        tuple(map(is_minimised, objectives)),
        tuple(measure(name) != SLOPE for name in objectives),
        tuple(places),
        tuple(measured),
        tuple(places[row.number] for row in data.front),
        tuple(value_of(name, naive.metrics) or 0.0 for name in objectives) if naive else None,
    )


def draw_objectives(info: ObjectivesInfo) -> go.Figure:
    """One panel for each further objective, with the first one upwards."""
    panels = len(info.labels) - 1
    figure = style.figure(height=480)
    for place in range(1, panels + 1):
        axis = "" if place == 1 else str(place)
        width = 0.9 if panels > 1 else 1.0  # of its share of the page
        across = [(place - 1) / panels, (place - 1 + width) / panels]
        figure.update_layout(
            {
                f"xaxis{axis}": _axis(info, place) | {"domain": across, "anchor": f"y{axis}"},
                f"yaxis{axis}": {"anchor": f"x{axis}"} | (_axis(info, 0) if not axis else _BESIDE),
            }
        )
        for trace in _traces(info, place):
            figure.add_scatter(**trace, xaxis=f"x{axis}", yaxis=f"y{axis}", showlegend=place == 1)
    return figure


def _axis(info: ObjectivesInfo, place: int) -> dict[str, Any]:
    title = f"{info.labels[place]} ({'smaller' if info.minimised[place] else 'larger'} is better)"
    return style.accuracy_axis(title) if info.fractions[place] else {"title": title}


def _traces(info: ObjectivesInfo, place: int) -> list[dict[str, Any]]:
    first, other = [values[0] for values in info.values], [values[place] for values in info.values]
    on_front = sorted(info.front, key=lambda index: (other[index], first[index]))
    joined = "lines+markers" if len(info.labels) == 2 else "markers"  # of three, a panel is a shadow of the front
    found: list[dict[str, Any]] = [
        {
            "name": "trials", "mode": "markers", "x": style.packed(other), "y": style.packed(first),
            "customdata": style.packed_integers(info.numbers),
            "marker": {"color": style.SKY, "size": 8, "opacity": 0.7, "line": {"width": 0.5, "color": "white"}},
            "hovertemplate": "trial %{customdata}: %{y:.1%}, %{x:.3g}<extra></extra>",
        },
        {
            "name": "Pareto front", "mode": joined, "hoverinfo": "skip",
            "x": style.rounded([other[index] for index in on_front]),
            "y": style.rounded([first[index] for index in on_front]),
            "line": {"color": style.BLACK, "width": 1.5, "dash": "dot"},
            "marker": {"symbol": "circle-open", "size": 13, "color": style.BLACK, "line": {"width": 1.5}},
        },
    ]  # fmt: skip
    if info.naive is not None:
        found.append(_mark("naive", "naive", info.naive, place))
    chosen = info.front[0]
    return [*found, _mark(f"best: trial {info.numbers[chosen]}", "best", info.values[chosen], place)]


def _mark(name: str, role: str, values: Values, place: int) -> dict[str, Any]:
    return {
        "name": name, "mode": "markers", "x": style.rounded([values[place]]), "y": style.rounded([values[0]]),
        "marker": style.mark(role), "hovertemplate": f"{name}: %{{y:.1%}}, %{{x:.3g}}<extra></extra>",
    }  # fmt: skip


def objectives_table(info: ObjectivesInfo) -> Table:
    """The front first, then the other trials."""
    rest = [place for place in range(len(info.numbers)) if place not in info.front]
    rows = [(info.numbers[place], place in info.front, *info.values[place]) for place in (*info.front, *rest)]
    return Table(("trial", "on the front", *info.labels), tuple(rows))


def objectives_caption(info: ObjectivesInfo) -> str:
    ends = [
        f"{info.labels[place]} {_shown(info, place, min)} to {_shown(info, place, max)}"
        for place in range(len(info.labels))
    ]
    return (
        f"Each dot is a finished trial ({len(info.numbers):,} in all), on validation data. Rings are the Pareto front: "
        f"{count(len(info.front), 'trial')} of which no other is better in one objective without being worse in "
        f"another; of equal trials the one with the most balanced norms. On it lie {listed(ends)}. The star is the "
        f"chosen trial: of the front, the one with the highest {info.labels[0]}."
    )


def _shown(info: ObjectivesInfo, place: int, end: Any) -> str:
    value = end(info.values[index][place] for index in info.front)
    return per_cent(value) if info.fractions[place] else number(value)


OBJECTIVES = Figure(
    name="objectives",
    title="The objectives against each other",
    info=objectives_info,
    draw=draw_objectives,
    table=objectives_table,
    caption=objectives_caption,
)
