"""Many, medium, few and all: the chosen configuration against baselines run here, published figures hatched."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.intervals import Interval, group_of, group_recalls
from studies.published import published_for
from studies.records import Metrics
from studies.study_data import StudyData

GROUPS = ("many", "medium", "few", "all")
_DRAWN = 5  # published results that find room beside one's own


class GroupBar(NamedTuple):
    """One method: an accuracy per group, with 95 % limits where its classes are known."""

    label: str
    role: str
    accuracy: tuple[float | None, ...]  # in the order of GROUPS
    limits: tuple[Interval | None, ...]
    backbone: str = "this study"
    selection: str = "validation"
    source: str = "this study"


class GroupsInfo(NamedTuple):
    """What is drawn; `classes` counts the classes of each group."""

    split: str  # "test", or "validation" before test was read
    thresholds: tuple[int, int]
    classes: tuple[int, ...]
    bars: tuple[GroupBar, ...]
    published: tuple[GroupBar, ...]


def groups_info(data: StudyData) -> GroupsInfo | Absent:
    bars = _read_bars(data)
    split = "test" if bars else "validation"
    bars = bars or _validation_bars(data)
    if not bars:
        return Absent("No trial has finished yet, so there is nothing to compare.")
    sizes = Counter(group_of(count, data.thresholds) for count in data.study.train_counts)
    published = tuple(
        GroupBar(
            row.method, row.role, (row.many, row.medium, row.few, row.all), (None,) * 4,
            backbone=row.backbone, selection=row.selection, source=row.source,
        )
        for row in published_for(data.configuration)
    )  # fmt: skip
    classes = (sizes["many"], sizes["medium"], sizes["few"], sum(sizes.values()))
    return GroupsInfo(split, data.thresholds, classes, bars, published)


def _read_bars(data: StudyData) -> tuple[GroupBar, ...]:
    rows = [row for role in ("best", "naive") if (row := data.reading(role)) is not None]
    bars = []
    for row in (*rows[:1], *data.baselines, *rows[1:]):
        label = f"best: trial {row.number}" if row.role == "best" else style.role_label(row.role)
        limits = group_recalls(row.classes, data.thresholds)
        bars.append(GroupBar(label, row.role, _accuracies(row.metrics, "test"), tuple(limits[g] for g in GROUPS)))
    return tuple(bars)


def _validation_bars(data: StudyData) -> tuple[GroupBar, ...]:
    bars = []
    for row, role in ((data.best, "best"), (data.naive, "naive")):
        if row is not None:
            label = f"best: trial {row.number}" if role == "best" else role
            classes = [c for c in data.classes.get(row.number, ()) if c.split == "val"]
            limits = group_recalls(classes, data.thresholds)
            bars.append(GroupBar(label, role, _accuracies(row.metrics, "val"), tuple(limits[g] for g in GROUPS)))
    return tuple(bars)


def _accuracies(metrics: Metrics, split: str) -> tuple[float | None, ...]:
    return tuple(metrics.get(f"{split}.{key}") for key in ("many", "medium", "few", "balanced_accuracy"))


def draw_groups(info: GroupsInfo) -> go.Figure:
    shown = [index for index in range(4) if any(bar.accuracy[index] is not None for bar in info.bars)]
    names = [f"{GROUPS[i]}<br>{info.classes[i]} class{'' if info.classes[i] == 1 else 'es'}" for i in shown]
    height = 460 + 24 * len(info.published[:_DRAWN])  # their names need room on a narrow screen
    figure = style.figure(height=height, barmode="group", bargap=0.18, bargroupgap=0.04)
    for bar in info.bars:
        figure.add_bar(
            name=style.text(bar.label),
            x=names,
            y=[bar.accuracy[i] for i in shown],
            error_y=_error_bars(bar, shown),
            marker={"color": style.role_colour(bar.role)},
            hovertemplate=f"{style.text(bar.label)}<br>%{{x}}: %{{y:.1%}}<extra></extra>",
        )
    for bar in info.published[:_DRAWN]:
        colour = style.role_colour(bar.role)
        figure.add_bar(
            name=f"published: {style.text(bar.label)}",
            x=names,
            y=[bar.accuracy[i] for i in shown],
            marker={"color": "white", "line": {"color": colour, "width": 1}, "pattern": _hatch(colour)},
            hovertemplate=(
                f"published: {style.text(bar.label)}<br>%{{x}}: %{{y:.1%}}<br>{style.text(bar.backbone)}"
                f"<br>selection: {style.text(bar.selection)}<br>{style.text(bar.source)}<extra></extra>"
            ),
        )
    figure.update_xaxes(tickangle=0)
    figure.update_yaxes(title=f"balanced {info.split} accuracy", tickformat=".0%", rangemode="tozero")
    return figure


def _error_bars(bar: GroupBar, shown: list[int]) -> dict[str, object] | None:
    limits = [bar.limits[i] for i in shown]
    if not any(limits):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": [limit.high - limit.value if limit else 0 for limit in limits],
        "arrayminus": [limit.value - limit.low if limit else 0 for limit in limits],
        "color": style.GREY,
        "thickness": 1.2,
        "width": 3,
    }


def _hatch(colour: str) -> dict[str, object]:
    return {"shape": "/", "fgcolor": colour, "bgcolor": "white", "size": 6, "solidity": 0.3}


def groups_table(info: GroupsInfo) -> Table:
    columns = ("method", *GROUPS, "all: 95 % low", "all: 95 % high", "backbone", "selected on", "source")
    rows = []
    for origin, bar in (*(("", bar) for bar in info.bars), *(("published: ", bar) for bar in info.published)):
        limit = bar.limits[-1]
        low, high = (limit.low, limit.high) if limit else (None, None)
        rows.append((origin + bar.label, *bar.accuracy, low, high, bar.backbone, bar.selection, bar.source))
    return Table(columns, tuple(rows))


def groups_caption(info: GroupsInfo) -> str:
    many, few = info.thresholds
    caption = (
        f"Balanced {info.split} accuracy: the mean of the recalls of the classes in a group. Many: more than {many} "
        f"training images; few: fewer than {few}; medium: between. Whiskers are 95 % intervals from the images "
        "of each class."
    )
    empty = [name for name, count in zip(GROUPS, info.classes, strict=True) if count == 0]
    if empty:
        caption += f" No class of this data is {' or '.join(empty)}: that group is none, not 0 %."
    if info.published:
        caption += (
            " Hatched bars are published figures: other networks, other training, often selected on test data. "
            "They stand here for orientation, not as equals; the table names network, selection rule and source"
            + (f" and lists {len(info.published) - _DRAWN} more." if len(info.published) > _DRAWN else ".")
        )
    return caption


GROUPS_FIGURE = Figure(
    name="groups",
    title="What it buys for rare classes, and what it costs the common ones",
    info=groups_info,
    draw=draw_groups,
    table=groups_table,
    caption=groups_caption,
)
