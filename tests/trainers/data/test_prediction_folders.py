"""Which files of a folder are classified: those that are images for training, too."""

import logging
from pathlib import Path

import pytest

from trainers.errors import DataError
from trainers.predict import image_files


def test_junk_is_left_out_and_other_files_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in (
        "b/1.png",
        "a.JFIF",
        "._a.jpg",
        "@eaDir/a.jpg",
        ".ipynb_checkpoints/a-checkpoint.jpg",
        "c.heic",
        "d.txt",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    with caplog.at_level(logging.WARNING):
        assert image_files([tmp_path]) == [tmp_path / "a.JFIF", tmp_path / "b" / "1.png"]
    assert caplog.messages == [f"{tmp_path}: not used, as they are no images by name: .heic 1, .txt 1"]


def test_a_file_that_is_asked_for_is_taken_whatever_its_name(tmp_path: Path) -> None:
    assert image_files([tmp_path / "._a.jpg"]) == [tmp_path / "._a.jpg"]


def test_a_folder_of_junk(tmp_path: Path) -> None:
    (tmp_path / "._a.jpg").write_bytes(b"x")
    with pytest.raises(DataError, match="no image in this folder"):
        image_files([tmp_path])
