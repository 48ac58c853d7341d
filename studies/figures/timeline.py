"""Timeline of jobs: one bar per job, one lane per job that runs at the same time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import plotly.graph_objects as go

from studies.confirmed import CONFIRM
from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.records import TrialRow
from studies.study_data import FRESH_SEED, RUNG, SEARCH_ROLES, StudyData, seed_of

_FILLS = {  # of a job's training, by its kind
    "search": style.patterned(style.BLUE, ""),
    "baseline": style.patterned(style.BLACK, ""),
    "short schedule": style.patterned(style.SKY, "-"),
    "other seeds": style.patterned(style.GREEN, "."),
    "some failed": style.patterned(style.ORANGE, "/"),
    "failed": style.patterned(style.VERMILION, "x"),
}


class JobBar(NamedTuple):
    """One job; times in hours since the first began."""

    job: int
    lane: int
    kind: str  # a key of _FILLS
    backbone: int
    round: int
    trials: int
    began: float
    hours: float
    trained: float  # of `hours`: training of its backbone and heads; all of them when it failed


class ReadMark(NamedTuple):
    """One reading of test data, at its end."""

    label: str
    at: float


class TimelineInfo(NamedTuple):
    jobs: tuple[JobBar, ...]
    readings: tuple[ReadMark, ...]


def timeline_info(data: StudyData) -> TimelineInfo | Absent:
    groups: dict[int, list[TrialRow]] = defaultdict(list)
    for row in data.trials:
        if row.started is not None and row.finished is not None:
            groups[row.job].append(row)
    spans = {job: _span(rows) for job, rows in groups.items()}
    if not spans:
        return Absent("No job has finished yet.")
    origin = min(began for began, _ in spans.values())
    trained = _trained_hours(data, groups)
    free: list[datetime] = []  # per lane, when it is free again
    bars = []
    for job in sorted(spans, key=lambda job: (spans[job][0], job)):
        began, ended = spans[job]
        lane = next((i for i, at in enumerate(free) if at <= began), len(free))
        free[lane : lane + 1] = [ended]
        rows, length = groups[job], (ended - began).total_seconds() / 3600
        place = (job, lane, _kind(rows), rows[0].backbone_index, rows[0].round, len(rows))
        worked = length if place[2] == "failed" else min(length, trained[job])  # not recorded for failed jobs
        bars.append(JobBar(*place, _hours(origin, began), length, worked))
    return TimelineInfo(tuple(bars), _read_marks(data, origin))


def _span(rows: list[TrialRow]) -> tuple[datetime, datetime]:
    began = min(row.started for row in rows if row.started is not None)
    return began, max(began, *(row.finished for row in rows if row.finished is not None))  # the clock may be set back


def _hours(origin: datetime, moment: datetime) -> float:
    return max(0.0, (moment - origin).total_seconds() / 3600)


def _trained_hours(data: StudyData, groups: dict[int, list[TrialRow]]) -> dict[int, float]:
    """Per job: the time of its heads, and of its backbone if this job trained it."""
    hours, charged = {}, set[str]()
    for job in sorted(groups):
        seconds = sum(row.seconds or 0.0 for row in groups[job])
        fingerprint = next((row.backbone for row in groups[job] if row.backbone), None)
        backbone = data.backbone_by_fingerprint.get(fingerprint or "")
        if backbone is not None and not backbone.cached and backbone.fingerprint not in charged:
            charged.add(backbone.fingerprint)
            seconds += backbone.seconds
        hours[job] = seconds / 3600
    return hours


def _kind(rows: list[TrialRow]) -> str:
    failed = sum(row.state == "FAIL" for row in rows)
    if failed:
        return "failed" if failed == len(rows) else "some failed"
    if rows[0].role == CONFIRM:
        return "other seeds"
    if rows[0].role == RUNG:
        return "short schedule"
    return "search" if rows[0].role in SEARCH_ROLES else "baseline"


def _read_marks(data: StudyData, origin: datetime) -> tuple[ReadMark, ...]:
    """Readings of test data; those at the same moment share one mark."""
    found: dict[datetime, list[str]] = defaultdict(list)
    for row in (*data.readings, *data.fresh):
        if row.read_at is not None:
            name = f"fresh seed {seed_of(row)}" if row.role == FRESH_SEED else f"test of {row.role}"
            found[row.read_at.replace(microsecond=0)].append(name)
    return tuple(ReadMark(", ".join(names), _hours(origin, at)) for at, names in sorted(found.items()))


def draw_timeline(info: TimelineInfo) -> go.Figure:
    lanes = 1 + max(bar.lane for bar in info.jobs)
    figure = style.figure(height=160 + 34 * lanes, barmode="overlay")
    end = max([bar.began + bar.hours for bar in info.jobs] + [mark.at for mark in info.readings])
    unit, factor = ("hours", 1.0) if end >= 2 else ("minutes", 60.0) if end * 60 >= 2 else ("seconds", 3600.0)
    _add_bars(figure, "start-up, data, features", info.jobs, style.patterned("#CFCFCF", ""), factor, unit, whole=True)
    for kind, look in _FILLS.items():
        bars = [bar for bar in info.jobs if bar.kind == kind]
        if bars:
            _add_bars(figure, kind, bars, look, factor, unit)
    if info.readings:
        figure.add_scatter(
            name="test read", mode="markers", x=[round(mark.at * factor, 3) for mark in info.readings],
            y=[lanes + 1] * len(info.readings), text=[style.plotly_text(mark.label) for mark in info.readings],
            marker={"symbol": "line-ns", "size": 14, "line": {"width": 2, "color": style.PURPLE}},
            hovertemplate=f"%{{text}}<br>%{{x:.1f}} {unit}<extra></extra>",
        )  # fmt: skip
    ticks = [*range(1, lanes + 1), *([lanes + 1] if info.readings else [])]
    words = [*map(str, range(1, lanes + 1)), *(["test"] if info.readings else [])]
    figure.update_xaxes(title=f"{unit} since the first job")
    figure.update_yaxes(
        title="lane", tickvals=ticks, ticktext=words, range=[lanes + 0.5 + bool(info.readings), 0.4], showgrid=False
    )
    return figure


def _add_bars(
    figure: go.Figure,
    name: str,
    bars: Sequence[JobBar],
    look: dict[str, object],
    factor: float,
    unit: str,
    *,
    whole: bool = False,
) -> None:
    """Draws training at the end of a job's bar, over light grey for everything before it."""
    lengths = [bar.hours if whole else bar.trained for bar in bars]
    starts = [bar.began + bar.hours - length for bar, length in zip(bars, lengths, strict=True)]
    told = "%{x:.2f}" if not whole else "whole job %{x:.2f}"
    figure.add_bar(
        name=name,
        orientation="h",
        y=[bar.lane + 1 for bar in bars],
        base=[round(start * factor, 4) for start in starts],
        x=[round(length * factor, 4) for length in lengths],
        width=0.7,
        customdata=[[bar.job, bar.backbone, bar.round, bar.trials] for bar in bars],
        marker=look | {"line": {"color": "white", "width": 1}},
        hovertemplate=(
            "job %{customdata[0]}: backbone %{customdata[1]}, round %{customdata[2]}, %{customdata[3]} trials"
            f"<br>{told} {unit}<extra>{name}</extra>"
        ),
    )


def timeline_table(info: TimelineInfo) -> Table:
    columns = ("job", "lane", "kind", "backbone", "round", "trials", "began (hours)", "hours", "training (hours)")
    return Table(columns, tuple((bar.job, bar.lane + 1, *bar[2:]) for bar in info.jobs))


def timeline_caption(info: TimelineInfo) -> str:
    marks = (
        " Marks at the bottom are readings of test data, at their ends; a fresh seed that is no trial is trained first."
        if info.readings
        else ""
    )
    return (
        f"{len(info.jobs)} jobs; a job is one backbone, trained or taken from the cache, and the heads trained on it. "
        "Lanes are filled from the top, so their number is how many jobs ran at once. Grey is everything besides "
        "training: data, features, and a worker's start-up in its first job. The database does not record when each "
        f"began, so all of it is drawn before the training. Gaps are pauses.{marks}"
    )


TIMELINE = Figure(
    name="timeline",
    title="Timeline",
    info=timeline_info,
    draw=draw_timeline,
    table=timeline_table,
    caption=timeline_caption,
)
