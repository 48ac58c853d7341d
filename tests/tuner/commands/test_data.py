"""`tuner data` as a person uses it first: look at a folder, get a page and a space, and read what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from search_spaces import load
from tests.conftest import Command
from tests.support.chromium import Browser
from trainers.config import TaskConfig
from trainers.data.task import load_task, read_source
from tuner.survey import look
from tuner.survey.survey import seen_copies, seen_images

COUNTS = {"ant": 60, "<b>bee": 20, "cow": 1}


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "_rate", lambda *arguments: 1000.0)


@pytest.fixture
def birds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of three classes of random images, one of them with a single one; the current folder holds it."""
    drawn = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (tmp_path / "birds" / name).mkdir(parents=True)
        for k in range(count):
            pixels = drawn.integers(0, 255, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "birds" / name / f"{k}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "birds"


def test_it_says_what_it_sees(command: Command, birds: Path) -> None:
    code, out = command("data", "birds")
    assert code == 0
    assert "birds  81 images of 3 classes" in out
    assert "image-folder: 3 folders with images" in out
    assert re.search(r"^ant +39 +█+ +9 +12 +many", out, re.MULTILINE)
    assert "cow has 1 training image" in out
    assert "cow has no validation image" in out
    assert "-o my_space.yaml" in out


def test_for_programs_it_is_one_document(command: Command, birds: Path) -> None:
    code, out = command("data", "birds", "--json", "--set", "task.val_per_class=3")
    found = json.loads(out)
    assert code == 0
    assert [(one["name"], one["given"], one["train"], one["val"]) for one in found["classes"]] == [
        ("ant", 60, 45, 3), ("<b>bee", 20, 13, 3), ("cow", 1, 1, 0),
    ]  # fmt: skip
    assert found["imbalance_factor"] == 60
    assert found["images"]["sizes"] == [{"width": 16, "height": 16, "images": 81}]
    assert found["refusal"] is None


def test_the_space_that_it_writes_is_one_that_check_takes(command: Command, birds: Path) -> None:
    code, out = command("data", "birds", "-o", "mine/my_space.yaml")
    assert code == 0
    assert "next     tuner launch --space mine/my_space.yaml" in out
    space = load("mine/my_space.yaml")
    assert space.name == "my_space"
    code, plan = command("check", "mine/my_space.yaml")
    assert code == 0
    assert "3 classes, 53 training images, 39 down to 1" in plan
    before = Path("mine/my_space.yaml").read_bytes()
    assert command("data", "birds", "-o", "mine/my_space.yaml")[0] == 2
    assert Path("mine/my_space.yaml").read_bytes() == before
    assert command("data", "birds", "-o", "mine/my_space.yaml", "--force", "--set", "stage1.epochs=7")[0] == 0
    assert load("mine/my_space.yaml").fixed["stage1.epochs"] == 7


def test_the_pace_of_this_machine_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(look, "_SECONDS", 0.5)
    config = TaskConfig()
    found = look.measured_pace(load_task(config), config, say=lambda step: None)
    assert found is not None
    assert found.images_per_second > 1


def test_the_space_names_data_beside_it_and_is_found_from_elsewhere(
    command: Command, birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command("data", "birds", "-o", "my_space.yaml")[0] == 0
    assert "data: birds " in (tmp_path / "my_space.yaml").read_text()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert load(tmp_path / "my_space.yaml").task.data == str(birds)
    (tmp_path / "elsewhere" / "birds").mkdir()
    assert load(tmp_path / "my_space.yaml").task.data == "birds"  # the current folder comes first, as always


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (("nowhere",), 3),
        (("birds", "--dataset", "nothing"), 2),
        (("birds", "--set", "task.nothing=1"), 2),
        (("birds", "--dataset", "npz"), 1),
        (("birds/ant",), 1),
        (("birds", "-o", "birds"), 2),
    ],
)
def test_what_is_wrong_has_the_exit_code_of_the_house(
    command: Command, birds: Path, wrong: tuple[str, ...], code: int
) -> None:
    assert command("data", *wrong)[0] == code


def test_data_that_a_launch_refuses_is_shown_and_gets_no_space(command: Command, birds: Path) -> None:
    (birds / "ant" / "broken.png").write_bytes((birds / "ant" / "0.png").read_bytes()[:60])
    code, out = command("data", "birds", "-o", "my_space.yaml", "--html", "look.html")
    assert code == 1
    assert "82 images of 3 classes" in out
    assert not Path("my_space.yaml").exists()
    assert "A launch would refuse this data" in Path("look.html").read_text()


def test_a_file_that_vanishes_meanwhile_is_told_and_the_rest_compared(birds: Path) -> None:
    source = read_source(TaskConfig(dataset="image-folder", data=str(birds)))
    (birds / "ant" / "1.png").write_bytes((birds / "ant" / "0.png").read_bytes())
    (birds / "ant" / "2.png").unlink()
    assert len(seen_images(source).unreadable) == 1
    assert seen_copies(source, birds).extra == 1


def test_the_page_is_small_and_fetches_nothing_and_names_no_folder(
    command: Command, birds: Path, tmp_path: Path
) -> None:
    assert command("data", str(birds), "--html", "look.html")[0] == 0
    page = Path("look.html").read_text()
    assert "default-src 'none'" in page
    assert re.findall(r"<(?:script|link|iframe|object)", page) == []
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 9  # four of each class, and the only one
    assert all(source.startswith("data:image/") for source in sources)
    assert str(tmp_path) not in page
    assert "&lt;b&gt;bee" in page
    assert "<b>bee" not in page
    assert len(page) < 100_000


@pytest.mark.browser
def test_the_page_fits_a_desk_and_a_phone(command: Command, birds: Path, tmp_path: Path) -> None:
    assert command("data", "birds", "--html", "look.html")[0] == 0
    with Browser(tmp_path / "profile") as browser:
        for width, phone in ((1400, False), (390, True)):
            browser.open(tmp_path / "look.html", width=width, phone=phone)
            assert browser.js("document.documentElement.scrollWidth") == width
            assert browser.complaints() == []
            assert [url for url in browser.asked_for() if not url.startswith("data:")] == [
                (tmp_path / "look.html").as_uri()
            ]


def test_every_option_has_a_word_and_the_help_an_example(command: Command) -> None:
    code, out = command("data", "--help")
    assert code == 0
    assert "Example: tuner data" in " ".join(out.split())
    for option in ("--dataset", "--set", "--output", "--html", "--force", "--json"):
        assert option in out


def test_a_long_tail_that_is_cut_is_told_as_such(command: Command, birds: Path) -> None:
    (birds / "cow" / "0.png").unlink()
    (birds / "cow").rmdir()
    overrides = ("task.imbalance_factor=2", "task.max_count=8", "task.val_per_class=4")
    code, out = command("data", "birds", *(word for text in overrides for word in ("--set", text)))
    assert code == 0
    assert "training    12 images, a long tail of factor 2, cut from those given" in out
    assert "imbalance   2 : 1 (" in out


def test_deep_pixels_are_shown_as_a_launch_scales_them(command: Command, birds: Path) -> None:
    drawn = np.random.default_rng(1)
    for k in range(6):
        Image.fromarray(drawn.random((16, 16), dtype=np.float32)).save(birds / "<b>bee" / f"deep{k}.tif")
    assert command("data", "birds", "--html", "look.html")[0] == 0
    assert 'class="broken"' not in Path("look.html").read_text()
