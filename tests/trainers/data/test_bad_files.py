"""Files that cannot be decoded: all are listed at once, or left out and told, by one rule for all sources."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from trainers.config import TaskConfig
from trainers.data import task as task_module
from trainers.data.decoding import first_frame
from trainers.data.joined import join_validation
from trainers.data.task import Task, load_task
from trainers.errors import BadImageError, DataError

COUNTS = {"ant": 12, "bee": 8}


def picture(number: int, kind: str = "PNG", size: int = 16) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is empty"),
    "text": (b"sorry, no image here", "no known image format"),
    "html": (b"\n<!DOCTYPE html><title>404 Not Found</title>", "it is an HTML page, perhaps a failed download"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "it is a pointer of Git LFS"),
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "it is HEIC or AVIF, which are not read"),
    "cut": (picture(0, "JPEG", 64)[:900], "it is truncated"),
    "cut PNG": (picture(0, "PNG", 64)[:900], "it is truncated"),
    "TIFF of 3 floats": (b"II*\0\x08\0\0\0" + bytes(2), "a form of TIFF that is not read"),
}
Rows = list[tuple[str, bytes, str]]  # name, content (None: no file), class


def rows(bad: list[bytes | None]) -> Rows:
    """20 sound images, and `bad` ones in the class of ants."""
    sound = [
        (f"{name}{n}.png", picture(100 * k + n), name) for k, name in enumerate(COUNTS) for n in range(COUNTS[name])
    ]
    return sound + [(f"bad{n}.jpg", data, "ant") for n, data in enumerate(bad) if data is not None]


def as_folder(root: Path, found: Rows) -> None:
    for name, data, label in found:
        (root / label).mkdir(exist_ok=True)
        (root / label / name).write_bytes(data)


def as_csv(root: Path, found: Rows) -> None:
    for name, data, _ in found:
        (root / name).write_bytes(data)
    (root / "a.csv").write_text("path,label\n" + "".join(f"{name},{label}\n" for name, _, label in found))


def as_lists(root: Path, found: Rows) -> None:
    as_csv(root, found)
    (root / "train.txt").write_text("".join(f"{name} {[*COUNTS].index(label)}\n" for name, _, label in found))


def as_parquet(root: Path, found: Rows) -> None:
    table = pa.table({"image": [data for _, data, _ in found], "label": [label for *_, label in found]})
    pq.write_table(table, root / "train.parquet")


WRITERS: dict[str, Callable[[Path, Rows], None]] = {
    "image-folder": as_folder, "csv": as_csv, "lists": as_lists, "parquet": as_parquet,
}  # fmt: skip


def loaded(data: Path, dataset: str = "image-folder", **options: Any) -> Task:
    return load_task(TaskConfig(dataset=dataset, data=str(data), imbalance_factor=None, val_per_class=1, **options))


@pytest.mark.parametrize("kind", BAD)
def test_each_accident_has_its_words(kind: str) -> None:
    data, reason = BAD[kind]
    with pytest.raises(BadImageError) as caught:
        first_frame(data, "a.jpg")
    assert reason in caught.value.reason
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # a loader's process sends it


@pytest.mark.parametrize("dataset", WRITERS)
def test_all_bad_files_are_listed_at_once(dataset: str, tmp_path: Path) -> None:
    bad = [BAD["text"][0], BAD["cut"][0], BAD["cut PNG"][0], BAD["empty"][0], BAD["html"][0]]
    WRITERS[dataset](tmp_path, rows([*bad]))
    with pytest.raises(DataError) as caught:
        loaded(tmp_path, dataset)
    said = str(caught.value)
    assert f"{tmp_path}: 5 of 25 images cannot be decoded: " in said
    assert "no known image format (1: " in said
    assert "it is empty (1: " in said
    assert said.endswith("replace or remove them, or leave them out with task.skip_bad=true")
    names = [f"row {20 + n}" if dataset == "parquet" else f"bad{n}.jpg" for n in range(5)]
    assert all(name in said for name in names)


@pytest.mark.parametrize("dataset", WRITERS)
def test_bad_files_are_left_out_if_the_user_says_so(dataset: str, tmp_path: Path) -> None:
    (tmp_path / "sound").mkdir()
    (tmp_path / "damaged").mkdir()
    WRITERS[dataset](tmp_path / "sound", rows([]))
    WRITERS[dataset](tmp_path / "damaged", rows([BAD["text"][0], BAD["cut"][0]]))
    sound, task = loaded(tmp_path / "sound", dataset), loaded(tmp_path / "damaged", dataset, skip_bad=True)
    assert (task.fingerprint, task.counts) == (sound.fingerprint, sound.counts)
    (note,) = [note for note in task.notes if "skip_bad" in note]
    assert note.startswith("2 of 22 training images cannot be decoded and are left out (task.skip_bad); by class: ")
    assert f"by class: {0 if dataset == 'lists' else 'ant'} 2; no known image format (1: " in note
    assert ("row 20" if dataset == "parquet" else "bad0.jpg") in note
    assert str(tmp_path) not in note
    assert loaded(tmp_path / "sound", dataset, skip_bad=True).notes == sound.notes


def test_missing_files_of_a_list_are_found_at_once(tmp_path: Path) -> None:
    as_lists(tmp_path, rows([b"", b"x"]))
    for name in ("ant3.png", "bee2.png"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match=r"there is no such file \(2: ant3\.png, bee2\.png\).*restore the missing ones"):
        loaded(tmp_path, "lists")
    assert "4 of 22 training images" in " ".join(loaded(tmp_path, "lists", skip_bad=True).notes)
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()
    (tmp_path / "train.txt").write_text("a.png 0\nb.png 1\n")
    with pytest.raises(DataError, match=r"2 of 2 image files are missing or empty, first .*image_root=DIR"):
        loaded(tmp_path, "lists", skip_bad=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_without_permission_are_bad_files(tmp_path: Path) -> None:
    as_folder(tmp_path, rows([picture(7)]))
    (tmp_path / "ant" / "bad0.jpg").chmod(0)
    with pytest.raises(DataError, match=r"Permission denied"):
        loaded(tmp_path)


def test_names_are_limited_and_the_rest_counted(tmp_path: Path) -> None:
    as_folder(tmp_path, rows([b"x%d" % n for n in range(30)]))
    with pytest.raises(DataError, match=r"30 of 50 .*no known image format \(30: ant/bad0\.jpg.* and 10 more\)"):
        loaded(tmp_path)


def test_truncated_files_are_counted_together(tmp_path: Path) -> None:
    whole = picture(1, "JPEG", 64)
    as_folder(tmp_path, rows([whole[:length] for length in (700, 800, 900)]))
    with pytest.raises(DataError, match=r"it is truncated \(3: "):
        loaded(tmp_path, image_size=8)


def test_a_class_that_would_lose_all_its_images_is_an_error(tmp_path: Path) -> None:
    as_folder(tmp_path, rows([]))
    for path in (tmp_path / "bee").iterdir():
        path.write_bytes(b"<html>")
    with pytest.raises(DataError, match=r"train: class 'bee' would lose all its images \(8\)"):
        loaded(tmp_path, skip_bad=True)


def test_fewer_test_images_are_said_loudly(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        as_folder(tmp_path / split, rows([]))
    (tmp_path / "test" / "bee" / "bee1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"bee1\.png: the image cannot be decoded .* or set task\.skip_bad=true"):
        loaded(tmp_path)
    task = loaded(tmp_path, skip_bad=True)
    assert len(task.test) == 19
    assert any(note.startswith("TEST FIGURES ARE OVER FEWER IMAGES, 19 instead of 20: ") for note in task.notes)


def test_streamed_images_are_all_decoded_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_folder(tmp_path, rows([picture(1, "JPEG", 64)[:900]]))  # its header is whole
    monkeypatch.setattr(task_module, "MEMORY_LIMIT", 0)
    with pytest.raises(DataError, match=r"bad0\.jpg: the image cannot be decoded \(it is truncated"):
        loaded(tmp_path, image_size=8)
    task = loaded(tmp_path, image_size=8, skip_bad=True)
    assert len(task.train) + len(task.val) + len(task.test) == 20
    assert any("each was decoded once before" in note for note in task.notes)
    assert len(join_validation(task).train) == len(task.train) + len(task.val)


def test_threads_give_the_images_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_folder(tmp_path, rows([]))
    wanted = loaded(tmp_path, image_size=8)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    found = loaded(tmp_path, image_size=8)
    assert found.fingerprint == wanted.fingerprint
    assert all((a == b).all() for a, b in zip(found.train.images, wanted.train.images, strict=True))
