"""Real launches that are watched, locked out, stopped, killed and starved; nothing may be lost or left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from tests.support.postgres_server import PostgresServer, postgres_programs
from tests.support.processes import (
    Process,
    at_work,
    descendants,
    environment,
    holders,
    listening,
    ray_server,
    ray_workers,
    read,
    survivors,
)

PASSWORD = "not-asked-for"  # in the URL of the tests' PostgreSQL
NO_POSTGRES = "PostgreSQL's initdb and postgres are neither on PATH nor in /usr/lib/postgresql"

SPACE = """
version: 1
name: endless
task: {dataset: digits-lt, imbalance_factor: 50, model: cnn-small}
stage1: {epochs: 100000, weight_decay: {low: 1e-3, high: 5e-2, log: true}}
stage2: {epochs: 2, weight_decay: {low: 1e-3, high: 1e-1, log: true}}
budget: {backbones: 1, heads_per_backbone: 2, rounds: 1, max_failed: 0, max_retries: 1}
baselines: [naive, tau_norm]
"""


class Place:
    """A home and a temporary folder of their own; short names, for Ray's sockets."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self.home, self.scratch = folder, folder / "runs", folder / "t"
        self.scratch.mkdir()
        (folder / "endless.yaml").write_text(SPACE)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "TUNER_"))}
        own = {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.scratch), "TUNER_CHECKPOINT_SECONDS": "0"}
        self.environment = {**kept, **own, "TUNER_HOME": str(self.home), **({"TUNER_STORAGE": url} if url else {})}
        self.log = folder / "log"

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A driver, whose output goes to the log."""
        with self.log.open("w") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "tuner", *arguments, "--parallel", "1"],
                cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """A command that ends by itself."""
        return subprocess.run(
            [sys.executable, "-m", "tuner", *arguments],
            cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip

    def training(self, driver: subprocess.Popen[bytes], *, without: int = 0) -> Process:
        """Waits until a worker (not the one numbered `without`) has written a checkpoint; returns its process."""
        since = time.time()
        while driver.poll() is None:
            saved = any(path.stat().st_mtime > since for path in self.home.glob("cache/*/checkpoint.json"))
            workers = [worker for worker in ray_workers(descendants(driver.pid)) if worker.pid != without]
            if saved and workers:
                return workers[0]
            time.sleep(0.1)
        raise AssertionError(f"the launch ended with {driver.returncode}:\n{self.log.read_text()}")

    def states(self, study: str = "endless") -> list[str]:
        """The states of all trials."""
        return [trial["state"] for trial in json.loads(self.run("trials", study, "--json").stdout)]


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))
    yield made
    shutil.rmtree(made)


def cannot_run(reason: str) -> NoReturn:
    """Skips the test; in CI, where everything is installed, a test that cannot run has failed."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer | None]:
    """A PostgreSQL server; None where the machine has no programs for it, which is a failure in CI."""
    programs = postgres_programs()
    if programs is None:
        if os.environ.get("CI"):
            cannot_run(NO_POSTGRES)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as folder:
        made = PostgresServer(programs, Path(folder))
        made.start()
        try:
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def storage(server: PostgresServer | None) -> str | None:
    """A PostgreSQL database behind a URL with a password; None, which is the home's SQLite, without a server."""
    return None if server is None else server.new_database()


Launched = tuple[Place, subprocess.Popen[bytes]]


@pytest.fixture(scope="module")
def endless(storage: str | None) -> Iterator[Launched]:
    """A study that trains for as long as anybody looks."""
    folder = Path(tempfile.mkdtemp(prefix="d-", dir="/tmp"))
    place = Place(folder, storage)
    driver = place.start("launch", "--space", "endless.yaml")
    try:
        place.training(driver)
        yield place, driver
    finally:
        driver.kill()
        driver.wait()
        shutil.rmtree(folder)


def test_everything_listens_on_the_loopback_alone(endless: Launched) -> None:
    _, driver = endless
    addresses = listening(_family(driver))
    assert addresses, "Ray's own servers must have been found"
    assert {address.rpartition(":")[0] for address in addresses} <= {"127.0.0.1", "::1"}, addresses


def test_neither_token_nor_password_is_shown_or_written(endless: Launched) -> None:
    place, driver = endless
    family = descendants(driver.pid)
    tokens = {match for process in family for match in environment(process.pid, "RAY_AUTH_TOKEN")}
    assert len(tokens) == 1
    secrets = [tokens.pop().encode(), PASSWORD.encode()]
    assert len(secrets[0]) == 64
    for process in _family(driver):
        assert not any(secret.decode() in process.title for secret in secrets), process.title
    read = 0
    for path in [place.log, *place.home.rglob("*"), *place.scratch.rglob("*")]:
        if path.is_file():
            read += 1
            assert not any(secret in path.read_bytes() for secret in secrets), path
    assert read > 10


def _family(driver: subprocess.Popen[bytes]) -> list[Process]:
    own = read(driver.pid)
    assert own is not None
    return [own, *descendants(driver.pid)]


def test_the_worker_that_trains_is_found_among_the_drivers_processes(endless: Launched) -> None:
    place, driver = endless
    (lease,) = place.home.glob("cache/*/lease")
    training = {process.pid for process in holders(lease)}  # whoever trains the backbone, whatever it is called
    assert len(training) == 1
    assert {worker.pid for worker in ray_workers(descendants(driver.pid))} == training
    while not (found := at_work(descendants(driver.pid))):  # between two of its calls it is not
        time.sleep(0.01)
    assert {worker.pid for worker in found} == training
    servers = [ray_server(descendants(driver.pid), program, of=driver.pid) for program in ("raylet", "gcs_server")]
    assert None not in servers
    assert not set(servers) & set(found)


def test_the_scratch_folder_is_the_users_alone(endless: Launched) -> None:
    (scratch,) = endless[0].scratch.glob("tuner-*")
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700


def test_a_second_driver_is_told_who_has_the_study(endless: Launched) -> None:
    place, driver = endless
    ran = place.run("launch", "--space", "endless.yaml")
    assert ran.returncode == 1
    assert re.search(rf"'endless' is already being run by pid={driver.pid}\b", ran.stderr), ran.stderr
    assert "note:" not in ran.stderr  # before the data were loaded


def test_a_killed_driver_takes_its_processes_along_and_the_next_one_cleans_up_and_goes_on(endless: Launched) -> None:
    place, driver = endless
    family = descendants(driver.pid)
    driver.kill()
    driver.wait()
    agents = ("ray::DashboardAgent", "ray::RuntimeEnvAgent")  # they try for a minute to tell the dead driver
    assert survivors([process for process in family if process.title not in agents], seconds=60) == []
    (left,) = place.scratch.glob("tuner-*")
    following = place.start("resume", "endless")
    try:
        place.training(following)
        assert not left.exists()
        assert place.states() == ["RUNNING"]  # the same trial, adopted
        _stop_now(place, following)
    finally:
        following.kill()
        following.wait()


def _stop_now(place: Place, driver: subprocess.Popen[bytes]) -> None:
    family = descendants(driver.pid)
    assert place.run("stop", "endless", "--now").returncode == 0
    assert driver.wait(timeout=60) == 130
    assert "tuner resume endless" in place.log.read_text()
    assert survivors(family, seconds=60) == []
    assert list(place.scratch.glob("tuner-*")) == []
    assert json.loads(place.run("status", "endless", "--json").stdout)["state"] == "stopped"
    assert place.states() == ["RUNNING"]


def test_a_worker_that_dies_twice_fails_its_job_with_a_reason(endless: Launched) -> None:
    place, before = endless
    before.kill()
    before.wait()
    driver = place.start("resume", "endless")
    try:
        first = place.training(driver)
        os.kill(first.pid, signal.SIGKILL)
        os.kill(place.training(driver, without=first.pid).pid, signal.SIGKILL)
        assert driver.wait(timeout=120) == 1
    finally:
        driver.kill()
        driver.wait()
    (failed,) = json.loads(place.run("trials", "endless", "--failed", "--json").stdout)
    assert "the worker process died" in failed["reason"]
    assert failed["reason"] in place.log.read_text()
    assert "Traceback" not in place.log.read_text()


TINY = ["--set", "stage1.epochs=2", "--set", "budget.max_failed=5"]


@pytest.mark.slow
def test_two_studies_on_one_database_at_once_both_complete(folder: Path, storage: str | None) -> None:
    place = Place(folder, storage)
    drivers = [place.start("launch", "--space", "endless.yaml", "--name", name, *TINY) for name in ("one", "two")]
    assert [driver.wait(timeout=300) for driver in drivers] == [0, 0], place.log.read_text()
    assert [place.states(name) for name in ("one", "two")] == [["COMPLETE"] * 3] * 2
    written = [path for path in place.home.rglob("*") if path.is_file()]
    assert {"best.yaml", "report.html", "report.json"} <= {path.name for path in written}
    assert not any(PASSWORD.encode() in path.read_bytes() for path in (*written, place.log))


@pytest.mark.slow
@pytest.mark.postgres
def test_a_server_that_stays_away_ends_the_launch_and_the_study_goes_on_when_it_is_back(
    folder: Path, server: PostgresServer | None
) -> None:
    if server is None:
        cannot_run(NO_POSTGRES)
    place = Place(folder, server.new_database())
    driver = place.start("launch", "--space", "endless.yaml")
    place.training(driver)
    server.stop()
    try:
        code, said = driver.wait(timeout=200), place.log.read_text()
    finally:
        server.start()
    assert code == 4, said
    assert "after waiting 60 s" in said
    assert "tuner resume STUDY" in said
    assert "Traceback" not in said
    assert PASSWORD not in said
    assert place.states() == ["RUNNING"]
    following = place.start("resume", "endless")
    try:
        place.training(following)
        _stop_now(place, following)
    finally:
        following.kill()
        following.wait()


@pytest.fixture
def small_disk(folder: Path) -> Iterator[Callable[[str], None]]:
    """A file system of a few MB at `folder`, and how to change its size."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        cannot_run("mounting a small tmpfs needs root")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=False)
    if mounted.returncode:
        cannot_run("this system does not allow a tmpfs to be mounted")
    yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True) and None
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("free_kb", [0, 200, 600, 1500])
def test_a_full_disk_is_said_and_after_making_space_the_study_completes(
    free_kb: int, folder: Path, small_disk: Callable[[str], None]
) -> None:
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as elsewhere:
        place = Place(Path(elsewhere))
        place.environment["TUNER_HOME"] = str(folder)
        used = sum(path.stat().st_size for path in folder.rglob("*")) // 1024
        small_disk(f"{used + 4 + free_kb}k")
        driver = place.start("launch", "--space", "endless.yaml", *TINY)
        code, said = driver.wait(timeout=300), place.log.read_text()
        assert code == 4, said
        assert "Traceback" not in said
        assert re.search(r"No space left|disk is full|disk I/O error|unable to open", said), said
        small_disk("64m")
        driver = place.start("launch", "--space", "endless.yaml", *TINY)
        assert driver.wait(timeout=300) == 0, place.log.read_text()
        assert place.states() == ["COMPLETE"] * 3


SEVERAL = ["--set", "stage1.epochs=40", "--set", "budget.backbones=6", "--set", "budget.max_failed=5"]


def with_results(place: Place) -> subprocess.Popen[bytes]:
    """A driver in the middle of a study, of which some trials are COMPLETE and most are not."""
    driver = place.start("launch", "--space", "endless.yaml", *SEVERAL)
    while driver.poll() is None:
        if place.log.read_text().count("COMPLETE") > 2:
            return driver
        time.sleep(0.1)
    raise AssertionError(f"the launch ended with {driver.returncode}:\n{place.log.read_text()}")


@pytest.mark.slow
def test_a_database_removed_amid_a_launch_ends_it_and_nothing_is_said_to_be_there(folder: Path) -> None:
    place = Place(folder)
    driver = with_results(place)
    try:
        (place.home / "studies.db").unlink()
        assert driver.wait(timeout=120) == 4, place.log.read_text()
    finally:
        driver.kill()
        driver.wait()
    said = place.log.read_text()
    assert "runs/studies.db was removed while it was in use" in said
    assert "what it held is lost" in said
    assert not re.search("Traceback|^report |^config ", said, re.MULTILINE), said
    assert not list(place.home.glob("studies.db"))


@pytest.mark.slow
def test_a_home_renamed_amid_a_launch_ends_it_and_the_study_goes_on_there(folder: Path) -> None:
    place = Place(folder)
    driver = with_results(place)
    try:
        place.home.rename(folder / "moved")
        place.environment["TUNER_HOME"] = str(folder / "moved")
        second = place.run("resume", "endless")  # told who has it, or, once that one has ended, goes on
        assert driver.wait(timeout=120) == 4, place.log.read_text()
    finally:
        driver.kill()
        driver.wait()
    said = place.log.read_text()
    assert f"it lies at {folder / 'moved' / 'studies.db'} now" in said
    assert not re.search("Traceback|^report |^config ", said, re.MULTILINE), said
    if second.returncode:
        assert second.returncode == 1, second.stderr
        assert f"is already being run by pid={driver.pid}" in second.stderr
        assert place.run("resume", "endless").returncode == 0
    assert place.states() == ["COMPLETE"] * 13
    assert (folder / "moved" / "endless" / "best.yaml").exists()


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A control group of the kernel's with little memory, of version 1 or 2."""
    about = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    first = "memory" in about
    root = Path("/sys/fs/cgroup/memory" if first else "/sys/fs/cgroup")
    group = root / about.get("memory", about.get("", "/")).lstrip("/") / f"tuner-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text("64M")
    except OSError as error:
        pytest.skip(f"this system does not allow a control group with little memory ({error})")
    yield group
    group.rmdir()


def ended(driver: subprocess.Popen[bytes]) -> int:
    """The exit code of a driver that ends by itself."""
    try:
        return driver.wait(timeout=180)
    finally:
        driver.kill()
        driver.wait()


NO_RETRY = ["--set", "budget.max_retries=0"]


@pytest.mark.slow
def test_a_worker_that_the_kernel_kills_for_want_of_memory_says_so(folder: Path, little_memory: Path) -> None:
    place = Place(folder)
    hungry = [sys.executable, Path(__file__).with_name("hungry_driver.py"), little_memory]
    asked = ["launch", "--space", "endless.yaml", "--parallel", "1", *NO_RETRY]
    with place.log.open("w") as log:
        driver = subprocess.Popen(
            [*hungry, *asked], cwd=folder, env=place.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    assert ended(driver) == 1, place.log.read_text()
    (failed,) = json.loads(place.run("trials", "endless", "--failed", "--json").stdout)
    assert "it was killed or crashed when the kernel killed a process for lack of memory" in failed["reason"]


@pytest.mark.slow
def test_rays_own_monitor_of_memory_is_told(folder: Path) -> None:
    place = Place(folder)
    place.environment |= {
        "RAY_memory_usage_threshold": "0.01",
        "RAY_memory_monitor_refresh_ms": "250",
    }  # 0.95 by itself
    driver = place.start("launch", "--space", "endless.yaml", *NO_RETRY)
    assert ended(driver) == 1
    (failed,) = json.loads(place.run("trials", "endless", "--failed", "--json").stdout)
    assert "Ray killed it because the machine was nearly out of memory" in failed["reason"]
    assert "Traceback" not in place.log.read_text()
