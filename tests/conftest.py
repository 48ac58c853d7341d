"""The real command in this process, and a home whose database must outlive whatever it is given."""

from __future__ import annotations

import contextlib
import io
import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("busy machine", deadline=None)  # time decides no test
settings.load_profile("busy machine")

# Files of launches that wait more than they compute; the two processes of `make test` begin with them, so that neither
# ends with a long one alone.
LONGEST = (
    "test_chaos", "test_stopping", "test_disasters", "test_launch", "test_stop_moments", "test_command_lines",
    "test_gpu_campaign", "test_fuzz", "test_same_code", "test_executors", "test_onlookers", "test_publishing",
    "test_engine", "test_browser", "test_side_by_side",
)  # fmt: skip

Command = Callable[..., tuple[int, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `tuner`; returns its exit code and output. What it does not expect comes out as the exception that it is."""
    from tuner import cli

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["tuner", *arguments])
        code: object = 0
        with stream("strict") as out, stream("backslashreplace") as err:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    cli.main()
                except SystemExit as ended:
                    code = ended.code or 0
            printed, said = written(out), written(err)
        assert isinstance(code, int), code
        assert "Traceback" not in said
        assert code == 0 or said.strip(), "an exit code without a word"
        return code, printed

    return run


def stream(errors: str) -> io.TextIOWrapper:
    """One of Python's own standard streams, as they are in UTF-8: strict for output, and never at a loss for errors."""
    return io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors=errors)


def written(to: io.TextIOWrapper) -> str:
    to.flush()
    assert isinstance(to.buffer, io.BytesIO)
    return to.buffer.getvalue().decode()


@pytest.fixture
def kept_home(tmp_path: Path) -> Path:
    """A home in whose database there is one study, named `kept`."""
    from studies.store import Store

    home = tmp_path / "runs"
    url = f"sqlite:///{home / 'studies.db'}"
    Store.create_or_open(url, name="kept", space_yaml="", space_sha256="0", objective="val.balanced_accuracy").close()
    return home


@pytest.fixture
def studies_in(command: Command) -> Callable[[Path], list[str]]:
    """The studies that a home's database holds, as the command reads it."""

    def names(home: Path) -> list[str]:
        code, out = command("status", "--json", "--home", str(home))
        assert code == 0
        return [study["study"] for study in json.loads(out)]

    return names


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Signal handlers as they were: the command keeps its own until its process ends."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)
