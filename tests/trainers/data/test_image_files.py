"""What is an image file by name, and what is never data."""

import pytest
from PIL import Image

from trainers.data.decoding import FORMATS
from trainers.data.image_files import IMAGE_SUFFIXES, SUFFIXES, is_image_name, is_junk_name

IMAGES = "a.png A.PNG a.JPG a.jpeg a.jfif a.jpe a.jif a.tif a.TIFF a.webp a.gif a.bmp a.pgm a.pbm a.pnm a.ppm x.y.png"
NO_IMAGES = "a.heic a.avif a.tga a.npy a.txt a png .png a.png.txt a.eps a.pdf a.svg a.jpg_large a.pfm ._x.jpg .x.jpg"
JUNK = (
    ".DS_Store .ipynb_checkpoints @eaDir __MACOSX lost+found Thumbs.db desktop.ini ._x.jpg .git $RECYCLE.BIN THUMBS.DB "
    ".hidden.jpg #recycle"
)


@pytest.mark.parametrize("name", IMAGES.split())
def test_images(name: str) -> None:
    assert is_image_name(name)


@pytest.mark.parametrize("name", NO_IMAGES.split())
def test_no_images(name: str) -> None:
    assert not is_image_name(name)


@pytest.mark.parametrize("name", [*JUNK.split(), "System Volume Information", "Icon\r"])
def test_junk(name: str) -> None:
    assert is_junk_name(name)
    assert not is_image_name(name)


@pytest.mark.parametrize("name", ["ant", "a.png", "thumbs", "Desktop", "eaDir", "lost and found", "~", "_"])
def test_no_junk(name: str) -> None:
    assert not is_junk_name(name)


def test_suffixes_are_those_of_the_formats_that_are_opened() -> None:
    assert set(SUFFIXES) == set(FORMATS)
    Image.init()
    alike = {"MPO": "JPEG", "DIB": "BMP"}
    for suffix, kind in Image.registered_extensions().items():
        if suffix in IMAGE_SUFFIXES:
            assert suffix in SUFFIXES[alike.get(kind, kind)]
        else:
            assert kind not in FORMATS or suffix == ".pfm"  # of floats
