"""Many, medium, few and all: the chosen configuration, the study's baselines, and published figures (hatched)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import plotly.graph_objects as go

from studies.applicable import applicable
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.findings.headline import GROUPS_WITH_ALL, Fresh, group_intervals, over_fresh_seeds
from studies.findings.intervals import Interval, group_of
from studies.findings.published import published_for
from studies.records import ClassRow, StoredMetrics
from studies.study_data import FRESH_SEED, StudyData
from studies.wording import listed, number, role_label
from trainers.config import Scalar

_DRAWN = 5  # published results in the figure; the table has all
_TOLD = ("stage1.lr", "stage1.weight_decay", "stage1.epochs", "stage1.seed", "stage2.method", "stage2.tau", "stage2.lr",
         "stage2.weight_decay", "stage2.maxnorm_radius")  # fmt: skip


class GroupBar(NamedTuple):
    """One method: an accuracy per group, as GROUPS_WITH_ALL orders them, with 95 % limits or a deviation over seeds."""

    label: str
    role: str
    accuracy: tuple[float | None, ...]
    limits: tuple[Interval | None, ...] = (None,) * 4
    deviation: tuple[float | None, ...] = (None,) * 4
    settings: str = ""  # those that affected it, in words
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
            row.method, row.role, (row.many, row.medium, row.few, row.all),
            backbone=row.backbone, selection=row.selection, source=row.source,
        )
        for row in published_for(data.configuration)
    )  # fmt: skip
    classes = (sizes["many"], sizes["medium"], sizes["few"], sum(sizes.values()))
    return GroupsInfo(split, data.thresholds, classes, bars, published)


def _read_bars(data: StudyData) -> tuple[GroupBar, ...]:
    """Best, its fresh seeds, then baselines in the order of the space."""
    best, fresh = data.reading("best"), over_fresh_seeds(data)
    bars = []
    if best is not None:
        label = f"best: trial {best.number}"
        bars.append(_group_bar(label, "best", "test", best.metrics, best.classes, best.config, data))
        bars += [_fresh_bar(fresh)] if fresh else []
    for row in data.all_baselines:
        bars.append(_group_bar(role_label(row.role), row.role, "test", row.metrics, row.classes, row.config, data))
    return tuple(bars)


def _validation_bars(data: StudyData) -> tuple[GroupBar, ...]:
    bars = []
    for row, role in ((data.best, "best"), (data.naive, "naive")):
        if row is not None:
            label = f"best: trial {row.number}" if role == "best" else role
            classes = [c for c in data.classes.get(row.number, ()) if c.split == "val"]
            bars.append(_group_bar(label, role, "val", row.metrics, classes, row.config, data))
    return tuple(bars)


def _group_bar(
    label: str,
    role: str,
    split: str,
    metrics: StoredMetrics,
    classes: Iterable[ClassRow],
    config: Mapping[str, Scalar],
    data: StudyData,
) -> GroupBar:
    known = group_intervals(metrics, split, classes, data.thresholds)
    found = [known.get(group) for group in GROUPS_WITH_ALL]
    return GroupBar(
        label, role, tuple(one.value if one else None for one in found),
        tuple(one if one and one.low < one.high else None for one in found),
        settings=_words(config, data),
        selection="nothing: untuned" if role == "naive" else "validation",
    )  # fmt: skip


def _fresh_bar(fresh: Fresh) -> GroupBar:
    spreads = [fresh.of(f"test.{'balanced_accuracy' if group == 'all' else group}") for group in GROUPS_WITH_ALL]
    seeds = listed([str(seed) for seed in fresh.seeds])
    return GroupBar(
        "fresh seeds of best", FRESH_SEED,
        tuple(one.mean if one else None for one in spreads),
        deviation=tuple(one.deviation if one else None for one in spreads),
        settings=f"mean and standard deviation over seeds {seeds}, else as best",
    )  # fmt: skip


def _words(config: Mapping[str, Scalar], data: StudyData) -> str:
    shown = [name for name in applicable(config) if name in _TOLD or name in data.space.searched]
    return ", ".join(f"{name} {number(config[name])}" for name in shown)


def draw_groups(info: GroupsInfo) -> go.Figure:
    shown = [index for index in range(4) if any(bar.accuracy[index] is not None for bar in info.bars)]
    names = [f"{GROUPS_WITH_ALL[i]}<br>({info.classes[i]})" for i in shown]
    height = 440 + 24 * len(info.published[:_DRAWN])  # their names need room on a narrow screen
    figure = style.figure(height=height, barmode="group", bargap=0.18, bargroupgap=0.04)
    for bar in info.bars:
        figure.add_bar(
            name=style.plotly_text(bar.label),
            x=names,
            y=style.rounded([bar.accuracy[i] for i in shown]),
            error_y=error_bars(bar, shown),
            marker=style.fill(bar.role),
            customdata=[_whisker(bar, i) for i in shown],
            hovertemplate=(
                f"<b>{style.plotly_text(bar.label)}</b><br>%{{x}}: %{{y:.1%}}%{{customdata}}"
                f"{style.folded(bar.settings)}<extra></extra>"
            ),
        )
    for bar in info.published[:_DRAWN]:
        colour = style.look_of(bar.role).colour
        figure.add_bar(
            name=f"published: {style.plotly_text(bar.label)}",
            x=names,
            y=[bar.accuracy[i] for i in shown],
            marker={"color": "white", "line": {"color": colour, "width": 1}, "pattern": _hatch(colour)},
            hovertemplate=(
                f"published: {style.plotly_text(bar.label)}<br>%{{x}}: %{{y:.1%}}<br>{style.plotly_text(bar.backbone)}"
                f"<br>selection: {style.plotly_text(bar.selection)}<br>{style.plotly_text(bar.source)}<extra></extra>"
            ),
        )
    figure.update_xaxes(tickangle=0, title="group (classes in it)")
    figure.update_yaxes(title=f"balanced {info.split} accuracy", tickformat=".0%", rangemode="tozero")
    return figure


def error_bars(bar: GroupBar, shown: list[int]) -> dict[str, object] | None:
    """Whiskers: thin for the images' intervals, thick for deviations over seeds."""
    if any(bar.deviation):
        lengths = style.rounded([bar.deviation[i] or 0.0 for i in shown])
        return {"type": "data", "array": lengths, "color": style.BLACK, "thickness": 3, "width": 0}
    limits = [bar.limits[i] for i in shown]
    if not any(limits):
        return None
    return {
        "type": "data",
        "symmetric": False,
        "array": style.rounded([limit.high - limit.value if limit else 0 for limit in limits]),
        "arrayminus": style.rounded([limit.value - limit.low if limit else 0 for limit in limits]),
        "color": "#666",
        "thickness": 1.2,
        "width": 3,
    }


def _whisker(bar: GroupBar, index: int) -> str:
    limit, deviation = bar.limits[index], bar.deviation[index]
    if deviation is not None:
        return f" ± {100 * deviation:.1f} over seeds"
    return f" ({100 * limit.low:.1f} to {100 * limit.high:.1f})" if limit else ""


def _hatch(colour: str) -> dict[str, object]:
    return {"shape": "/", "fgcolor": colour, "bgcolor": "white", "size": 6, "solidity": 0.3}


def groups_table(info: GroupsInfo) -> Table:
    words = ("95 % low", "95 % high", "deviation over seeds")
    ends = [f"{group}: {word}" for group in GROUPS_WITH_ALL for word in words]
    columns = ("method", *GROUPS_WITH_ALL, *ends, "settings", "backbone", "selected on", "source")
    rows = []
    for origin, bar in (*(("", bar) for bar in info.bars), *(("published: ", bar) for bar in info.published)):
        spread: list[Scalar] = []
        for limit, deviation in zip(bar.limits, bar.deviation, strict=True):
            spread += [limit.low if limit else None, limit.high if limit else None, deviation]
        rows.append((origin + bar.label, *bar.accuracy, *spread, bar.settings, bar.backbone, bar.selection, bar.source))
    filled = [i for i, column in enumerate(columns) if column not in ends or any(row[i] is not None for row in rows)]
    return Table(tuple(columns[i] for i in filled), tuple(tuple(row[i] for i in filled) for row in rows))


def groups_caption(info: GroupsInfo) -> str:
    many, few = info.thresholds
    caption = (
        f"Balanced {info.split} accuracy: the mean of the recalls of the classes in a group. Many: more than {many} "
        f"training images; few: fewer than {few}; medium: between. Thin whiskers are 95 % intervals from the images "
        "of each class, of that one run."
    )
    if any(bar.role == FRESH_SEED for bar in info.bars):
        caption += (
            " The dotted bar is the mean of the same configuration over fresh seeds; its thick whisker is one standard "
            "deviation to each side: the spread to expect of another run."
        )
    naive = next((bar for bar in info.bars if bar.role == "naive"), None)
    if naive is not None:
        caption += f" Naive is one untuned training: {naive.settings}."
    empty = [name for name, size in zip(GROUPS_WITH_ALL, info.classes, strict=True) if size == 0]
    if empty:
        caption += f" No class of this data is {' or '.join(empty)}: that group is none, not 0 %."
    if info.published:
        caption += (
            " Hatched white bars are published figures: other networks, other training, often selected on test data. "
            "They are for orientation, not directly comparable; the table names network, selection rule and source"
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
