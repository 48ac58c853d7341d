"""The survey as one HTML page: bars or a curve, some images of each class, facts and doubts. It fetches nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from studies.report.page import escape_html
from studies.report.redaction import without_folders
from studies.wording import count
from tuner.survey.chart import facts, shown_classes
from tuner.survey.doubts import doubts
from tuner.survey.survey import GROUPS, ClassSeen, Survey
from tuner.survey.thumbnails import thumbnails

if TYPE_CHECKING:
    from trainers.data.pixel_scale import PixelScale
    from trainers.data.pool import Source

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # no script, and no request
_PICTURED = 40  # classes
_PIXELS_SEEN = 16  # images up to this size are shown by pixels, not smoothed
_CURVE = 25  # classes above which the curve is drawn
_TABLE = 2_000  # classes in the table of all
_WIDE, _HIGH = 1000, 240  # of the curve, in its own units


def page(found: Survey, source: Source, scale: PixelScale) -> str:
    """The whole page. It names the last part of the data's path, and no folder of the machine."""
    where = (str(found.path),)

    def clean(words: str) -> str:
        return without_folders(words, where)

    rows = shown_classes(found.classes, most=_PICTURED)
    pictured = thumbnails(source, [row[1].index for row in rows if not isinstance(row, int)], scale)
    title = found.path.absolute().name or "data"
    parts = [
        f"<h1>{escape_html(title)}</h1>",
        f'<p class="lead">{count(found.images.total, "image")} of {len(found.classes):,} classes</p>',
        _cards(found),
        _boxed("refused", "A launch would refuse this data", [clean(found.refusal)] if found.refusal else []),
        _boxed("doubts", "Cannot be known, or looks wrong", map(clean, doubts(found))),
        _boxed("notes", "What a launch will note", map(clean, found.notes)),
        _curve(found) if len(found.classes) > _CURVE and not found.balanced else "",
        _classes(found, rows, pictured, tiny=max(map(max, found.images.sizes), default=0) <= _PIXELS_SEEN),
        _table(found) if len(rows) < len(found.classes) else "",
        _facts(found, clean),
    ]
    style = (files("tuner.survey") / "assets" / "survey.css").read_text("utf-8")
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape_html(title)}: data</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<meta name="color-scheme" content="light dark">',
            f"<style>{style}</style></head><body>",
            *filter(None, parts),
            "</body></html>\n",
        ]
    )


def _cards(found: Survey) -> str:
    smallest, largest = (pick(one.given for one in found.classes) for pick in (min, max))
    cards = [
        (
            f"{found.imbalance:,.0f} : 1",
            f"largest to smallest class ({largest:,} and {smallest:,} images for training)",
        ),
        *(
            (f"{found.groups[group]:,}", f'<i class="{group}"></i>{group}: {words}')
            for group, words in zip(GROUPS, _bounds(found), strict=True)
        ),
    ]
    drawn = "".join(f"<div><b>{value}</b><span>{words}</span></div>" for value, words in cards)
    return f'<div class="cards">{drawn}</div>'


def _bounds(found: Survey) -> tuple[str, str, str]:
    """What each group is, in words; plain numbers, so nothing to escape."""
    between = f"{found.few:,} to {found.many:,}" if found.few < found.many else f"{found.many:,}"
    return f"classes with more than {found.many:,} training images", between, f"below {found.few:,}"


def _boxed(kind: str, title: str, lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape_html(line)}</li>" for line in lines)
    return f'<div class="box {kind}"><strong>{title}</strong><ul>{items}</ul></div>' if items else ""


def _curve(found: Survey) -> str:
    """Classes from the largest to the smallest, one step each, on a logarithmic scale."""
    classes = found.classes
    largest, smallest = classes[0].train, max(1, classes[-1].train)
    floor = math.log10(smallest) - 0.08 * max(0.5, math.log10(largest / smallest))
    span = math.log10(largest) - floor or 1.0

    def height(images: int) -> float:
        return _HIGH * (1 - (math.log10(max(1, images)) - floor) / span)

    lines = "".join(
        f'<line x1="0" x2="{_WIDE}" y1="{height(n):.1f}" y2="{height(n):.1f}"/>' for n in _ticks(smallest, largest)
    )
    labels = "".join(
        f'<span style="top:{100 * height(n) / _HIGH:.1f}%">{n:,}</span>' for n in _ticks(smallest, largest)
    )
    areas = "".join(_area(found, group, height) for group in GROUPS if found.groups[group])
    described = f"Training images of {len(classes):,} classes, from {largest:,} down to {smallest:,}."
    return (
        f'<section><h2>The tail</h2><figure><div class="plot"><div class="ticks">{labels}</div>'
        f'<svg viewBox="0 0 {_WIDE} {_HIGH}" preserveAspectRatio="none" role="img" aria-label="{described}">'
        f"{lines}{areas}</svg></div>{_legend(found)}"
        f"<figcaption>Training images of each class, the largest first, on a logarithmic scale.</figcaption></figure>"
        "</section>"
    )


def _area(found: Survey, group: str, height: Callable[[int], float]) -> str:
    width = _WIDE / len(found.classes)
    steps = [(k, one.train) for k, one in enumerate(found.classes) if one.group == group]
    path = f"M{steps[0][0] * width:.2f} {_HIGH}"
    path += "".join(f"V{height(n):.1f}H{(k + 1) * width:.2f}" for k, n in steps)
    return f'<path class="{group}" d="{path}V{_HIGH}Z"/>'


def _ticks(low: int, high: int) -> list[int]:
    """Powers of ten within the classes' sizes, and both ends unless a power is near."""
    powers = [10**power for power in range(7) if low <= 10**power <= high]
    ends = [end for end in (low, high) if all(abs(math.log10(end / power)) > 0.15 for power in powers)]
    return sorted({*powers, *ends})


def _legend(found: Survey) -> str:
    items = (f'<span><i class="{group}"></i>{group} {found.groups[group]:,}</span>' for group in GROUPS)
    return f'<div class="legend">{"".join(items)}</div>'


def _classes(
    found: Survey,
    rows: Sequence[tuple[int, ClassSeen] | int],
    pictures: Mapping[int, tuple[str | None, ...]],
    *,
    tiny: bool,
) -> str:
    largest = max(1, *(one.train for one in found.classes))
    return (
        f'<section><h2>Classes</h2><div class="classes{" tiny" if tiny else ""}">'
        + "".join(_class_row(row, largest, pictures) for row in rows)
        + "</div></section>"
    )


def _class_row(row: tuple[int, ClassSeen] | int, largest: int, pictures: Mapping[int, tuple[str | None, ...]]) -> str:
    if isinstance(row, int):
        return f'<div class="more">… {row:,} more classes …</div>'
    one = row[1]
    images = "".join(map(_image, pictures[one.index]))
    share = max(0.15, 100 * one.train / largest)
    return (
        f'<div class="class"><div class="name">{escape_html(one.name)}</div>'
        f'<div class="bar"><div class="{one.group}" style="width:{share:.2f}%"></div></div>'
        f'<div class="numbers"><b>{one.train:,}</b> <span class="tag {one.group}">{one.group}</span> '
        f"<span>+ {one.val:,} validation, {one.test:,} test</span></div>"
        f'<div class="images">{images}</div></div>'
    )


def _image(uri: str | None) -> str:
    if uri is None:
        return '<span class="broken" title="cannot be decoded">?</span>'
    return f'<img alt="" loading="lazy" src="{uri}">'


def _table(found: Survey) -> str:
    head = "".join(f"<th>{word}</th>" for word in ("class", "group", "training", "validation", "test"))
    body = "".join(_table_row(one) for one in found.classes[:_TABLE])
    most = f"the first {_TABLE:,} of " if len(found.classes) > _TABLE else "all "
    return (
        f"<details><summary>The numbers of {most}{len(found.classes):,} classes</summary>"
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div></details>'
    )


def _table_row(one: ClassSeen) -> str:
    numbers = "".join(f'<td class="n">{n:,}</td>' for n in (one.train, one.val, one.test))
    return f"<tr><td>{escape_html(one.name)}</td><td>{one.group}</td>{numbers}</tr>"


def _facts(found: Survey, clean: Callable[[str], str]) -> str:
    rows = "".join(f"<dt>{word}</dt><dd>{escape_html(clean(value))}</dd>" for word, value in facts(found))
    return f"<section><h2>What it is</h2><dl>{rows}</dl></section>"
