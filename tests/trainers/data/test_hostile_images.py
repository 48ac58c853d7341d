"""Whatever an image is: no program starts, nothing but a DataError comes out, and it takes no long time or memory."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import traceback
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support import hostile_images as made
from trainers.config import TaskConfig
from trainers.data import decoding
from trainers.data.decoding import first_frame, read_size
from trainers.data.splits import center_view
from trainers.data.task import load_task
from trainers.errors import DataError
from trainers.files.model_file import LoadedModel, ModelCard
from trainers.predict import Prediction, Unreadable, predict
from trainers.stage1.models import build_model

PROGRAMS = ("gs", "ghostscript", "convert", "magick", "wmf2eps", "djpeg", "cjpeg", "xv", "display", "xdg-open")
SECONDS, BYTES = 10, 2 * 2**30  # a hang, and more memory than any image may take


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which each program that Pillow could start would leave its name: it must stay empty."""
    programs, marks = tmp_path / "programs", tmp_path / "started"
    programs.mkdir()
    marks.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(f"#!/bin/sh\necho > '{marks}/{name}'\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return marks


@pytest.fixture(scope="module")
def model() -> LoadedModel:
    card = ModelCard(
        model="cnn-small", class_names=("a", "b"), channels=3, image_size=8, mean=(0.5,) * 3, std=(0.25,) * 3,
        temperature=1.0, data_fingerprint="", config={}, view="center_crop",
    )  # fmt: skip
    return LoadedModel(build_model("cnn-small", 2, image_size=8, seed=0).eval(), card)


def as_folder(folder: Path, images: list[bytes]) -> None:
    for index, data in enumerate(images):
        (folder / str(index % 2)).mkdir(parents=True, exist_ok=True)
        (folder / str(index % 2) / f"{index}.png").write_bytes(data)


def as_lists(folder: Path, images: list[bytes]) -> None:
    for index, data in enumerate(images):
        (folder / f"{index}.png").write_bytes(data)
    (folder / "train.txt").write_text("".join(f"{index}.png {index % 2}\n" for index in range(len(images))))


def as_csv(folder: Path, images: list[bytes]) -> None:
    as_lists(folder, images)
    rows = "".join(f"{index}.png,{index % 2}\n" for index in range(len(images)))
    (folder / "images.csv").write_text("path,label\n" + rows)


def as_parquet(folder: Path, images: list[bytes]) -> None:
    pq.write_table(pa.table({"image": images, "label": [k % 2 for k in range(len(images))]}), folder / "train.parquet")


WRITERS: dict[str, Callable[[Path, list[bytes]], None]] = {
    "image-folder": as_folder, "lists": as_lists, "csv": as_csv, "parquet": as_parquet,
}  # fmt: skip


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("image_size", [None, 8])
def test_an_eps_named_png_starts_no_ghostscript(
    kind: str, image_size: int | None, tmp_path: Path, started: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    WRITERS[kind](data, [made.png(8, 8, made.chunk(b"tEXt", b"a\0%d" % k)) for k in range(19)] + [made.EPS])
    with pytest.raises(DataError, match=r"19.* the image cannot be decoded \(no known image format\)"):
        load_task(TaskConfig(dataset=kind, data=str(data), imbalance_factor=None, image_size=image_size))
    assert not list(started.iterdir())


def test_the_check_of_a_space_starts_no_ghostscript(
    tmp_path: Path, started: Path, command: Callable[..., tuple[int, str]]
) -> None:
    as_folder(tmp_path / "data", [made.png(8, 8, made.chunk(b"tEXt", b"a\0%d" % k)) for k in range(19)] + [made.EPS])
    code, _ = command("check", "own_data.yaml", "--dataset", "image-folder", "--data", str(tmp_path / "data"))
    assert code == 1
    assert not list(started.iterdir())


def test_a_prediction_starts_no_ghostscript(tmp_path: Path, started: Path, model: LoadedModel) -> None:
    paths = [tmp_path / "eps.png", tmp_path / "eps.eps", tmp_path / "black.png"]
    for path, data in zip(paths, (made.EPS, made.EPS, made.png(8, 8)), strict=True):
        path.write_bytes(data)
    found = list(predict(model, paths, device=torch.device("cpu")))
    assert [type(each) for each in found] == [Unreadable, Unreadable, Prediction]
    assert not list(started.iterdir())


def test_images_are_opened_in_one_file_of_the_product() -> None:
    root = Path(decoding.__file__).parents[2]
    files = [path for room in ("trainers", "studies", "tuner", "search_spaces") for path in (root / room).rglob("*.py")]
    opened = re.compile(r"Image\.open\(|read_image\(|decode_(image|jpeg|png|gif|webp)\(|imread\(|ImageFolder\(")
    assert [path.name for path in files if opened.search(path.read_text())] == ["decoding.py"]
    assert "formats=FORMATS" in Path(decoding.__file__).read_text()


def test_what_phones_write_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (9, 7), (200, 0, 0)).save(
        tmp_path / "photo.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (3, 3))]
    )
    assert (
        first_frame(str(tmp_path / "photo.jpg"), "photo").size == read_size(str(tmp_path / "photo.jpg"), "") == (9, 7)
    )


@pytest.mark.parametrize("name", made.BOMBS)
def test_an_image_beyond_the_limits_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = made.BOMBS[name]()
    assert isinstance(outcome(data), DataError)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # others may set Pillow's own limit
    assert isinstance(outcome(data), DataError)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_an_image_within_the_limits_is_decoded_without_a_warning(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 4_000)  # Pillow warns of what is larger
    data = made.saved(Image.new(mode, (90, 50)), "JPEG")
    assert first_frame(data, "x").size == (90, 50)


def test_limits_are_told_with_a_way_out() -> None:
    found = outcome(made.png(12_000, 12_000, bits=1))
    assert "12,000x12,000 pixels, and at most 134,217,728 are decoded" in str(found)
    assert "scale it down" in str(found)


def test_a_long_image_is_not_scaled_as_a_whole() -> None:
    """1 x 60,000 pixels would be 4 billion, with the short side scaled to 256."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert center_view(Image.new("RGB", (1, 60_000)), 224).size == (224, 224)
    assert center_view(Image.new("RGB", (60_000, 1)), 224).size == (224, 224)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB


def test_any_error_of_a_decoder_is_a_data_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (RecursionError(), MemoryError(), KeyError("x"), ZeroDivisionError(), EOFError(), UserWarning("odd")):

        def fails(*_: object, **__: object) -> None:
            raise error  # noqa: B023

        monkeypatch.setattr(Image, "open", fails)
        with pytest.raises(DataError, match=r"^x: the image cannot be decoded \(.+\); replace it"):
            first_frame(made.png(8, 8), "x")


def outcome(data: bytes) -> Image.Image | DataError:
    """Decoded, or refused; anything else is a defect."""
    try:
        read_size(data, "x")
        return first_frame(data, "x")
    except DataError as error:
        return error


def look(images: list[tuple[str, bytes]], folder: Path, model: LoadedModel, tell: int) -> None:
    """Loader and prediction on each image. A look of more than `SECONDS` ends the process, also in the middle of C."""
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    as_folder(folder, [made.png(8, 8, made.chunk(b"tEXt", b"a\0%d" % k)) for k in range(20)])
    for index, (name, data) in enumerate(images):
        path = folder / "1" / f"x.{made.SUFFIXES[index % len(made.SUFFIXES)]}"
        path.write_bytes(data)
        os.write(tell, f"\n{name}".encode())
        signal.alarm(SECONDS)
        with contextlib.suppress(DataError):
            load_task(TaskConfig(dataset="image-folder", data=str(folder), imbalance_factor=None, image_size=8))
        signal.alarm(SECONDS)
        list(predict(model, [path], device=torch.device("cpu")))
        path.unlink()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:PIL")  # of formats that it will write no more
def test_hostile_images_of_every_format_do_no_harm(tmp_path: Path, started: Path, model: LoadedModel) -> None:
    images = [*made.hostile(1, made.every_format()), *((name, bomb()) for name, bomb in made.BOMBS.items())]
    assert len(images) >= 200
    assert {name.split()[0] for name, _ in images} >= set(Image.OPEN)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            look(images, tmp_path / "data", model, tell)
            os._exit(0)
        except BaseException:
            os.write(tell, traceback.format_exc().encode())
            os._exit(1)
    os.close(tell)
    with os.fdopen(told) as heard:
        said = heard.read()
    _, status, usage = os.wait4(pid, 0)
    assert status == 0, said[-3_000:]  # the last image named is the one
    assert (usage.ru_maxrss - before) * 1024 < BYTES
    assert not list(started.iterdir())
