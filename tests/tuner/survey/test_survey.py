"""What a look at data says: groups that are not empty, doubts, bars that fit, a space that loads."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

import pytest

from search_spaces import SpaceError, loads
from studies.findings.intervals import group_of
from trainers.config import TaskConfig
from tuner.survey.chart import LISTED, bar, facts, shown_classes, terminal_survey
from tuner.survey.doubts import doubts
from tuner.survey.space_text import space_text, study_name
from tuner.survey.suggested import CUSTOMARY, Pace, Reasoned, group_settings, space_tree, thresholds
from tuner.survey.survey import ClassSeen, Copies, ImagesSeen, Survey, with_thresholds
from tuner.terminal.output import PlainConsole


def made(counts: Sequence[int], *, test: int = 20, **more: object) -> Survey:
    """A survey of classes of these sizes."""
    classes = tuple(
        ClassSeen(index=k, name=f"class {k}", given=n + n // 5, train=n, val=n // 5, test=test, group="medium")
        for k, n in enumerate(sorted(counts, reverse=True))
    )
    images = ImagesSeen(
        total=sum(counts), sizes={(32, 32): sum(counts)}, formats={"PNG": sum(counts)}, modes={"RGB": sum(counts)},
        bits={8: sum(counts)}, unreadable=(),
    )  # fmt: skip
    found = Survey(
        path=Path("birds"), form="3 folders with images", dataset="image-folder", classes=classes, images=images,
        copies=Copies(extra=0, across=0, contradictions=()),
        splits={"train": "as given", "val": "cut from training", "test": "as given"},
        many=100, few=20, image_size=32, notes=(), refusal=None,
    )  # fmt: skip
    return dataclasses.replace(with_thresholds(found, 100, 20), **more)  # type: ignore[arg-type]


def shown(found: Survey, *, width: int = 80) -> str:
    stream = io.StringIO()
    PlainConsole(file=stream, width=width).print(terminal_survey(found))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ((500, 50, 5), CUSTOMARY),
        ((4980, 2977, 1776, 1057, 625, 367, 212, 119, 63, 30), (1000, 200)),  # CIFAR-10-LT, as in the literature
        ((30, 12, 6), None),
        ((5, 3, 1), None),
        ((7, 7, 7), None),
        ((9, 4), None),
    ],
)
def test_no_group_is_empty_where_that_can_be(counts: tuple[int, ...], wanted: tuple[int, int] | None) -> None:
    found = thresholds(counts)
    if wanted is not None:
        assert found == wanted
    if len(set(counts)) >= 3:
        assert found is not None
        assert {group_of(n, found) for n in counts} == {"many", "medium", "few"}
    else:
        assert found is None


def test_doubts_name_classes_that_are_too_small() -> None:
    said = "\n".join(doubts(made((200, 50, 1), test=1)))
    assert "class 2 has 1 training image" in said
    assert "class 2 has no validation image" in said
    assert "even if its one image is recognised, the recall of class 0 may be anything from 21 to 100 %" in said
    assert "no class is in 'many'" in "\n".join(doubts(made((50, 30, 4))))
    assert "task.imbalance_factor=100 cuts one" in "\n".join(doubts(made((50, 50))))
    assert doubts(made((200, 50, 10))) == []


def test_doubts_of_many_classes_are_counted() -> None:
    said = doubts(made(range(1, 301), test=0))
    assert "300 of 300 classes (class 0, class 1, class 2, class 3, …) have no test image" in said[-1]


def test_copies_and_images_that_cannot_be_opened_are_told_before_all_else() -> None:
    copies = Copies(extra=4, across=2, contradictions=("a.png (ant) and b.png (bee)", "c.png (ant) and d.png (cow)"))
    found = made((200, 50, 10), copies=copies)
    found = dataclasses.replace(found, images=dataclasses.replace(found.images, unreadable=("x.png: cannot be",)))
    assert doubts(found) == [
        "1 image of 260 cannot be opened; the first: x.png: cannot be",
        "2 images are under two labels: a.png (ant) and b.png (bee), and 1 more",
        "4 images repeat another one byte by byte; 2 of them in two splits",
    ]


@pytest.mark.parametrize(("share", "drawn"), [(1, "████"), (0.5, "██"), (0.1, "▍"), (1e-6, "▏"), (0, "")])
def test_a_bar_is_exact_to_an_eighth_and_never_vanishes(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("classes", [3, LISTED, 150, 8142])
def test_the_terminal_is_never_overrun(width: int, classes: int) -> None:
    counts = [max(1, int(3000 * 0.97**k)) for k in range(classes)]
    text = shown(made(counts, notes=("a note that is longer than " + "a line " * 20,)), width=width)
    assert max(map(len, text.split("\n"))) <= width
    assert "3,000" in text
    assert text.count("\n") < 90


def test_of_many_classes_head_middle_and_tail_are_listed_and_the_rest_counted() -> None:
    rows = shown_classes(made(range(1, 1001)).classes)
    named = [row[1].train for row in rows if not isinstance(row, int)]
    assert named[0] == 1000
    assert named[-1] == 1
    assert 500 in named
    assert len(named) + sum(row for row in rows if isinstance(row, int)) == 1000
    assert len(shown_classes(made([7] * 100).classes)) == 11  # of equal ones the first, and how many more


def test_hostile_names_are_shown_and_never_obeyed() -> None:
    found = made((200, 50, 10))
    evil = dataclasses.replace(found.classes[0], name="[red]x\x1b[2J\u202e\nb")
    text = shown(dataclasses.replace(found, classes=(evil, *found.classes[1:]), notes=("\x1b[31m",)))
    assert "\x1b" not in text
    assert "\\x1b[31m" in text


def test_facts_are_complete() -> None:
    said = dict(facts(made((200, 50, 10))))
    assert said["imbalance"] == "20 : 1 (class 0 has 240 images for training, class 2 12)"
    assert said["groups"] == "many 1 (above 100 training images), medium 1, few 1 (below 20)"
    assert said["training"] == "260 images, what is left"
    assert said["test"] == "60 images, as given"


PACE = Pace(images_per_second=1000, at_once=2, device="1 CPU thread")


def suggested(found: Survey, *overrides: str, pace: Pace | None = PACE) -> str:
    reasons = {"model": Reasoned("resnet20", "small"), "image_size": Reasoned(32, "as it is"), **group_settings(found)}
    task = TaskConfig(dataset="image-folder", imbalance_factor=None)
    tree, comments = space_tree(found, task, reasons, name="mine", data="birds, #1", pace=pace, gpu=False)
    return space_text(tree, comments, overrides, head=("head",))


def test_a_suggested_space_loads_and_says_why() -> None:
    text = suggested(made((4000, 700, 60)))
    space = loads(text)
    assert space.fixed["task.data"] == "birds, #1"
    assert (space.fixed["task.many"], space.fixed["task.few"]) == (1000, 100)
    assert "on this machine: 16 trainings of 4.8 min, 2 at a time, at the 1,000 images/s" in " ".join(
        text.replace("#", " ").split()
    )
    assert all(len(line) <= 120 for line in text.splitlines())


def test_an_override_is_written_where_it_belongs() -> None:
    text = suggested(made((4000, 700, 60)), "stage1.lr.high=0.5", "task.model=resnet32", "budget.hours=2")
    space = loads(text)
    assert space.fixed["task.model"] == "resnet32"
    assert space.budget.hours == 2
    assert "# by --set" in text.partition("model: resnet32")[2].partition("\n")[0]
    with pytest.raises(SpaceError, match="did you mean"):
        suggested(made((4000, 700, 60)), "stage1.lrr=0.5")


def test_a_large_set_gets_fewer_backbones_and_a_small_one_smaller_batches() -> None:
    large, small = loads(suggested(made((400_000, 700, 60)))), loads(suggested(made((150, 40, 10))))
    assert (large.budget.backbones, small.budget.backbones) == (4, 12)
    assert (large.fixed["stage1.batch_size"], small.fixed["stage1.batch_size"]) == (64, 16)


def test_without_a_measurement_the_space_says_so() -> None:
    assert "could not be measured" in suggested(made((4000, 700, 60)), pace=None)


def test_a_study_is_named_after_its_file() -> None:
    assert study_name(Path("x/my_birds.yaml")) == "my_birds"
    assert study_name(Path("x/my birds.yaml")) == "own_data"
