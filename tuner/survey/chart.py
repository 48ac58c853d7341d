"""The survey in a terminal: facts, a bar per class or the curve of the tail, and what cannot be known."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text

from studies.wording import count
from tuner.survey.doubts import doubts
from tuner.survey.survey import GROUPS, ClassSeen, SplitName, Survey
from tuner.terminal.output import styled, terminal_safe

WIDEST = 110  # columns, however wide the terminal is
COLOURS: Mapping[str, str] = {"many": "cyan", "medium": "yellow", "few": "magenta"}
LISTED = 40  # classes; of more: the first, some in the middle, the last
_HEAD, _MIDDLE, _TAIL = 10, 5, 10
_NAME = 24  # columns of a class name
_SPLITS: Mapping[SplitName, str] = {"train": "training", "val": "validation", "test": "test"}
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_HEIGHTS = " ▁▂▃▄▅▆▇█"
_ROWS = 6  # of the curve


def terminal_survey(found: Survey) -> RenderableType:
    """All of it, from top to bottom."""
    parts: list[RenderableType] = [_title(found), styled(""), _facts(found), styled("")]
    if len(found.classes) > LISTED and not found.balanced:
        parts += [Curve(found), styled("")]
    parts += [Bars(found), styled("")]
    parts += _points("cannot be known, or looks wrong", doubts(found), "yellow")
    parts += _points("what a launch will note", found.notes, "")
    return Group(*parts)


def _title(found: Survey) -> Text:
    line = styled("")
    line.no_wrap, line.overflow = True, "ellipsis"
    line.append_text(styled(found.path.absolute().name or found.path, "bold"))
    line.append_text(styled(f"  {count(found.images.total, 'image')} of {len(found.classes):,} classes"))
    return line


def _facts(found: Survey) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts(found):
        table.add_row(name, styled(value))
    return table


def facts(found: Survey) -> Iterator[tuple[str, str]]:
    """The facts, each as a word and a line; the same on the page."""
    yield "form", f"{found.dataset}: {found.form}"
    yield "files", f"{_shares(found.images.formats)}; {pixels(found)}"
    yield "sizes", sizes(found)
    for split, word in _SPLITS.items():
        origin = found.splits[split]
        cut = found.refusal is not None and origin != "as given"
        number = "" if cut else f"{count(found.images_of(split), 'image')}, "
        yield word, f"{number}{'what is left' if _left(found, split) else origin}"
    yield "imbalance", imbalance(found)
    yield "groups", groups(found)


def _left(found: Survey, split: str) -> bool:
    return found.splits[split] == "as given" and split == "train" and set(found.splits.values()) != {"as given"}


def imbalance(found: Survey) -> str:
    """The factor, and the classes at its ends."""
    given = sorted(found.classes, key=lambda one: -one.given)
    ends = f"{given[0].name} has {given[0].given:,} images for training, {given[-1].name} {given[-1].given:,}"
    return f"{found.imbalance:,.0f} : 1 ({ends})" if found.imbalance > 1 else f"none: each class has {given[0].given:,}"


def groups(found: Survey) -> str:
    """Classes by group, with the bounds."""
    sizes = found.groups
    if found.balanced:
        return f"one, for all classes have {found.classes[0].train:,} training images"
    return (
        f"many {sizes['many']:,} (above {found.many:,} training images), medium {sizes['medium']:,}, "
        f"few {sizes['few']:,} (below {found.few:,})"
    )


def sizes(found: Survey) -> str:
    """The sizes of images: all of one, or the range with the commonest."""
    images = found.images
    if not images.sizes:
        return "unknown"
    (width, height), most = next(iter(images.sizes.items()))
    if len(images.sizes) == 1:
        return f"all {width}x{height}"
    sides = images.shorter_sides
    return (
        f"{len(images.sizes):,} sizes, shorter side {sides[0]:,} to {sides[-1]:,}, median {sides[len(sides) // 2]:,}; "
        f"the commonest is {width}x{height} ({count(most, 'image')})"
    )


_MODES = {"L": "grey", "1": "black and white", "P": "palette", "I": "grey", "I;16": "grey", "I;16B": "grey",
          "F": "floating-point grey", "LA": "grey with alpha"}  # fmt: skip


def pixels(found: Survey) -> str:
    """Modes and depths."""
    modes: dict[str, int] = {}
    for mode, images in found.images.modes.items():
        modes[_MODES.get(mode, mode)] = modes.get(_MODES.get(mode, mode), 0) + images
    bits = {f"{bits} bits": images for bits, images in found.images.bits.items()}
    return f"{_shares(modes)}; {_shares(bits)} per channel"


def _shares(counted: Mapping[str, int]) -> str:
    """`JPEG 3,000, PNG 12`, or `JPEG` alone."""
    if len(counted) == 1:
        return next(iter(counted))
    return ", ".join(f"{name} {images:,}" for name, images in counted.items()) or "none readable"


def _points(title: str, lines: Sequence[str], style: str) -> list[RenderableType]:
    if not lines:
        return []
    table = Table.grid(padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(styled("!" if style else "·", style), styled(line))
    return [styled(title, "dim"), table, styled("")]


def shown_classes(classes: Sequence[ClassSeen], *, most: int = LISTED) -> list[tuple[int, ClassSeen] | int]:
    """Ranks and classes; of more than `most` the head, some of the middle and the tail, with the numbers left out."""
    ranked = list(enumerate(classes, start=1))
    if len(ranked) <= most:
        return list(ranked)
    if classes[0].train == classes[-1].train:
        return [*ranked[:_HEAD], len(ranked) - _HEAD]
    middle = (len(ranked) - _MIDDLE) // 2
    tail = len(ranked) - _TAIL
    return [
        *ranked[:_HEAD], middle - _HEAD, *ranked[middle : middle + _MIDDLE], tail - middle - _MIDDLE, *ranked[tail:],
    ]  # fmt: skip


@dataclass(frozen=True)
class Bars:
    """A row per class: name, bar and number of its training images, images of validation and test, group."""

    found: Survey

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = shown_classes(self.found.classes)
        classes = [row[1] for row in rows if not isinstance(row, int)]
        name = min(_NAME, max(len("class"), *(len(terminal_safe(one.name)) for one in classes)))
        columns = {split: self._width(split, classes) for split in ("train", "val", "test")}
        room = min(options.max_width, WIDEST) - name - sum(columns.values()) - len("medium") - 5 * 2
        largest = max(1, *(one.train for one in self.found.classes))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        table.add_column("class", no_wrap=True, width=name, overflow="ellipsis")
        table.add_column("train", justify="right", no_wrap=True)
        table.add_column("", width=max(4, room), no_wrap=True)
        for split in ("val", "test"):
            table.add_column(split, justify="right", no_wrap=True, style="dim")
        table.add_column("", no_wrap=True)
        for row in rows:
            if isinstance(row, int):
                table.add_row(styled(f"… {row:,} more", "dim"))
                continue
            one, colour = row[1], COLOURS[row[1].group]
            drawn = styled(bar(one.train / largest, max(4, room)), colour)
            table.add_row(
                styled(one.name), f"{one.train:,}", drawn, f"{one.val:,}", f"{one.test:,}", styled(one.group, colour)
            )
        yield table

    def _width(self, split: str, classes: Sequence[ClassSeen]) -> int:
        return max(len(split), *(len(f"{getattr(one, split):,}") for one in classes))


def bar(share: float, width: int) -> str:
    """A bar in eighths of a column; a sliver for anything above 0."""
    eighths = max(1, round(share * width * 8)) if share > 0 else 0
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


@dataclass(frozen=True)
class Curve:
    """The long tail in a few rows: classes from the largest to the smallest, training images upwards, logarithmic."""

    found: Survey

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        classes = self.found.classes
        largest, smallest = classes[0].train, classes[-1].train
        labels = [f"{largest:,}", f"{smallest:,}"]
        margin = max(map(len, labels)) + 1
        width = min(options.max_width, WIDEST) - margin - 1
        columns = [_column(classes, place, width) for place in range(width)]
        heights = [_height(one.train, smallest, largest) for one in columns]
        for row in reversed(range(_ROWS)):
            label = labels[0] if row == _ROWS - 1 else labels[1] if row == 0 else ""
            yield Segment(f"{label:>{margin - 1}} ", Style(dim=True))
            for one, height in zip(columns, heights, strict=True):
                block = _HEIGHTS[min(8, max(0, height - 8 * row))]
                yield Segment(block, Style.parse(COLOURS[one.group]))
            yield Segment.line()
        yield from _below(self.found, margin, width, console)


def _column(classes: Sequence[ClassSeen], place: int, width: int) -> ClassSeen:
    return classes[min(len(classes) - 1, place * len(classes) // width)]


def _height(images: int, smallest: int, largest: int) -> int:
    """Eighths of a row, at least one."""
    if largest == smallest:
        return _ROWS * 8
    low, high = math.log(max(1, smallest)), math.log(max(1, largest))
    share = (math.log(max(1, images)) - low) / (high - low)
    return max(1, round(share * _ROWS * 8))


def _below(found: Survey, margin: int, width: int, console: Console) -> Iterator[Segment]:
    """The axis: the groups as words under their part of the curve."""
    drawn = styled(" " * margin)
    sizes, total, at = found.groups, len(found.classes), 0
    for group in GROUPS:
        end = round((at + sizes[group]) / total * width)
        room = end - round(at / total * width)
        words = f"{group} {sizes[group]:,}"
        drawn.append(f"{words if len(words) <= room else '':<{room}}", COLOURS[group])
        at += sizes[group]
    yield from drawn.render(console, end="\n")
    words = f"{total:,} classes, the largest first; training images, logarithmic"
    yield Segment(f"{'':>{margin}}{words}\n", Style(dim=True))
