"""The dashboard of a running study: fresh now and then, never dear, and in a real browser the figure is on the page."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from search_spaces import load
from studies.dashboard.publish import DASHBOARD_FIGURES
from studies.export.write import dump_config, export_config
from studies.locks.study_lock import study_lock
from studies.report.write import write_report
from studies.store import Store
from studies.study_data import load_study_data
from trainers.results import JobResult
from tuner.cli import app
from tuner.errors import TunerError
from tuner.paths import Home
from tuner.publishing import Publisher, show_results
from tuner.search.planner import Planner


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "runs")


@pytest.fixture
def store(home: Home, pretend: Callable[..., JobResult]) -> Iterator[Store]:
    """A study that has run to its end, without any training."""
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4"])
    home.root.mkdir()
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name="shown", **known) as opened:
        planner = Planner(space, opened)
        while (task := planner.next_task()) is not None:
            planner.complete(task, pretend(task))
        opened.set_state("done")
        yield opened


def attributes(store: Store) -> dict[str, Any]:
    study = store.optuna_study()
    found: dict[str, Any] = study._storage.get_study_system_attrs(study._study_id)
    return found


class Clock:
    """Time that passes when told to, and by `cost` at each publication."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_publishes_at_most_once_a_minute_and_less_often_when_it_is_dear(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, costs = Clock(), chain([0.5, 30.0], repeat(0.0))
    publisher = Publisher(store=None, home=None, clock=clock)  # type: ignore[arg-type]

    def publish(self: Publisher) -> bool:
        clock.now += next(costs)
        return True

    monkeypatch.setattr(Publisher, "publish", publish)
    moments = []
    for second in range(0, 3600, 5):
        clock.now = max(clock.now, float(second))
        if publisher.now_and_then(second):
            moments.append(second)
    assert moments[:3] == [10, 45, 1575]  # after 30 s of work it rests for 1500 s: two per cent


def test_nothing_new_is_not_published_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    publisher = Publisher(store=None, home=None, clock=clock)  # type: ignore[arg-type]
    monkeypatch.setattr(Publisher, "publish", lambda self: True)
    shown = []
    for ended in (0, 3, 3, 4):
        clock.now += 100
        shown.append(publisher.now_and_then(ended))
    assert shown == [False, True, False, True]


def test_a_study_that_is_being_run_is_left_to_its_driver(store: Store, home: Home) -> None:
    with study_lock(home.storage_url, store.name), socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        port = busy.getsockname()[1]
        ran = CliRunner().invoke(app, ["dashboard", "--home", str(home.root), "--port", str(port)])
    assert "its driver updates the page" in ran.stderr
    assert not any(key.startswith("dashboard:plot_data:") for key in attributes(store))
    assert isinstance(ran.exception, TunerError)
    assert f"port {port} cannot be used" in str(ran.exception)


def test_a_dashboard_that_cannot_be_written_does_not_end_the_search(
    store: Store, home: Home, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    publisher = Publisher(store, home, clock=clock)
    clock.now = 61.0
    assert publisher.now_and_then(5)
    assert home.report(store.name).exists()
    assert home.best(store.name).exists()
    assert any(key.startswith("dashboard:plot_data:") for key in attributes(store))

    def broken(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("studies.dashboard.publish.publish", broken)
    clock.now = 2000.0
    assert not publisher.now_and_then(5)  # nothing new
    assert not caplog.records
    assert not publisher.now_and_then(6)
    assert "no space left on device" in caplog.text


def test_files_are_replaced_not_piled_up(store: Store, home: Home) -> None:
    data = load_study_data(store)
    home.study(store.name).mkdir(parents=True)
    home.best(store.name).write_text("first")
    show_results(store, data, home)
    before = attributes(store)
    home.best(store.name).write_text("second")
    show_results(store, data, home)
    assert attributes(store).keys() == before.keys()
    (artifact,) = [key for key in before if key.startswith("artifacts:")]
    (file,) = home.artifacts.iterdir()
    assert artifact == f"artifacts:{file.name}"
    assert file.read_text() == "second"
    from optuna.artifacts import get_all_artifact_meta

    (meta,) = get_all_artifact_meta(store.optuna_study())
    assert meta.filename == "best.yaml"


@pytest.mark.browser
def test_a_browser_finds_the_figure_on_the_study_page(store: Store, home: Home, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None and not os.environ.get("CI"):
        pytest.skip("no chromium on PATH")
    assert browser is not None, "CI runs the browser tests, but there is no chromium on PATH"
    data = load_study_data(store)
    write_report(data, home.report(store.name))
    home.best(store.name).write_text(dump_config(export_config(data)))
    page = tmp_path / "study.html"
    switches = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    switches += ["--virtual-time-budget=20000", "--window-size=1400,3400", f"--user-data-dir={tmp_path / 'profile'}"]
    with served(home) as address:
        study = f"{address}/dashboard/studies/{store.optuna_study()._study_id}"
        note = f"{address}/dashboard/studies/{store.optuna_study()._study_id}/note"
        shot = f"--screenshot={tmp_path / 'study.png'}"
        found = subprocess.run(
            [browser, *switches, shot, "--dump-dom", study], capture_output=True, text=True, timeout=180, check=True
        )
        written = subprocess.run(
            [browser, *switches, "--dump-dom", note], capture_output=True, text=True, timeout=180, check=True
        )
    page.write_text(found.stdout)
    places = [found.stdout.index(title) for title in DASHBOARD_FIGURES.values()]
    assert places == sorted(places)  # in the order of their numbers
    assert (tmp_path / "study.png").stat().st_size > 20_000
    assert all(name in found.stdout for name in ("report.html", "best.yaml"))
    assert "was chosen on validation" in written.stdout


class served:
    """`tuner dashboard` on a free port, ended with the block."""

    def __init__(self, home: Home) -> None:
        self._home = home
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]

    def __enter__(self) -> str:
        command = [
            sys.executable,
            "-m",
            "tuner",
            "dashboard",
            "--port",
            str(self._port),
            "--home",
            str(self._home.root),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        address = f"http://127.0.0.1:{self._port}"
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{address}/api/studies", timeout=5).close()
            except OSError:
                assert self._process.poll() is None, "tuner dashboard ended"
                time.sleep(0.1)
            else:
                return address
        raise TimeoutError("tuner dashboard did not answer")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
