"""A launch that is asked to stop at any moment of its life ends with words and a documented code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.processes import descendants

SPACE = """
version: 1
name: brief
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 2, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 1, heads_per_backbone: 2, rounds: 1, fresh_seeds: 2}
baselines: [tau_norm]
"""
NOTHING_BEGUN = "stopped before anything was begun; give the same command again"
NO_JOB = "stopped before any job was begun; continue with: tuner resume brief"
WORK_LEFT = "stopped with work left; continue with: tuner resume brief"
UNWRITTEN = "write it with: tuner report brief, and best.yaml with: tuner export brief"


class Held:
    """The command in a folder of its own, held at a place; a short name, for Ray's sockets."""

    def __init__(self, folder: Path, place: str, *arguments: str) -> None:
        self.folder = folder
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
        self.environment = {**kept, "OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "t")}
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("held_driver.py"), folder, place, *arguments],
            cwd=folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, start_new_session=True,
        )  # fmt: skip

    def wait_for(self, is_so: Callable[[], bool]) -> None:
        while not is_so():
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.02)

    def reached(self) -> bool:
        return (self.folder / "reached").exists()

    def catches_sigterm(self) -> bool:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        caught = next(line for line in status.splitlines() if line.startswith("SigCgt"))
        return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)

    def starts_ray(self) -> bool:
        return any("gcs_server" in process.title for process in descendants(self.process.pid))

    def send(self, *signals: signal.Signals) -> None:
        for number in signals:
            self.process.send_signal(number)
            time.sleep(0.3)

    def go(self) -> tuple[int, str]:
        """Lets it go on, to its end."""
        (self.folder / "go").touch()
        _, err = self.process.communicate(timeout=180)
        assert "Traceback" not in err, err
        return self.process.returncode, err

    def state(self) -> str:
        ran = self.tuner("status", "brief", "--json")
        return str(json.loads(ran.stdout)["state"])

    def tuner(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip


Start = Callable[..., Held]


@pytest.fixture(autouse=True)
def not_under_nohup() -> None:
    """A test run that ignores SIGHUP would hand that on to the commands it starts."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture
def start() -> Iterator[Start]:
    folder = Path(tempfile.mkdtemp(prefix="m-", dir="/tmp"))
    (folder / "t").mkdir()
    (folder / "space.yaml").write_text(SPACE)
    made: list[Held] = []

    def launch(place: str, *arguments: str) -> Held:
        for mark in ("reached", "go"):
            (folder / mark).unlink(missing_ok=True)
        made.append(Held(folder, place, *(arguments or ("launch", "--space", "space.yaml", "-j", "1"))))
        return made[-1]

    yield launch
    for one in made:
        if one.process.poll() is None:
            one.process.kill()
            one.process.communicate()
    shutil.rmtree(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_launch_that_has_begun_nothing_says_so(start: Start, number: signal.Signals) -> None:
    driver = start("search_spaces:load")
    driver.wait_for(driver.reached)
    driver.send(number)
    assert driver.go() == (75, f"{NOTHING_BEGUN}\n")


def test_a_command_that_cannot_be_resumed_says_that_it_stopped(start: Start) -> None:
    """`tuner train` and all others."""
    driver = start("tuner.retrain.train:train_export", "train", "best.yaml")
    driver.wait_for(driver.reached)
    driver.send(signal.SIGTERM)
    assert driver.go() == (130, "error: this command was stopped at once\n")


def test_nohup_outlives_its_terminal(start: Start) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does, for the process that it starts
    try:
        driver = start("search_spaces:load", "launch", "--space", "nowhere.yaml")
    finally:
        signal.signal(signal.SIGHUP, before)
    driver.wait_for(driver.reached)
    driver.send(signal.SIGHUP)
    assert driver.go()[0] == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "words", "state"),
    [
        ("tuner.preflight:dry_build", NOTHING_BEGUN, None),
        ("tuner.execution.ray_session:sweep_scratch", NO_JOB, "stopped"),
        ("tuner.search.planner:Planner.next_task", WORK_LEFT, "stopped"),
        ("studies.store:Store.record_reading", WORK_LEFT, "stopped"),
    ],
)
def test_once_is_75_and_resume_goes_on(start: Start, place: str, words: str, state: str | None) -> None:
    driver = start(place)
    driver.wait_for(driver.reached)
    driver.send(signal.SIGTERM)
    code, err = driver.go()
    assert (code, err.splitlines()[-1]) == (75, words)
    if state is not None:
        assert driver.state() == state
    if place.endswith("record_reading"):  # of all these it has the least left
        assert driver.tuner("resume", "brief").returncode == 0
        assert driver.state() == "done"


@pytest.mark.slow
@pytest.mark.parametrize("place", ["tuner.preflight:dry_build", "tuner.search.planner:Planner.next_task"])
def test_twice_is_130(start: Start, place: str) -> None:
    driver = start(place)
    driver.wait_for(driver.reached)
    driver.process.send_signal(signal.SIGTERM)
    driver.process.send_signal(signal.SIGINT)  # either of them may be the first for Python
    code, err = driver.go()
    assert code in ((130, 75) if "dry_build" in place else (130,)), err
    assert "stopped" in err


@pytest.mark.slow
def test_a_signal_while_ray_starts_is_heard(start: Start) -> None:
    driver = start("-")
    driver.wait_for(driver.starts_ray)
    driver.send(signal.SIGTERM)
    code, err = driver.go()
    assert (code, err.splitlines()[-1]) == (75, NO_JOB), err
    assert driver.state() == "stopped"


@pytest.mark.slow
def test_a_report_is_written_to_its_end_and_a_second_signal_leaves_it(start: Start) -> None:
    driver = start("tuner.launch:publish_results")
    driver.wait_for(driver.reached)
    assert "is not running, but done" in driver.tuner("stop", "brief").stderr
    driver.send(signal.SIGTERM, signal.SIGTERM)
    code, err = driver.go()
    assert (code, UNWRITTEN in err) == (130, True), err
    again = start("tuner.launch:publish_results")
    again.wait_for(again.reached)
    again.send(signal.SIGTERM)
    code, err = again.go()
    assert (code, "its report is being written" in err) == (0, True), err
    assert (again.folder / "runs" / "brief" / "best.yaml").exists()
    last = start("tuner.commands.run:_print_finished")
    last.wait_for(last.reached)
    last.send(signal.SIGTERM)
    assert last.go()[0] == 0


@pytest.mark.slow
def test_stop_is_heard_as_long_as_anything_is_left(start: Start) -> None:
    """While test data are read and fresh seeds are trained, too; and it harms no later launch."""
    driver = start("studies.store:Store.record_reading")
    driver.wait_for(driver.reached)
    assert "asked brief to stop" in driver.tuner("stop", "brief").stdout
    code, err = driver.go()
    assert (code, driver.state()) == (75, "stopped"), err
    assert driver.tuner("resume", "brief").returncode == 0
    assert driver.state() == "done"


@pytest.mark.slow
def test_a_terminal_that_is_closed_stops_a_launch_and_ends_no_worker(start: Start) -> None:
    driver = start("tuner.terminal.time_left:Running.progressed")
    driver.wait_for(driver.reached)
    os.killpg(driver.process.pid, signal.SIGHUP)  # as the kernel does, to all processes of the terminal
    code, err = driver.go()
    assert (code, err.splitlines()[-1]) == (75, WORK_LEFT), err
    assert driver.state() == "stopped"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.1, 1, 3, 6, 10])
def test_a_signal_at_any_time_ends_in_words(start: Start, seconds: float) -> None:
    driver = start("-")
    driver.wait_for(driver.catches_sigterm)
    time.sleep(seconds)
    driver.process.send_signal(signal.SIGTERM)
    out, err = driver.process.communicate(timeout=180)
    assert driver.process.returncode == 0 or "tuner resume brief" in err or "give the same command" in err, err
    assert driver.process.returncode in (75, 0), err
    assert "Traceback" not in err
    assert driver.process.returncode or "report" in out
