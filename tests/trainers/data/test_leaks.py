"""Whole data sets with copies, contradictions, look-alikes and groups: how they are cut, and what is said."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainers.config import TaskConfig
from trainers.data.task import Task, load_task
from trainers.errors import ConfigError, DataError

CLASSES = {"ant": 30, "bee": 12, "cow": 6}


def picture(seed: int, size: int = 16) -> Image.Image:
    """Noise of middling frequencies, as photographs have, which survive JPEG."""
    noise = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def write(folder: Path, start: int = 0, counts: dict[str, int] | None = None, size: int = 16) -> Path:
    for k, (name, count) in enumerate((counts or CLASSES).items()):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            (folder / name / f"{i:03d}.png").write_bytes(encoded(picture(start + 100 * k + i, size)))
    return folder


def loaded(data: Path, dataset: str = "image-folder", **options: object) -> Task:
    return load_task(TaskConfig(dataset=dataset, data=str(data), **{"imbalance_factor": None, **options}))


def rows(task: Task) -> dict[str, list[tuple[bytes, int]]]:
    """The pixels and label of each image of each split."""
    return {
        name: [(image.numpy().tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True)]
        for name, split in (("train", task.train), ("val", task.val), ("test", task.test))
    }


def sides(task: Task) -> list[set[bytes]]:
    return [{pixels for pixels, _ in part} for part in rows(task).values()]


def disjoint(task: Task) -> bool:
    train, val, test = sides(task)
    return not (train & val or train & test or val & test)


def note(task: Task, words: str) -> str:
    (found,) = [note for note in task.notes if words in note]
    return found


def test_copies_under_other_names_stay_together_and_are_counted(tmp_path: Path) -> None:
    for path in sorted(write(tmp_path).rglob("*.png")):
        shutil.copy(path, path.with_name("copy_" + path.name))
    task = loaded(tmp_path)
    assert disjoint(task)
    assert np.bincount(task.test.labels).tolist() == [12, 4, 2]
    assert np.bincount(task.val.labels).tolist() == [8, 4, 2]
    assert "ant 8 of 9" in note(task, "validation: copies of an image stay together")
    assert note(task, "are copies").startswith(
        "48 of 96 images are copies of another image of their class and split (ant/"
    )
    assert note(task, "are copies").endswith("ant 30 of 60, bee 12 of 24, cow 6 of 12")


@pytest.mark.parametrize("kind", [{"kind": "BMP"}, {"kind": "PNG", "compress_level": 0}, {"kind": "TIFF"}])
def test_copies_of_equal_pixels_in_other_bytes_stay_together(kind: dict[str, object], tmp_path: Path) -> None:
    for path in sorted(write(tmp_path).rglob("*.png")):
        path.with_name("copy_" + path.name).write_bytes(encoded(Image.open(path), **kind))
    task = loaded(tmp_path)
    assert disjoint(task)
    assert note(task, "are copies").startswith("48 of 96 images are copies")


def test_an_image_under_two_labels_is_named_and_not_held_out(tmp_path: Path) -> None:
    write(tmp_path)
    for i in range(5):
        shutil.copy(tmp_path / "ant" / f"{i:03d}.png", tmp_path / "bee" / f"x{i}.png")
    (tmp_path / "cow" / "y.bmp").write_bytes(encoded(Image.open(tmp_path / "ant" / "010.png"), "BMP"))
    for seed in range(3):
        task = loaded(tmp_path, split_seed=seed)
        assert disjoint(task)
        labels = {
            pixels: {label for other, label in rows(task)["train"] if other == pixels} for pixels in sides(task)[0]
        }
        assert sum(len(found) == 2 for found in labels.values()) == 6
    said = note(task, "under two labels")
    assert said.startswith("6 images are under two labels or more: ")
    assert "ant/010.png (ant) = cow/y.bmp (cow)" in said or said.count("(ant) = ") == 3
    assert "those of training stay there, out of the validation and test cut from it; correct the labels" in said


def test_one_image_in_two_files_of_a_csv(tmp_path: Path) -> None:
    write(tmp_path / "im")
    lines = [f"im/{path.parent.name}/{path.name},{path.parent.name}" for path in sorted(tmp_path.rglob("*.png"))]
    for i, label in enumerate(["bee"] * 4 + ["ant"] * 3):
        shutil.copy(tmp_path / "im" / "ant" / f"{i:03d}.png", tmp_path / "im" / f"{i}.png")
        lines.append(f"im/{i}.png,{label}")
    (tmp_path / "train.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    task = loaded(tmp_path, "csv")
    assert disjoint(task)
    assert "4 images are under two labels or more: " in note(task, "two labels")
    assert note(task, "are copies").startswith("3 of 55 images are copies")


def test_contradictions_and_copies_between_given_splits_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for split, start in (("train", 0), ("val", 1000), ("test", 2000)):
        write(tmp_path / split, start, {"ant": 6, "bee": 6})
    shutil.copy(tmp_path / "train" / "ant" / "000.png", tmp_path / "test" / "bee" / "other.png")
    task = loaded(tmp_path)
    assert "test: 1 images are in the training images too (test/bee/other.png = train/ant/000.png)" in task.notes
    assert note(task, "two labels") == (
        "1 images are under two labels or more: train/ant/000.png (ant) = test/bee/other.png (bee); correct the "
        "labels, or remove them"
    )
    monkeypatch.chdir(tmp_path.parent)
    assert loaded(Path(tmp_path.name)).notes == task.notes


def test_look_alikes_between_splits_are_told(tmp_path: Path) -> None:
    write(tmp_path / "train", 0, {"ant": 20, "bee": 10}, size=32)
    write(tmp_path / "val", 4000, {"ant": 3, "bee": 3}, size=32)
    write(tmp_path / "test", 2000, {"ant": 10, "bee": 10}, size=32)
    for i in range(3):
        image = Image.open(tmp_path / "train" / "ant" / f"{i:03d}.png")
        (tmp_path / "test" / "ant" / f"again{i}.jpg").write_bytes(encoded(image, "JPEG", quality=75))
    image = picture(0, size=32).resize((24, 24), Image.Resampling.LANCZOS)
    (tmp_path / "test" / "bee" / "scaled.png").write_bytes(encoded(image))
    task = loaded(tmp_path, image_size=32)
    said = note(task, "perceptual hash")
    assert said.startswith("test: 4 of 24 images look like training images by a perceptual hash (test/ant/again")
    assert "~ train/ant/00" in said


def test_flat_images_are_neither_copies_of_each_other_by_pixels_nor_look_alikes(tmp_path: Path) -> None:
    for name, grey in (("ant", 0), ("bee", 0), ("cow", 200)):
        (tmp_path / name).mkdir()
        for i in range(8):
            (tmp_path / name / f"{i}.png").write_bytes(encoded(Image.new("L", (20 + i + 10 * len(name), 40), grey)))
    for i in range(8):  # other bytes than those of the ants
        (tmp_path / "bee" / f"{i}.png").write_bytes(encoded(Image.new("L", (21 + i, 30), 0)))
    assert not [one for one in loaded(tmp_path, image_size=8).notes if "two labels" in one or "look like" in one]


def of_patients(folder: Path) -> Path:
    """Folders of 12, 8 and 2 patients with 4 images each; names tell the patient."""
    for k, (name, patients) in enumerate({"ant": 12, "bee": 8, "cow": 2}.items()):
        (folder / name).mkdir(parents=True)
        for i in range(patients * 4):
            image = picture(100 * k + i)
            (folder / name / f"scan_P{100 * k + i // 4:03d}_{i % 4}.png").write_bytes(encoded(image))
    return folder


def patients(task: Task, folder: Path) -> list[set[str]]:
    """The patients of each split, by the pixels of their images."""
    known = {}
    for path in folder.rglob("*.png"):
        known[np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes()] = path.name.split("_")[1]
    return [{known[pixels] for pixels in part} for part in sides(task)]


def test_a_pattern_keeps_patients_together_in_folders_lists_and_csv(tmp_path: Path) -> None:
    folder = of_patients(tmp_path / "images")
    lines = [(path.relative_to(tmp_path), path.parent.name) for path in sorted(folder.rglob("*.png"), reverse=True)]
    (tmp_path / "one.csv").write_text("\n".join(["path,label", *(f"{path},{label}" for path, label in lines)]))
    numbers = {"ant": 0, "bee": 1, "cow": 2}
    (tmp_path / "train.txt").write_text("\n".join(f"{path} {numbers[label]}" for path, label in lines))
    (tmp_path / "named.csv").write_text(
        "\n".join(["path,label,patient", *(f"{path},{label},{path.name.split('_')[1]}" for path, label in lines)])
    )
    prints = set()
    for data, dataset, group in (
        (folder, "image-folder", r"_(P\d+)_"),
        (tmp_path, "lists", r"_(P\d+)_"),
        (tmp_path / "one.csv", "csv", r"(P[0-9]{3})"),
        (tmp_path / "named.csv", "csv", "patient"),
    ):
        task = loaded(data, dataset, group=group)
        train, val, test = patients(task, folder)
        assert len(train | val | test) == len(train) + len(val) + len(test) == 22
        assert set(task.train.labels.tolist()) == {0, 1, 2}
        assert "cow 4 of 1" in note(task, "test: groups")
        assert "cow 0 of 1 (one group only: its images stay in training)" in note(task, "validation: groups")
        prints.add(task.fingerprint)
    assert len(prints) == 1
    assert loaded(folder).fingerprint not in prints


def test_a_column_of_parquet_groups_its_rows_and_groups_in_given_splits_are_told(tmp_path: Path) -> None:
    for split, start, first in (("train", 0, 0), ("test", 5000, 9)):
        images = [encoded(picture(start + i)) for i in range(60)]
        table = {"image": images, "label": [i % 2 for i in range(60)], "video": [first + i // 6 for i in range(60)]}
        pq.write_table(pa.table(table), tmp_path / f"{split}.parquet")
    task = loaded(tmp_path, "parquet", group="video")
    assert "test: 1 of its 10 groups (task.group) are in the training images too: 9" in task.notes
    assert disjoint(task)
    with pytest.raises(DataError, match=r"train\.parquet: task\.group must be a column, .*no 'film'.*'video'"):
        loaded(tmp_path, "parquet", group="film")
    pq.write_table(
        pa.table({"image": images, "label": [i % 2 for i in range(60)], "video": ["a"] * 58 + [None, ""]}),
        tmp_path / "train.parquet",
    )
    with pytest.raises(DataError, match=r"2 of 60 images have no group \(.*train\.parquet, row 58"):
        loaded(tmp_path, "parquet", group="video")


def test_a_pattern_that_does_not_fit_says_so(tmp_path: Path) -> None:
    folder = write(tmp_path / "a")
    with pytest.raises(DataError, match=r"48 of 48 images have no group, .* does not match ant/000\.png, .* 45 more"):
        loaded(folder, group=r"_(P\d+)_")
    for group in ("patient", "(a)(b)", "(", "(" * 500):
        with pytest.raises(ConfigError, match="pattern with one group in parentheses"):
            loaded(folder, group=group)
    with pytest.raises(ConfigError, match=r"RE2, which has no look-around"):
        loaded(folder, group=r"(?<=a)(\d+)")
    with pytest.raises(ConfigError, match="neither file names nor columns"):
        load_task(TaskConfig(group="patient"))
    (tmp_path / "one.csv").write_text("path,label\na/ant/000.png,0\n")
    with pytest.raises(
        DataError, match=r"task\.group must be a column or a pattern .*there is no 'who'.*'path', 'label'"
    ):
        loaded(tmp_path / "one.csv", "csv", group="who")


@pytest.mark.timeout(60)
def test_no_pattern_takes_long(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    folder = write(tmp_path / "c" / ("a" * 60), counts={"ant": 5, "bee": 5})
    with pytest.raises(DataError, match="10 of 10 images have no group"):
        loaded(folder.parent / folder.name, group=r"^((?:[a-z0-9/.]|[a-z/0-9.]+)*)!$")


def test_a_column_by_which_images_may_belong_together_is_named_until_it_is_used(tmp_path: Path) -> None:
    write(tmp_path / "im")
    paths = sorted(tmp_path.rglob("*.png"))
    rows = [f"im/{path.parent.name}/{path.name},{path.parent.name},{k // 2}" for k, path in enumerate(paths)]
    (tmp_path / "train.csv").write_text("\n".join(["path,label,Patient ID", *rows]) + "\n")
    images = [path.read_bytes() for path in paths]
    columns = {
        "image": images,
        "label": [path.parent.name for path in paths],
        "patient": [k // 2 for k in range(len(paths))],
    }
    pq.write_table(pa.table(columns), tmp_path / "train.parquet")
    for dataset, name in (("csv", "Patient ID"), ("parquet", "patient")):
        said = f"column {name!r} has {(len(paths) + 1) // 2} values in {len(paths)} rows; images that share one"
        assert said in note(loaded(tmp_path, dataset), "share one")
        assert not any("share one" in each for each in loaded(tmp_path, dataset, group=name).notes)
