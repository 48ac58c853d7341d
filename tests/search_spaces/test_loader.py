"""Names, files, and what is not there."""

import shutil
from importlib import resources
from pathlib import Path

import pytest

from search_spaces import SpaceError, SpaceNotFoundError, load, shipped

TEXT = "version: 1\nname: here\ntask: {dataset: digits-lt}\n"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("wanted", ["wd_maxnorm", "wd_maxnorm.yaml", Path("wd_maxnorm.yaml")])
def test_a_shipped_name(wanted: str | Path) -> None:
    assert load(wanted).name == "wd_maxnorm"


@pytest.mark.parametrize("wanted", ["wd_maxnorm", "wd_maxnorm.yaml"])
def test_the_path_given_then_the_folder_here_then_what_ships(wanted: str) -> None:
    Path("search_spaces").mkdir()
    Path("search_spaces/wd_maxnorm.yaml").write_text(TEXT.replace("here", "folder"))
    assert load(wanted).name == "folder"
    Path("wd_maxnorm.yaml").write_text(TEXT)
    assert load(wanted).name == "here"


def test_a_name_in_the_folder_here() -> None:
    Path("search_spaces").mkdir()
    Path("search_spaces/mine.yml").write_text(TEXT)
    assert load("mine.yml").name == "here"


def test_a_name_of_ones_own() -> None:
    assert load("wd_maxnorm", name="tuesday").name == "tuesday"
    Path("unnamed.yaml").write_text(TEXT.replace("name: here\n", ""))
    assert load("unnamed", name="tuesday").name == "tuesday"


def test_errors_call_the_file_as_it_was_asked_for() -> None:
    Path("mine.yaml").write_text(TEXT + "x: 1\n")
    with pytest.raises(SpaceError, match=r"^mine\.yaml:4:1: error: x: unknown key 'x'"):
        load("mine.yaml")


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        ("wd_maxnrom.yaml", "did you mean 'wd_maxnorm'?"),
        ("qqqq", "these ship: cifar100_lt, cifar10_lt, "),
        ("sub/wd_maxnorm", "did you mean 'wd_maxnorm'?"),
        ("../wd_maxnorm.yaml", "did you mean 'wd_maxnorm'?"),
        ("", "these ship: "),
        (".", "these ship: "),
        ("..", "these ship: "),
    ],
)
def test_what_is_not_there(wanted: str, hint: str) -> None:
    with pytest.raises(SpaceNotFoundError, match="there is no such search space; ") as caught:
        load(wanted)
    assert hint in str(caught.value)


@pytest.mark.parametrize("wanted", ["x" * 5000, "a\x00b"])
def test_names_that_no_file_can_have(wanted: str) -> None:
    with pytest.raises(SpaceError):
        load(wanted)


def test_a_folder_is_no_space(tmp_path: Path) -> None:
    with pytest.raises(SpaceNotFoundError):
        load(tmp_path)


def test_a_huge_file_is_refused_unread() -> None:
    with Path("huge.yaml").open("wb") as file:
        file.truncate(1 << 32)  # sparse
    with pytest.raises(SpaceError, match=r"huge\.yaml:1:1: error: is 1,048,577 characters long"):
        load("huge.yaml")


def test_what_ships_is_what_lies_in_the_package() -> None:
    assert {
        "wd_maxnorm",
        "cifar10_lt",
        "cifar100_lt",
        "imagenet_lt",
        "inaturalist18",
        "places_lt",
        "own_data",
        "parity",
    } <= {*shipped()}
    with resources.as_file(resources.files("search_spaces").joinpath("parity.yaml")) as file:
        shutil.copy(file, "copy.yaml")
    assert load("copy.yaml") == load("parity")
