"""Images of more than 8 bits: no detail is lost in silence, all splits and predictions get the same scale."""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from tests.support.hostile_images import chunk
from trainers.config import TaskConfig, TrialConfig
from trainers.data import task as task_module
from trainers.data.decoding import first_frame, look
from trainers.data.images import ArrayImages
from trainers.data.pixel_scale import AS_BEFORE, EIGHT_BITS, PixelScale, to_bytes
from trainers.data.splits import MemorySplit
from trainers.data.task import Task, load_task
from trainers.errors import ConfigError, DataError, DeepImageError
from trainers.files.model_file import LoadedModel, describe_model
from trainers.predict import Prediction, Unreadable, predict
from trainers.stage1.models import build_model

Values = npt.NDArray[Any]
TRAIN, TEST = 6, 4  # images of each of two classes


def saved(values: Values, kind: str = "TIFF", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def png48(values: Values) -> bytes:
    """Colour, or grey with transparency, in 16 bits, which Pillow does not write."""
    height, width, channels = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff48(values: Values, *, order: str = "<", packed: bool = False) -> bytes:
    """Colour in 16 bits, in one strip, plain or by deflate."""
    height, width, channels = values.shape
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if packed else data
    depths = struct.pack(f"{order}{channels}H", *[16] * channels)
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, 8), (259, 4, 1, 8 if packed else 1),
        (262, 4, 1, 2), (273, 4, 1, 8 + len(depths)), (277, 4, 1, channels), (278, 4, 1, height),
        (279, 4, 1, len(data)),
    ]  # fmt: skip
    entries = b"".join(struct.pack(f"{order}HHII", *tag) for tag in tags)
    place = 8 + len(depths) + len(data)
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", place)
    return head + depths + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


def values(number: int, low: float, high: float, dtype: str = "u2", *, channels: int = 0) -> Values:
    """An 8x8 image from `low` to `high`, with both in it."""
    generator = np.random.default_rng(number)
    found = generator.uniform(low, high, (8, 8, channels) if channels else (8, 8))
    found.flat[:2] = low, high
    return found.astype(dtype)


def folder(root: Path, make: Callable[[int], bytes], *, odd: Callable[[int], bytes] | None = None) -> Path:
    """Two classes in train/ and test/; the second one is `odd`."""
    for split, count in (("train", TRAIN), ("test", TEST)):
        for label, name in enumerate(("ant", "bee")):
            place = root / split / name
            place.mkdir(parents=True)
            for index in range(count):
                number = 100 * label + index + (50 if split == "test" else 0)
                (place / f"{index}.png").write_bytes((odd if odd and label else make)(number))
    return root


def loaded(data: Path, dataset: str = "image-folder", scale: PixelScale | None = None, **options: Any) -> Task:
    config = TaskConfig(dataset=dataset, data=str(data), imbalance_factor=None, val_per_class=1, **options)
    return load_task(config, scale)


def pixels(task: Task) -> list[Values]:
    """The red channel of all images, in the order of training, validation, test."""
    splits = [split for split in (task.train, task.val, task.test) if isinstance(split, MemorySplit)]
    return [np.asarray(image[0]) for split in splits for image in split.images]


FORMS: dict[str, tuple[Callable[[int], bytes], PixelScale]] = {
    "12 bits in a TIFF": (lambda n: saved(values(n, 0, 4095)), PixelScale(integers=(0, 4095))),
    "12 bits in a PNG": (lambda n: saved(values(n, 0, 4000), "PNG"), PixelScale(integers=(0, 4095))),
    "8 bits in 16": (lambda n: saved(values(n, 0, 200)), PixelScale(integers=(0, 255))),
    "16 bits": (lambda n: saved(values(n, 0, 60_000), "PNG"), PixelScale(integers=(0, 65535))),
    "14 bits in colour": (lambda n: png48(values(n, 0, 16_000, channels=3)), PixelScale(integers=(0, 16383))),
    "10 bits, transparent": (lambda n: png48(values(n, 0, 1000, channels=4)), PixelScale(integers=(0, 1023))),
    "10 bits, grey, transparent": (lambda n: png48(values(n, 0, 1000, channels=2)), PixelScale(integers=(0, 1023))),
    "12 bits, TIFF in colour": (lambda n: tiff48(values(n, 0, 4000, channels=3)), PixelScale(integers=(0, 4095))),
    "big-endian": (lambda n: tiff48(values(n, 0, 4000, channels=3), order=">"), PixelScale(integers=(0, 4095))),
    "deflated": (lambda n: tiff48(values(n, 0, 250, channels=3), packed=True), PixelScale(integers=(0, 255))),
    "32-bit integers": (lambda n: saved(values(n, 0, 255, "i4")), PixelScale(integers=(0, 255))),
    "floats to 1": (lambda n: saved(values(n, 0, 1, "f4")), PixelScale(floats=(0, 1))),
    "floats to 255": (lambda n: saved(values(n, 0, 255, "f4")), PixelScale(floats=(0, 255))),
    "floats around 0": (lambda n: saved(values(n, -1, 1, "f4")), PixelScale(floats=(-1, 1))),
    "whole floats": (lambda n: saved(np.floor(values(n, 0, 4000, "f4"))), PixelScale(floats=(0, 4095))),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_training_images_decide_black_and_white(form: str, tmp_path: Path) -> None:
    make, scale = FORMS[form]
    task = loaded(folder(tmp_path, make))
    assert task.pixel_scale == scale
    assert all(len(np.unique(image)) > 40 for image in pixels(task))  # of 64 values
    (low, high), *_ = scale.stored().values()
    assert any(f"scaled from {low:g}..{high:g} to 8 bits (task.pixel_range)" in note for note in task.notes)


def test_the_same_values_become_the_same_bytes_in_every_form() -> None:
    wanted, scale = values(1, 0, 4095, channels=3), PixelScale(integers=(0, 4095))
    for data in (png48(wanted), tiff48(wanted), tiff48(wanted, order=">"), tiff48(wanted, packed=True)):
        assert np.array_equal(np.asarray(first_frame(data, "x", scale)), wanted >> 4)
    grey = values(2, 0, 4095)
    for data in (saved(grey), saved(grey, "PNG"), saved(grey, compression="tiff_lzw"), saved(grey.astype("i4"))):
        assert np.array_equal(np.asarray(first_frame(data, "x", scale))[..., 0], grey >> 4)


def test_floats_of_bytes_become_those_bytes() -> None:
    levels = np.arange(256, dtype="u1")
    for dtype in ("f2", "f4", "f8"):
        known = PixelScale(floats=(0, 1))
        assert np.array_equal(to_bytes((levels / 255).astype(dtype), "floats", known), levels)
    assert np.array_equal(to_bytes(levels.astype("f4"), "floats", PixelScale(floats=(0, 255))), levels)
    assert np.array_equal(to_bytes(levels.astype("u2") * 257, "integers", PixelScale(integers=(0, 65535))), levels)


REFUSED: dict[str, tuple[Callable[[int], bytes], str]] = {
    "around 0": (lambda n: saved(values(n, -3.2514, 3.3230, "f4")), r"from -3\.2514 to 3\.323, .*=-3\.26\.\.3\.33 "),
    "of any size": (lambda n: saved(values(n, -5, 12_000, "f4")), r"float with values from -5 to 12000.*=-5\.\.12000"),
    "slightly above 1": (lambda n: saved(values(n, -0.02, 1.03, "f4")), r"no scale to 8 bits is usual"),
    "tiny": (lambda n: saved(values(n, 0, 0.004, "f4")), r"no scale to 8 bits is usual"),
    "Hounsfield units": (lambda n: saved(values(n, -1024, 3071, "i4")), r"32-bit with.*pixel_range=-1024\.\.3071"),
    "above 16 bits": (lambda n: saved(values(n, 0, 10**6, "i4")), r"from 0 to 1000000.*pixel_range=0\.\.1000000 \(for"),
}


@pytest.mark.parametrize("form", REFUSED)
def test_values_of_no_usual_range_are_refused_with_the_way_out(form: str, tmp_path: Path) -> None:
    make, match = REFUSED[form]
    with pytest.raises(DataError, match=rf"pixels: all 10 training images are .*{match}"):
        loaded(folder(tmp_path, make))


def test_the_range_that_is_asked_for_is_taken(tmp_path: Path) -> None:
    data = folder(tmp_path, REFUSED["Hounsfield units"][0])
    task = loaded(data, pixel_range="-200..300")
    assert task.pixel_scale == PixelScale(integers=(-200, 300))
    assert any("test: 8 images have values outside of -200..300 (from -1024 to 3071)" in note for note in task.notes)
    assert {int(image.min()) for image in pixels(task)} == {0}
    assert {int(image.max()) for image in pixels(task)} == {255}
    assert loaded(data, pixel_range="-300..300").fingerprint != task.fingerprint


@pytest.mark.parametrize("text", ["4095", "0..", "5..5", "9..1", "a..b", "0..inf", "nan..1", "1.2.3..4", "[0, 1]", ""])
def test_a_range_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"task\.pixel_range: is black\.\.white, such as 0\.\.4095"):
        loaded(folder(tmp_path, lambda n: saved(values(n, 0, 255, "u1"), "PNG")), pixel_range=text)


BESIDE_8_BITS: dict[str, tuple[Callable[[int], bytes], str | None]] = {
    "16 bits": (lambda n: saved(values(n, 0, 60_000), "PNG"), None),
    "floats to 1": (lambda n: saved(values(n, 0, 1, "f4")), None),
    "floats to 255": (lambda n: saved(values(n, 0, 255, "f4")), None),
    "12 bits": (lambda n: saved(values(n, 0, 4095), "PNG"), r"=0\.\.4095 or task\.pixel_range=0\.\.65535"),
    "8 bits in 16": (lambda n: saved(values(n, 0, 255)), r"=0\.\.255 or task\.pixel_range=0\.\.65535"),
    "floats around 0": (lambda n: saved(values(n, -1, 1, "f4")), r"=-1\.\.1 "),
}


@pytest.mark.parametrize("form", BESIDE_8_BITS)
def test_beside_images_of_8_bits_white_must_be_beyond_doubt(form: str, tmp_path: Path) -> None:
    make, ways_out = BESIDE_8_BITS[form]
    data = folder(tmp_path, lambda n: saved(values(n, 0, 255, "u1"), "PNG"), odd=make)
    if ways_out is None:
        notes = " ".join(loaded(data).notes)
        assert "pixels: 5 of 10 training images are " in notes
        assert "they belong to 1 of 2 classes (bee), which may be told by that alone" in notes
        return
    with pytest.raises(DataError, match=rf"5 of 10 .* beside images of another depth.*{ways_out}"):
        loaded(data)


def test_images_that_would_become_black_are_refused(tmp_path: Path) -> None:
    data = folder(tmp_path, FORMS["16 bits"][0], odd=FORMS["8 bits in 16"][0])
    with pytest.raises(DataError, match=r"5 of them have no value above 200, among them all of class 'bee'"):
        loaded(data)
    mixed = folder(tmp_path / "floats", FORMS["floats to 255"][0], odd=FORMS["floats to 1"][0])
    with pytest.raises(DataError, match="5 of them have no value above 1, among them all of class 'bee'"):
        loaded(mixed)


def test_values_that_share_few_levels_are_told(tmp_path: Path) -> None:
    def hot(number: int) -> bytes:
        image = np.tile(values(number, 0, 300), (4, 4))
        image[9, 9] = 65_535
        return saved(image)

    task = loaded(folder(tmp_path, hot), image_size=32)
    assert any("99 % of their values are below" in note and "task.pixel_range=0..300" in note for note in task.notes)


def test_nan_and_infinity_are_bad_images(tmp_path: Path) -> None:
    data = folder(tmp_path, FORMS["floats to 1"][0])
    for name, bad in (("0", np.nan), ("1", np.inf)):
        image = values(7, 0, 1, "f4")
        image[2, 2] = bad
        (data / "train" / "ant" / f"{name}.png").write_bytes(saved(image))
    with pytest.raises(DataError, match=r"2 of 20 images .*… of its … values are NaN or infinite \(2: train/ant/0"):
        loaded(data)
    assert sum(loaded(data, skip_bad=True).counts) == 2 * (TRAIN - 1) - 2


def test_of_8_bits_nothing_changes(tmp_path: Path) -> None:
    modes = ("L", "RGB", "1", "P", "RGBA", "LA")

    def make(number: int) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(values(number, 0, 255, "u1", channels=3)).convert(modes[number % 6]).save(buffer, "PNG")
        return buffer.getvalue()

    task = loaded(folder(tmp_path, make))
    assert (task.pixel_scale, task.pixel_scale.as_ever) == (EIGHT_BITS, True)
    assert not any("pixels" in note for note in task.notes)
    asked = loaded(tmp_path, pixel_range="0..4095")
    assert asked.fingerprint == task.fingerprint
    assert "pixels: task.pixel_range has no effect: all images have 8 bits" in asked.notes
    assert look(make(2), "x") is None
    full = loaded(folder(tmp_path.with_name("full"), FORMS["16 bits"][0]))
    assert full.pixel_scale.as_ever  # the high byte, as ever


def test_val_and_test_get_the_scale_of_training(tmp_path: Path) -> None:
    data = folder(tmp_path, FORMS["12 bits in a PNG"][0])
    bright = values(3, 0, 4000) + 5000
    (data / "test" / "ant" / "0.png").write_bytes(saved(bright, "PNG"))
    task = loaded(data)
    assert task.pixel_scale == PixelScale(integers=(0, 4095))
    assert "test: 1 images have values outside of 0..4095 (from 5000 to 9000), which are clipped" in task.notes
    assert any((image == 255).all() for image in pixels(task))
    (data / "test" / "ant" / "0.png").write_bytes(saved(values(3, 0, 255, "u1"), "PNG"))
    with pytest.raises(DataError, match="beside images of another depth"):
        loaded(data)


@pytest.mark.parametrize("dataset", ["npz", "parquet", "csv"])
def test_every_source_has_the_rule(dataset: str, tmp_path: Path) -> None:
    images = [values(number, 0, 4000) for number in range(2 * TRAIN)]
    labels = [number % 2 for number in range(2 * TRAIN)]
    if dataset == "npz":
        np.savez(tmp_path / "set.npz", images=np.stack(images), labels=labels)
    elif dataset == "parquet":
        pq.write_table(pa.table({"image": [*map(saved, images)], "label": labels}), tmp_path / "train.parquet")
    else:
        for number, image in enumerate(images):
            (tmp_path / f"{number}.tif").write_bytes(saved(image))
        rows = "".join(f"{number}.tif,{number % 2}\n" for number in range(2 * TRAIN))
        (tmp_path / "a.csv").write_text("path,label\n" + rows)
    task = loaded(tmp_path, dataset)
    assert task.pixel_scale == PixelScale(integers=(0, 4095))
    assert {image.tobytes() for image in pixels(task)} == {(image >> 4).astype("u1").tobytes() for image in images}


@pytest.mark.parametrize(
    ("dtype", "low", "high", "scale"),
    [
        ("f4", 0, 1, PixelScale(floats=(0, 1))),
        ("f8", 0, 255, PixelScale(floats=(0, 255))),
        ("i8", 0, 255, PixelScale(integers=(0, 255))),
        (">u2", 0, 65_535, PixelScale(integers=(0, 65535))),
        ("?", 0, 1, EIGHT_BITS),
    ],
)
def test_arrays_of_any_numbers(dtype: str, low: float, high: float, scale: PixelScale, tmp_path: Path) -> None:
    images = np.stack([values(number, low, high, channels=3, dtype=dtype) for number in range(2 * TRAIN)])
    if dtype == "?":  # else all would be one image, under two labels
        images.reshape(2 * TRAIN, -1)[range(2 * TRAIN), range(2 * TRAIN)] ^= True
    np.savez(tmp_path / "set.npz", images=images, labels=np.arange(2 * TRAIN) % 2)
    task = loaded(tmp_path, "npz")
    assert task.pixel_scale == scale
    assert all(image.max() > 200 for image in pixels(task))


def test_streamed_images_get_the_same_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = folder(tmp_path, FORMS["12 bits in a PNG"][0])
    stored = loaded(data, image_size=8)
    monkeypatch.setattr(task_module, "MEMORY_LIMIT", 0)
    streamed = loaded(data, image_size=8)
    assert streamed.pixel_scale == stored.pixel_scale
    assert "20 images are decoded while they are used; each was decoded once before, as a check" in streamed.notes
    train = dataclasses.replace(streamed.train, workers=0)  # type: ignore[type-var]
    (batch,) = [images for images, _ in train.batches(None, batch_size=64, device=torch.device("cpu"), generator=None)]
    assert batch.unique().numel() > 40


def model_of(task: Task) -> LoadedModel:
    card = describe_model(task, model="cnn-small", temperature=1.0, config=dict(TrialConfig().to_flat()))
    network = build_model("cnn-small", task.num_classes, in_channels=task.channels, image_size=8, seed=0)
    return LoadedModel(network.eval(), card)


def answer(model: LoadedModel, image: bytes, folder: Path) -> Prediction | Unreadable:
    path = folder / "asked.png"
    path.write_bytes(image)
    (found,) = predict(model, [path], device=torch.device("cpu"))
    return found


def test_a_prediction_sees_the_pixels_of_training(tmp_path: Path) -> None:
    task = loaded(folder(tmp_path / "data", FORMS["12 bits in a PNG"][0]))
    model = model_of(task)
    assert model.card.pixel_scale == {"integers": (0, 4095)}
    deep = values(5, 0, 4000)
    found, same = answer(model, saved(deep), tmp_path), answer(model, saved((deep >> 4).astype("u1"), "PNG"), tmp_path)
    assert isinstance(found, Prediction)
    assert isinstance(same, Prediction)
    assert found.probabilities == same.probabilities
    beyond = answer(model, saved(deep * 8), tmp_path)
    assert isinstance(beyond, Prediction)
    assert beyond.clipped > 0.5
    old = dataclasses.replace(model, card=dataclasses.replace(model.card, pixel_scale=None))  # of a release before
    high_byte = answer(model, saved((deep >> 8).astype("u1"), "PNG"), tmp_path)
    assert isinstance(high_byte, Prediction)
    assert answer(old, saved(deep), tmp_path) == high_byte


def test_a_model_of_8_bits_refuses_deep_images_that_are_in_doubt(tmp_path: Path) -> None:
    model = model_of(loaded(folder(tmp_path / "data", lambda n: saved(values(n, 0, 255, "u1"), "PNG"))))
    assert model.card.pixel_scale == {}
    doubtful = answer(model, saved(values(5, 0, 4000)), tmp_path)
    assert isinstance(doubtful, Unreadable)
    assert "the image is 16-bit with values from 0 to 4000" in doubtful.reason
    assert isinstance(answer(model, saved(values(5, 0, 60_000)), tmp_path), Prediction)


def test_other_data_are_measured_by_the_scale_of_the_model(tmp_path: Path) -> None:
    data = folder(tmp_path, FORMS["12 bits in a PNG"][0])
    known = loaded(data, scale=PixelScale(integers=(0, 16383)))
    assert known.pixel_scale == PixelScale(integers=(0, 16383))
    assert max(int(image.max()) for image in pixels(known)) == 4000 >> 6
    assert loaded(data, scale=loaded(data).pixel_scale).fingerprint == loaded(data).fingerprint
    before = loaded(data, scale=AS_BEFORE)
    assert max(int(image.max()) for image in pixels(before)) == 4000 >> 8
    assert before.pixel_scale.as_ever
    with pytest.raises(DataError, match="nothing says which of their values is white"):
        loaded(data, scale=EIGHT_BITS)  # of a model that knows none of more than 8 bits


def test_deep_values_without_a_scale_are_never_opened() -> None:
    for images in (ArrayImages(values(1, 0, 1, "f4")[None, None], "x"), ArrayImages(values(1, 0, 9)[None, None], "x")):
        with pytest.raises(DeepImageError, match="x, row 0"):
            images.open(0)
