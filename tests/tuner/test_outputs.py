"""What the user names for output: a plain file is written whole or not at all, and nothing else is touched."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tuner.errors import UsageError
from tuner.outputs import refuse_special, staged

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def special(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipe, a socket, a folder and a loop; a device can be made only as root, and need not be."""
    monkeypatch.chdir(tmp_path)
    os.mkfifo("fifo")
    Path("folder").mkdir()
    Path("loop").symlink_to("loop")
    Path("to-fifo").symlink_to("fifo")
    Path("to-null").symlink_to("/dev/null")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    return tmp_path


def write(target: Path, text: str = "new") -> None:
    with staged(target) as draft:
        draft.write_text(text)


@pytest.mark.parametrize(
    "name",
    ["fifo", "socket", "folder", "to-fifo", "to-null", "/dev/null", "/dev/full", "/dev/stdout", "/dev/fd/1", "-", ".",
     "..", "/", "/proc/self/fd/1"],
)  # fmt: skip
def test_what_is_no_place_for_a_file_is_refused_and_left(special: Path, name: str) -> None:
    before = {path.name: path.lstat().st_mode for path in special.iterdir()}
    device = Path("/dev/null").stat()
    with pytest.raises(UsageError, match=r"file|folder"):
        write(Path(name))
    assert {path.name: path.lstat().st_mode for path in special.iterdir()} == before
    assert (Path("/dev/null").stat().st_ino, stat.S_ISCHR(device.st_mode)) == (device.st_ino, True)


def test_a_loop_is_told_by_the_system(special: Path) -> None:
    with pytest.raises(OSError, match="symbolic links") as caught:
        write(Path("loop"))
    assert caught.value.filename == "loop"


def test_a_standard_output_that_is_a_file_is_not_replaced(tmp_path: Path) -> None:
    with (tmp_path / "redirected").open("w") as file, pytest.raises(UsageError, match="give the file's name"):
        refuse_special(Path(f"/proc/self/fd/{file.fileno()}"))


def test_a_file_is_replaced_whole_with_its_rights(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "file"
    write(file, "old")
    file.chmod(0o600)
    write(file)
    assert file.read_text() == "new"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["file"]  # noqa: PTH208


def test_a_database_is_never_replaced(kept_home: Path, studies_in: Callable[[Path], list[str]]) -> None:
    for name in ("studies.db", "studies.db-wal"):
        place = kept_home / name
        if not place.exists():
            place.write_bytes(b"\x37\x7f\x06\x82" + bytes(28))
        before = place.read_bytes()
        with pytest.raises(UsageError, match="is a database"):
            write(place)
        assert place.read_bytes() == before
    assert studies_in(kept_home) == ["kept"]


def test_a_link_is_written_through_also_where_it_leads_to_nothing_yet(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "link"
    link.symlink_to("elsewhere/file")
    for text in ("first", "second"):
        write(link, text)
        assert link.is_symlink()
        assert (tmp_path / "elsewhere" / "file").read_text() == text


def test_a_link_to_another_file_system_is_written_through(tmp_path: Path) -> None:
    shared = Path("/dev/shm")
    if not os.access(shared, os.W_OK) or shared.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system to write to")
    target = shared / f"tuner-test-{os.getpid()}"
    (tmp_path / "link").symlink_to(target)
    try:
        for text in ("first", "second"):
            write(tmp_path / "link", text)
            assert target.read_text() == text
    finally:
        target.unlink(missing_ok=True)


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path / "file", "old")

    def fails() -> None:
        with staged(tmp_path / "file") as draft:
            draft.write_text("half of")
            raise OSError(28, "No space left on device", str(draft))

    with pytest.raises(OSError, match="No space") as caught:
        fails()
    assert caught.value.filename == str(tmp_path / "file")  # what was asked for, and not the draft
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "old"}


def test_of_several_files_none_is_written_where_one_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "page_tables").mkdir()
    os.mkfifo(tmp_path / "page_tables" / "b.csv")

    def writes() -> None:
        with staged(tmp_path / "page.html") as draft:
            draft.write_text("page")
            draft.with_name("page_tables").mkdir()
            for name in ("a.csv", "b.csv"):
                draft.with_name("page_tables").joinpath(name).write_text("table")

    with pytest.raises(UsageError, match=r"b\.csv is a device, a pipe or a socket"):
        writes()
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")) == [
        "page_tables",
        "page_tables/b.csv",
    ]


@pytest.mark.parametrize("name", ["/dev/full", "fifo", "socket", "to-fifo"])
@pytest.mark.parametrize(
    "asked",
    [("report", "kept", "-o"), ("export", "kept", "-o"), ("export", "kept", "--pareto"), ("train", "best.yaml", "-o"),
     ("export-model", "model.safetensors", "-o")],
    ids=" ".join,
)  # fmt: skip
def test_a_command_refuses_it_before_all_else(
    kept_home: Path, command: Command, special: Path, asked: tuple[str, ...], name: str
) -> None:
    home = ("--home", str(kept_home)) if "kept" in asked else ()
    assert command(*asked, name, *home)[0] == 2
    assert not Path(name).is_file()
