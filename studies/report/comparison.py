"""Compares studies: one offline page with their headlines and two figures of all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from studies.figures.compared import (
    compared_balance_info,
    compared_balance_table,
    compared_groups_info,
    compared_groups_table,
    draw_compared_balance,
    draw_compared_groups,
)
from studies.figures.figure import Absent, Table
from studies.findings.headline import Headline, headline
from studies.findings.intervals import Interval, independent_difference
from studies.report.page import Panel, boxed, document, escape_html, panel_html, table_html
from studies.report.redaction import redacted_study
from studies.report.write import fragment, table_object, tables_folder, write_json, write_tables, write_text
from studies.study_data import StudyData
from studies.wording import duration, gain_limits, per_cent, points
from trainers.config import Scalar

_SETTINGS_ALWAYS = ("stage1.weight_decay", "stage2.weight_decay", "stage2.maxnorm_radius")


def write_comparison(studies: Sequence[StudyData], path: Path) -> list[Path]:
    """Writes `path` (HTML), its numbers as JSON, and a folder of CSVs. The same data gives the same files."""
    studies = [redacted_study(data) for data in studies]
    lines = [headline(data) for data in studies]
    found = {
        "headlines": headlines_table(lines),
        "differences": differences_table(lines),
        "settings": settings_table(studies),
    }
    panels = [_groups(studies), _balance(studies)]
    names = ", ".join(line.study for line in lines)
    cautions = comparison_cautions(studies)
    parts = [f"<header><h1>{escape_html(' and '.join(line.study for line in lines))}</h1>"]
    parts += [f'<p class="lead">{escape_html(sentence)}</p>' for sentence in _sentences(lines)]
    parts.append("<p>Studies side by side, each with the trial that it chose on validation.</p>")
    parts.append(boxed("cautions", "Read with care", cautions))
    parts.append(f"</header>{table_html(_readable(found['headlines']), 'Studies side by side', kind='whole')}")
    parts += [panel_html(panel, number, tables_folder(path).name) for number, panel in enumerate(panels, start=1)]
    parts.append('<section><h2 id="settings">Settings in which the chosen configurations differ</h2>')
    parts.append(f"{table_html(found['settings'], 'Settings that differ')}</section>")
    parts.append('<footer class="soft"><p>Accuracies in the tables behind figures are fractions.</p></footer>')
    write_text(path, document(f"{names}: tuner comparison", parts))
    tables = {**found, **{panel.name: panel.table for panel in panels if panel.table}}
    content = {"cautions": list(cautions), "tables": {name: table_object(table) for name, table in tables.items()}}
    return [path, write_json(path, content), *write_tables(tables_folder(path), tables)]


def _sentences(lines: Sequence[Headline]) -> Iterator[str]:
    """The difference of every other study to the first, with its interval."""
    first, *others = lines
    for other in others:
        gain = _test_difference(other, first)
        if gain is not None:
            side = "above" if gain.value >= 0 else "below"
            yield (
                f"{other.study} reads {points(abs(gain.value)).removeprefix('+')} points {side} {first.study} on test "
                f"(95 % interval of the images {gain_limits(gain.low, gain.high)}"
                f"{': it includes zero' if gain.low <= 0 <= gain.high else ''})."
            )


def _test_difference(one: Headline, other: Headline) -> Interval | None:
    """The difference of balanced test accuracies, as if on different images; None without test or on other data."""
    if one.accuracy is None or other.accuracy is None or one.data_fingerprint != other.data_fingerprint:
        return None
    return independent_difference(one.accuracy, other.accuracy)


def comparison_cautions(studies: Sequence[StudyData]) -> tuple[str, ...]:
    """Why these studies may not be comparable, one sentence each."""
    found = []
    if len({data.study.data_fingerprint for data in studies}) > 1:
        found.append("The studies were made on different images or splits: their accuracies are of different tasks.")
    if len({data.study.objectives for data in studies}) > 1:
        searched = ", ".join(" with ".join(data.study.objectives) for data in studies)
        found.append(f"They maximised different things: {searched}.")
    if len({data.thresholds for data in studies}) > 1:
        found.append("Many, medium and few mean different sizes in these studies.")
    found += [
        f"Test data was not read for the chosen trial of {data.study.name}."
        for data in studies
        if not data.reading("best")
    ]
    found += [f"{data.study.name} is {data.study.state}, not done." for data in studies if data.study.state != "done"]
    return tuple(found)


def headlines_table(lines: Sequence[Headline]) -> Table:
    """One column per study."""
    rows: list[tuple[Scalar, ...]] = []

    def row(name: str, *values: Scalar) -> None:
        rows.append((name, *values))

    over = [line.fresh.of("test.balanced_accuracy") if line.fresh else None for line in lines]
    row("chosen trial", *(line.trial for line in lines))
    row("objective on validation", *(line.value for line in lines))
    means = [line.confirmed.objective if line.confirmed else None for line in lines]
    if any(means):
        row("mean over seeds on validation", *(one.mean if one else None for one in means))
        row("deviation over these seeds", *(one.deviation if one else None for one in means))
    row("balanced accuracy on test", *(line.accuracy.value if line.accuracy else None for line in lines))
    row("95 % low", *(line.accuracy.low if line.accuracy else None for line in lines))
    row("95 % high", *(line.accuracy.high if line.accuracy else None for line in lines))
    row("mean over fresh seeds on test", *(one.mean if one else None for one in over))
    row("deviation over fresh seeds", *(one.deviation if one else None for one in over))
    row("rarest group", *(line.rarest for line in lines))
    row("its accuracy on test", *(line.rarest_accuracy.value if line.rarest_accuracy else None for line in lines))
    row("naive on test", *(line.naive.accuracy.value if line.naive else None for line in lines))
    row("gain over naive", *(line.naive.gain.value if line.naive else None for line in lines))
    row("gain over naive: 95 % low", *(line.naive.gain.low if line.naive else None for line in lines))
    row("gain over naive: 95 % high", *(line.naive.gain.high if line.naive else None for line in lines))
    row("finished trials", *(line.complete for line in lines))
    row("failed trials", *(line.failed for line in lines))
    row("backbones", *(line.backbones for line in lines))
    row("hours of training", *(line.trained_hours for line in lines))
    row("data fingerprint", *((line.data_fingerprint or "unknown")[:12] for line in lines))
    return Table(("", *(line.study for line in lines)), tuple(rows))


_AS_POINTS = (
    "gain over naive",
    "gain over naive: 95 % low",
    "gain over naive: 95 % high",
)
_AS_DEVIATIONS = ("deviation over fresh seeds", "deviation over these seeds")
_AS_SHARES = (
    "objective on validation", "mean over seeds on validation", "balanced accuracy on test", "95 % low", "95 % high",
    "mean over fresh seeds on test", "its accuracy on test", "naive on test",
)  # fmt: skip


def _readable(table: Table) -> Table:
    """The same for readers: per cent, points, and durations in a suitable unit."""

    def shown(name: Scalar, value: Scalar) -> Scalar:
        if not isinstance(value, float):
            return value
        if name in _AS_SHARES:
            return per_cent(value)
        if name == "hours of training":
            return duration(3600 * value)
        if name in _AS_POINTS:
            return f"{points(value)} points"
        return f"{points(value).removeprefix('+')} points" if name in _AS_DEVIATIONS else value

    return Table(table.columns, tuple((name, *(shown(name, value) for value in row)) for name, *row in table.rows))


def differences_table(lines: Sequence[Headline]) -> Table:
    """The differences of every other study to the first, on test."""
    first, *others = lines
    found = [(other, _test_difference(other, first)) for other in others]
    rows = tuple(
        (other.study, first.study, *(gain if gain is not None else (None, None, None))) for other, gain in found
    )
    return Table(("study", "minus", "balanced accuracy on test", "95 % low", "95 % high"), rows)


def settings_table(studies: Sequence[StudyData]) -> Table:
    """Settings that differ between the chosen configurations, and the three that matter most."""
    configs = [data.best.config if data.best else {} for data in studies]
    names = dict.fromkeys(name for config in configs for name in config)
    rows = tuple(
        (name, *(config.get(name) for config in configs))
        for name in names
        if name in _SETTINGS_ALWAYS or len({config.get(name) for config in configs}) > 1
    )
    return Table(("setting", *(data.study.name for data in studies)), rows)


def _groups(studies: Sequence[StudyData]) -> Panel:
    info, name, title = compared_groups_info(studies), "compared_groups", "Many, medium, few and all"
    if isinstance(info, Absent):
        return Panel(name, title, None, info.reason, None)
    caption = (
        f"Balanced {info.split} accuracy of the chosen configurations and, in outline, the naive baselines. "
        "Thin whiskers are 95 % intervals from the images of each class; dotted bars are means over fresh seeds, with "
        "one standard deviation to each side."
    )
    return Panel(name, title, fragment(name, draw_compared_groups(info)), caption, compared_groups_table(info))


def _balance(studies: Sequence[StudyData]) -> Panel:
    info, name, title = compared_balance_info(studies), "compared_balance", "Accuracy against weight-norm balance"
    if isinstance(info, Absent):
        return Panel(name, title, None, info.reason, None)
    caption = "Each dot is a finished trial; rings joined by a dotted line are the Pareto front of a study."
    return Panel(name, title, fragment(name, draw_compared_balance(info)), caption, compared_balance_table(info))
