"""Random folders of classes, splits, junk and odd files: each file is used once, named as not used, or known junk.

`pytest -m slow` tries all of them; a seed makes the same folder on every machine.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.file_ledger import counts_by_class, unexplained
from trainers.config import TaskConfig
from trainers.data.folders import read_folders
from trainers.data.pool import Source
from trainers.errors import DataError

CASES, EACH_TIME = 250, 30
some_or_all = pytest.mark.parametrize(
    "seeds", [range(EACH_TIME), pytest.param(range(EACH_TIME, CASES), marks=pytest.mark.slow)], ids=["some", "rest"]
)
WORDS = {
    "train": ("train", "Training", "TRAIN", "train_images", "train2017", "trn"),
    "val": ("val", "Validation", "valid", "dev"),
    "test": ("test", "Testing", "TEST", "test_set", "held_out"),
}
SUFFIXES = (".png", ".JPG", ".jpeg", ".jfif", ".tif", ".webp", ".bmp")
ODD = ("notes.txt", "a.heic", "b.avif", "c.npy", "dev.parquet", "README", "x.png.part", "image.tga", "labels.csv")
JUNK = (".DS_Store", "Thumbs.db", "desktop.ini", "._0.jpg", ".ipynb_checkpoints/0.png", "@eaDir/0.png/T.jpg",
        "__MACOSX/ant/0.png", "lost+found/0.png", ".git/config")  # fmt: skip
MESS = (
    "extra/0.png", "train/0.png", "test/0.png", "ant/train/0.png", "TEST/ant/0.png", "Train/bee/0.png", "0.png", "cow/",
    "ant/a/b/0.png", "docs/a.md", "val/", "data/0.png", "train/train/ant/0.png", "ant/test/x/1.png",
)  # fmt: skip


def write(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        path.write_bytes(b"x")


def clear(root: Path, chance: random.Random) -> dict[str, dict[str, int]]:
    """Makes a tree with one reading, and returns the images of each class in each split."""
    inner = root / chance.choice(["", "", "archive", "archive/data"])
    classes = ["ant", "bee", "cow", "test tube"][: chance.randint(2, 4)]
    form = chance.choice(["classes", "splits", "below"])
    splits = ["train"] if form == "classes" else ["train", *chance.sample(["val", "test"], chance.randint(1, 2))]
    wrapped = chance.choice(["", "images"]) if form == "splits" else ""
    names = {split: chance.choice(WORDS[split]) for split in splits}
    found: dict[str, dict[str, int]] = {}
    for split in splits:
        for each in classes:
            folders = {"classes": [each], "splits": [names[split], wrapped, each], "below": [each, names[split]]}[form]
            count = chance.randint(1, 5)
            found.setdefault(split, {})[each] = count
            for number in range(count):
                deeper = chance.choice(["", "", "a/", "a/b/"]) if form != "classes" or number else ""
                write(inner.joinpath(*folders) / f"{deeper}{number}{chance.choice(SUFFIXES)}")
    return found


def litter(root: Path, names: tuple[str, ...], chance: random.Random, most: int) -> None:
    """Puts files into random folders of a tree."""
    places = [root, *sorted(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())]
    for _ in range(chance.randint(0, most)):
        name = chance.choice(names)
        path = chance.choice(places) / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
        elif not any(parent.is_file() for parent in path.parents):
            write(path)


def link(root: Path, chance: random.Random) -> None:
    """Adds links: to nothing, to a folder above, to another folder, to a file."""
    places = sorted(path for path in root.rglob("*") if path.is_dir() and not path.is_symlink())
    for number in range(chance.randint(0, 3)):
        target = chance.choice([Path("nowhere"), root, root.parent, root.parent / "outside", *places])
        (chance.choice(places) / f"link{number}{chance.choice(['', '.png'])}").symlink_to(target)


def read(root: Path) -> Source:
    return read_folders(TaskConfig(dataset="image-folder", data=str(root), imbalance_factor=None))


@some_or_all
def test_a_clear_tree_is_read_as_it_was_made_whatever_lies_in_it(seeds: range, tmp_path: Path) -> None:
    for seed in seeds:
        chance, root = random.Random(seed), tmp_path / str(seed) / "set"
        made = clear(root, chance)
        litter(root, JUNK, chance, 4)
        litter(root, ODD, chance, 4)
        source = read(root)
        assert counts_by_class(source) == made, seed
        assert unexplained(root, source) == "", (seed, source.notes)


@some_or_all
def test_a_mess_is_refused_or_each_file_of_it_is_accounted_for(seeds: range, tmp_path: Path) -> None:
    write(tmp_path / "outside" / "sub" / "0.png")
    write(tmp_path / "outside" / "1.png")
    refused = list[str]()
    for seed in seeds:
        chance, root = random.Random(seed), tmp_path / str(seed)
        clear(root, chance)
        for names in (MESS, ODD, JUNK):
            litter(root, names, chance, 4)
        link(root, chance)
        try:
            source = read(root)
        except DataError as error:
            refused.append(str(error))
        else:
            assert unexplained(root, source) == "", (seed, source.notes)
    assert all(20 < len(error) < 1_500 for error in refused)
    assert 0 < len(refused) < len(seeds) * 2 / 3
