"""All that looks at a study, in a loop beside its driver: no error on either side, and the same study in the end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SPACE = """
version: 1
name: watched
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 4, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 3, heads_per_backbone: 3, rounds: 1}
baselines: [tau_norm]
"""
NOT_YET = ("no study", "no finished trial", "no complete trial")  # what a look before the first result says
LOOKS = (
    ("export", "watched", "-o", "looked.yaml"),
    ("report", "watched", "-o", "looked.html"),
    ("status", "watched", "--json"),
    ("trials", "watched", "--json"),
    ("best", "watched"),
)


class Place:
    """A folder with the space; a short name, for Ray's sockets."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "t").mkdir()
        (folder / "space.yaml").write_text(SPACE)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
        self.environment = {**kept, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "t"), "PYTHONUNBUFFERED": "1"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    def results(self) -> list[Any]:
        """All that a study found, but for times."""
        rows = json.loads(self.run("trials", "watched", "--json")[1])
        return [
            {key: value for key, value in row.items() if key in ("number", "state", "value", "params")} for row in rows
        ]


@pytest.fixture
def places() -> Iterator[list[Place]]:
    folders = [Path(tempfile.mkdtemp(prefix="o-", dir="/tmp")) for _ in range(2)]
    yield [Place(folder) for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)


@pytest.mark.slow
def test_onlookers_in_a_loop_and_their_driver_do_not_disturb_each_other(places: list[Place]) -> None:
    alone, watched = places
    assert alone.run("launch", "--space", "space.yaml", "-j", "1")[0] == 0
    driver = watched.start("launch", "--space", "space.yaml", "-j", "1")
    said: list[str] = []
    reader = threading.Thread(target=lambda: said.extend(driver.communicate()))
    reader.start()
    looks = pages = 0
    dashboard: subprocess.Popen[str] | None = None
    try:
        while driver.poll() is None:
            for look in LOOKS:
                code, out, err = watched.run(*look)
                looks += code == 0
                assert code == 0 or any(words in err for words in NOT_YET), (look, code, err)
                assert "Traceback" not in out + err
                if dashboard is None and code == 0:
                    dashboard, address = serve(watched)
                pages += 0 if dashboard is None else ask(address)
        reader.join()
        assert driver.returncode == 0, said
        assert not any("Traceback" in text for text in said)
    finally:
        driver.kill()
        reader.join()
        if dashboard is not None:
            dashboard.kill()
            dashboard.communicate()
    assert looks >= len(LOOKS)
    assert pages >= len(LOOKS)
    assert watched.results() == alone.results()


def serve(place: Place) -> tuple[subprocess.Popen[str], str]:
    """The dashboard on a port that is free, and its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = place.start("dashboard", "--port", str(port))
    assert process.stdout is not None
    line = process.stdout.readline()
    assert str(port) in line, process.communicate()
    return process, f"http://127.0.0.1:{port}"


def ask(address: str) -> int:
    """Requests what the page of a study asks for; returns how many answers came."""
    with urllib.request.urlopen(f"{address}/api/studies", timeout=60) as answer:
        studies = json.load(answer)["study_summaries"]
    for study in studies:
        with urllib.request.urlopen(f"{address}/api/studies/{study['study_id']}?after=0", timeout=60) as answer:
            assert answer.status == 200
    return len(studies)
