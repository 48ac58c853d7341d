"""When which job ran: one bar a job, lanes for jobs that ran at the same time."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime
from typing import NamedTuple

import plotly.graph_objects as go

from studies.figures import style
from studies.figures.figure import Absent, Figure, Table
from studies.records import TrialRow
from studies.study_data import StudyData

_COLOURS = {"search": style.BLUE, "baseline": style.BLACK, "some failed": style.ORANGE, "failed": style.VERMILION}


class JobBar(NamedTuple):
    """One job; times in hours since the first began."""

    job: int
    lane: int
    kind: str  # a key of _COLOURS
    backbone: int
    round: int
    trials: int
    began: float
    hours: float


class TimelineInfo(NamedTuple):
    jobs: tuple[JobBar, ...]


def timeline_info(data: StudyData) -> TimelineInfo | Absent:
    groups: dict[int, list[TrialRow]] = defaultdict(list)
    for row in data.trials:
        if row.started is not None and row.finished is not None:
            groups[row.job].append(row)
    spans = {job: _span(rows) for job, rows in groups.items()}
    if not spans:
        return Absent("No job has finished yet.")
    origin = min(began for began, _ in spans.values())
    free: list[datetime] = []  # per lane, when it is free again
    bars = []
    for job in sorted(spans, key=lambda job: (spans[job][0], job)):
        began, ended = spans[job]
        lane = next((i for i, at in enumerate(free) if at <= began), len(free))
        free[lane : lane + 1] = [ended]
        rows = groups[job]
        start, length = (began - origin).total_seconds() / 3600, (ended - began).total_seconds() / 3600
        bars.append(JobBar(job, lane, _kind(rows), rows[0].backbone_index, rows[0].round, len(rows), start, length))
    return TimelineInfo(tuple(bars))


def _span(rows: list[TrialRow]) -> tuple[datetime, datetime]:
    began = min(row.started for row in rows if row.started is not None)
    return began, max(row.finished for row in rows if row.finished is not None)


def _kind(rows: list[TrialRow]) -> str:
    failed = sum(row.state == "FAIL" for row in rows)
    if failed:
        return "failed" if failed == len(rows) else "some failed"
    return "search" if rows[0].role in ("search", "refine") else "baseline"


def draw_timeline(info: TimelineInfo) -> go.Figure:
    lanes = 1 + max(bar.lane for bar in info.jobs)
    figure = style.figure(height=150 + 34 * lanes, barmode="overlay")
    end = max(bar.began + bar.hours for bar in info.jobs)
    unit, factor = ("hours", 1.0) if end >= 2 else ("minutes", 60.0) if end * 60 >= 2 else ("seconds", 3600.0)
    for kind, colour in _COLOURS.items():
        bars = [bar for bar in info.jobs if bar.kind == kind]
        if bars:
            figure.add_bar(
                name=kind,
                orientation="h",
                y=[bar.lane + 1 for bar in bars],
                base=[round(bar.began * factor, 4) for bar in bars],
                x=[round(bar.hours * factor, 4) for bar in bars],
                width=0.7,
                customdata=[[bar.job, bar.backbone, bar.round, bar.trials] for bar in bars],
                marker={"color": colour, "line": {"color": "white", "width": 1}},
                hovertemplate=(
                    "job %{customdata[0]}: backbone %{customdata[1]}, round %{customdata[2]}, %{customdata[3]} trials"
                    f"<br>%{{x:.2f}} {unit}<extra>{kind}</extra>"
                ),
            )
    figure.update_xaxes(title=f"{unit} since the first job")
    figure.update_yaxes(title="lane", dtick=1, range=[lanes + 0.5, 0.5], showgrid=False)
    return figure


def timeline_table(info: TimelineInfo) -> Table:
    columns = ("job", "lane", "kind", "backbone", "round", "trials", "began (hours)", "hours")
    return Table(columns, tuple((bar.job, bar.lane + 1, *bar[2:]) for bar in info.jobs))


def timeline_caption(info: TimelineInfo) -> str:
    return (
        f"{len(info.jobs)} jobs; a job is one backbone, trained or taken from the cache, and the heads trained on it. "
        "Lanes are filled from the top, so their number is how many jobs ran at once. Gaps are pauses."
    )


TIMELINE = Figure(
    name="timeline",
    title="Timeline",
    info=timeline_info,
    draw=draw_timeline,
    table=timeline_table,
    caption=timeline_caption,
)
