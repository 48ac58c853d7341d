"""What a header says of an image: format, mode, and bits as they are stored, whatever Pillow makes of them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from trainers.data.decoding import Header, read_header
from trainers.data.headers import digests, headers
from trainers.data.images import ArrayImages, EncodedImages, FileImages
from trainers.errors import DataError


def encoded(image: Image.Image, form: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("mode", "form", "bits"),
    [
        ("RGB", "JPEG", 8), ("RGBA", "PNG", 8), ("L", "PNG", 8), ("1", "PNG", 1), ("I;16", "PNG", 16),
        ("I;16", "TIFF", 16), ("F", "TIFF", 32), ("RGB", "BMP", 8), ("P", "GIF", 8), ("RGB", "WEBP", 8),
    ],
)  # fmt: skip
def test_bits_are_those_of_the_file(mode: str, form: str, bits: int) -> None:
    found = read_header(encoded(Image.new(mode, (6, 4)), form), "x")
    assert found == Header(format=form, mode=mode, bits=bits, size=(6, 4))


def test_headers_come_in_order_from_files_tables_and_arrays(tmp_path: Path) -> None:
    for place, side in enumerate((3, 5)):
        Image.new("L", (side, side)).save(tmp_path / f"{place}.png")
    (tmp_path / "2.png").write_text("no image")
    files = FileImages(tuple(str(tmp_path / f"{place}.png") for place in range(3)))
    rows = EncodedImages(pa.array([Path(path).read_bytes() for path in files.paths], pa.large_binary()), "x")
    for images in (files, rows):
        first, second, third = headers(images)
        assert isinstance(first, Header)
        assert isinstance(second, Header)
        assert (first.size, second.size) == ((3, 3), (5, 5))
        assert isinstance(third, DataError)
    arrays = ArrayImages(np.zeros((2, 1, 4, 6), dtype=np.uint8), "x")
    assert list(headers(arrays)) == [Header(format="array", mode="L", bits=8, size=(6, 4))] * 2


def test_images_that_are_missing_have_no_digest(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"a")
    images = FileImages(tuple(str(tmp_path / name) for name in ("gone.png", "a.png")))
    assert list(digests(images)) == [(1, images.digest(1))]


def test_an_array_has_the_bits_of_its_numbers() -> None:
    images = ArrayImages(np.zeros((2, 1, 4, 4), dtype=np.float32), "a.npz")
    assert [one.bits for one in headers(images) if isinstance(one, Header)] == [32, 32]


@pytest.mark.parametrize("form", ["TIFF", "GIF", "PNG", "WEBP"])
def test_a_header_says_of_several_pages_or_frames(form: str) -> None:
    stream, pages = io.BytesIO(), [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    pages[0].save(stream, form, save_all=True, append_images=pages[1:])
    assert read_header(stream.getvalue(), "a").several
