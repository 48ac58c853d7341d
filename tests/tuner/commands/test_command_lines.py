"""Command lines at random, over all commands and options: a documented exit code and a sentence, never a traceback.

The commands and their options are read from the program, so that a new one is fuzzed by itself. A seed makes the same
line on every machine: `pytest tests/tuner/commands/test_command_lines.py -m ''` tries all of them.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import random
import socket
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from PIL import Image

from search_spaces import load
from studies.export.write import dump_config, export_config
from studies.report.write import draw_panel
from studies.store import Store
from studies.study_data import StudyData, load_study_data
from tests.support.pretend import job_result
from trainers.config import TrialConfig
from trainers.files.model_file import describe_model, save_model
from trainers.job import load_task_once
from trainers.stage1.models import build_model
from trainers.weight_balance import LinearHead
from tuner import cli
from tuner.errors import StoppedError
from tuner.paths import Home
from tuner.search.planner import Planner

LINES, SLOW, EACH_TIME = 5_000, 2_000, 150
DOCUMENTED = {0, 1, 2, 3, 4, 75, 130}
NOT_FUZZED = {"install_completion", "show_completion"}  # typer's own: they ask which shell this is

WHAT_IS_RIGHT: dict[str, Sequence[str]] = {
    "study": ("small", "small", "other"), "others": ("other", "small"), "space": ("wd_maxnorm", "space.yaml"),
    "model": ("model.safetensors",), "images": ("image.png", "images"), "config": ("best.yaml",), "home": ("runs",),
    "storage": ("sqlite:///runs/studies.db",), "data": ("data",), "name": ("mine",), "trial": ("1", "3"),
    "dataset": ("digits-lt", "image-folder", "cifar10-lt", "csv", "npz"), "baseline": ("naive", "tau_norm"),
    "overrides": ("stage1.epochs=3", "task.val_per_class=5", "budget.backbones=2", "stage2.method=crt"),
    "output": ("out", "out/file", "link"), "pareto": ("front",), "seeds": ("0,1", "7"), "clear": ("all", "0"),
    "form": ("torch-export", "onnx"),
}  # fmt: skip
LONG = ("x" * 300, "x/" * 3000, "9" * 30, "9" * 400, "9" * 5000, "x" * 5000)
TEXTS = (
    *LONG, "", " ", "\0", "a\0b", "\udc80", "é", "../../x", "/", ".", "..", "-", "--", "[/red]", "[bold]x", "\x1b[2J",
    "\x9b31m", "\u202e", "a\nerror: b", "a\rb", "nan", "inf", "-1", "0", "1e308", "%00", "a%20b", "x?1", "#", "{x}",
    "%s", "=", "a=b", "null", "None", "true", "0,0", "0,-1", "1,,2", ",", "٣", "@file", "$HOME", "'; DROP TABLE x; --",
)  # fmt: skip
OVERRIDES = tuple(
    f"{name}={value}"
    for name in ("stage1.lr", "stage1.seed", "stage1.epochs", "stage2.method", "task.data", "task.val_per_class",
                 "budget.backbones", "budget.hours", "baselines", "objective", "nothing")
    for value in ("", "nan", "-1", "1e308", "9" * 30, "9" * 5000, "x", "[", "{low: 1, high: 2}", "\x1b", "\udc80")
)  # fmt: skip
NUMBERS = (
    *LONG[2:5], "", " ", "nan", "inf", "-inf", "-1", "0", "-0.0", "1", "2", "0.5", "1e3", "1e308", "1e-320", "1e999",
    "9223372036854775808", "1_000", "0x10", "٣", "x", "\0", "\udc80", "[/red]", "1 2", "true",
)  # fmt: skip
PATHS = (
    *LONG[:2], "", " ", "\0", "a\0b", "\udc80", ".", "..", "-", "none", "none/deeper/x", "folder", "fifo",
    "socket", "loop", "dangling", "huge", "empty", "junk", "readonly", "image.png", "best.yaml/x", "fifo/x", "~", "~/x",
    "~nobody-at-all/x", "/dev/zero", "/dev/full", "/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/mem",
    "/proc/self/fd/1", "[/red]", "a\nb", "\x1b[2J", "%00", "a%20b", "x?1", "#", "studies.db", "runs/studies.db",
    "runs/cache", "file:x", "runs/small/best.yaml",
)  # fmt: skip
URLS = (
    "sqlite://", "sqlite:///", "sqlite:///new.db", "sqlite:///folder", "sqlite:///fifo", "sqlite:///junk",
    "sqlite:///loop", "sqlite:////dev/zero", "sqlite:////dev/full", "sqlite:///:memory:", "sqlite:///a%00b",
    "sqlite:///a\0b", "sqlite:///none/deeper/x.db", "sqlite:///x?y", "sqlite:///file:x?mode=memory&uri=true",
    "mysql://x", "oracle://a:secret@b/c", "postgresql://a:b:c@d:e/f", "://", "x",
    "sqlite", "sqlite:///" + "x" * 300,
)  # fmt: skip


@functools.cache
def program() -> Any:
    """The program as typer makes it, once: making it takes longer than most lines."""
    return typer.main.get_command(cli.app)


def commands() -> dict[str, Any]:
    """Its commands, by name."""
    found: dict[str, Any] = program().commands
    return found


def odd(parameter: Any, chance: random.Random) -> str:
    """A value that the parameter has not been made for, or only just."""
    if parameter.name == "storage":
        return chance.choice((*URLS, *URLS, *TEXTS))
    if parameter.name == "overrides":
        return chance.choice((*OVERRIDES, *TEXTS))
    kind = {"PATH": PATHS, "NUMBER": NUMBERS}.get(parameter.metavar or "", TEXTS)
    if "Path" in str(parameter.type_descriptor.annotation):
        kind = PATHS
    return chance.choice(kind)


def command_line(seed: int) -> list[str]:
    """A command with some of its options: most have a right value, one or two an odd one."""
    chance = random.Random(seed)
    known = commands()
    name = sorted(known)[seed % len(known)] if chance.random() < 0.98 else chance.choice(TEXTS)
    parameters = [p for p in known[name].params if p.name not in NOT_FUZZED] if name in known else []
    wrong = {p.name for p in chance.sample(parameters, min(len(parameters), chance.choice((0, 0, 1, 1, 1, 2))))}
    words: list[str] = []
    for parameter in parameters:
        words += _words(parameter, chance, wrong=parameter.name in wrong)
    if chance.random() < 0.05:
        words.insert(chance.randrange(len(words) + 1), chance.choice((*TEXTS, "--nothing", "-x", "--json", "--help")))
    return [name, *words]


def _words(parameter: Any, chance: random.Random, *, wrong: bool) -> list[str]:
    if not (wrong or (parameter.required and chance.random() < 0.97)) and chance.random() < 0.8:
        return []
    spelt = [] if parameter.param_type_name == "argument" else [chance.choice(parameter.opts)]
    if getattr(parameter, "is_flag", False):
        return spelt if parameter.name != "help" or chance.random() < 0.1 else []
    right = WHAT_IS_RIGHT.get(parameter.name) or ("1",)
    values = [odd(parameter, chance) if wrong else chance.choice(right)]
    if (parameter.multiple or parameter.nargs == -1) and chance.random() < 0.3:
        values.append(odd(parameter, chance))
    return [word for value in values for word in (*spelt, value)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two small studies that have ended, a model, an export, data, and things that are no files."""
    folder = tmp_path_factory.mktemp("lines") / "of their own"
    folder.mkdir()
    home = Home(folder / "runs")
    home.root.mkdir()
    for name in ("small", "other"):
        _study(home, name)
    (folder / "space.yaml").write_text("version: 1\ntask: {dataset: digits-lt}\nname: mine\nstage1: {epochs: 2}\n")
    with Store.open(home.storage_url, "small") as store:
        (folder / "best.yaml").write_text(dump_config(export_config(load_study_data(store))))
    _model(folder / "model.safetensors")
    for name in ("images", "data/train/a", "data/train/b", "folder"):
        (folder / name).mkdir(parents=True)
        for i in range(12):
            Image.new("RGB", (8, 8), (20 * i, ord(name[-1]), 3)).save(folder / name / f"{i}.png")
    Image.new("L", (8, 8)).save(folder / "image.png")
    os.mkfifo(folder / "fifo")
    (folder / "loop").symlink_to("loop")
    (folder / "dangling").symlink_to("not-there")
    (folder / "link").symlink_to("linked")
    (folder / "linked").write_text("old")
    (folder / "empty").touch()
    (folder / "junk").write_bytes(bytes(range(256)) * 16)
    with (folder / "huge").open("wb") as file:
        file.truncate(2**40)  # a hole
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket"))
    return folder


def _study(home: Home, name: str) -> None:
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4"], name=name)
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name=name, **known) as opened:
        planner = Planner(space, opened)
        while (task := planner.next_task()) is not None:
            planner.complete(task, job_result(task.configs, read_test=task.kind == "reading"))
        opened.set_state("done")


def _model(path: Path) -> None:
    config = TrialConfig()
    card = describe_model(
        load_task_once(config.task), model="cnn-small", temperature=1.0, config=dict(config.to_flat())
    )
    network = build_model("cnn-small", 10, in_channels=1, image_size=8, seed=0)
    save_model(path, network, LinearHead(torch.zeros(10, 128), torch.zeros(10)), card)


_drawn: dict[tuple[str, str], Any] = {}


def _drawn_once(name: str, data: StudyData) -> Any:
    """A figure of a study as the report draws it, without its two seconds a page."""
    key = name, data.study.name
    if key not in _drawn:
        _drawn[key] = draw_panel(name, data)
    return _drawn[key]


@pytest.fixture
def ended_early(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder as the current one. Whatever would train, serve or take long ends when all its checks have passed."""

    def after_the_preflight(*_: object, **__: object) -> None:
        raise StoppedError("ended after its preflight")

    def written(model: object, path: Path, *, form: str) -> float:
        path.write_text(form)
        return 0.0

    class Nobody(contextlib.nullcontext[None]):
        def serve_forever(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr("tuner.launch.study_lock", after_the_preflight)
    monkeypatch.setattr("tuner.retrain.train.train_seed", after_the_preflight)
    monkeypatch.setattr("tuner.retrain.model_export.write_checked", written)
    monkeypatch.setattr("studies.dashboard.server.server", lambda *_, **__: Nobody())
    monkeypatch.setattr("studies.report.images.svg", lambda figures: dict.fromkeys(figures, b"<svg/>"))
    monkeypatch.setattr("studies.report.write.draw_panel", _drawn_once)
    for name in ("TUNER_HOME", "TUNER_STORAGE", "TUNER_CHECKPOINT_SECONDS", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    made_once = program()
    monkeypatch.setattr("typer.main.get_command", lambda _: made_once)
    monkeypatch.setattr("tuner.publishing.show_results", lambda *_: None)
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.chdir(made)
    return made


_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_CHANGES = dict.fromkeys(
    ("os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.chmod", "os.utime", "sqlite3.connect"), 1
) | dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2)  # events, and how many paths each begins with
_watched: list[Path] = []  # the folder that may be written to while a line runs
_outside: list[str] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    """Notes what is written, made, moved or removed outside of the folder; an audit hook can never be taken away."""
    if not _watched:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES
    for place in arguments[: 1 if writes else _CHANGES.get(event, 0)]:
        if isinstance(place, str | bytes | os.PathLike) and "\0" not in os.fsdecode(place):
            _note(event, os.fsdecode(place))


def _note(event: str, place: str) -> None:
    if place in ("", ":memory:") or place.startswith("file:"):
        return
    real = Path(os.path.realpath(place))
    if event == "sqlite3.connect" and not real.is_file():
        return  # a device or folder, of which SQLite finds that it is no database
    if not real.is_relative_to(_watched[0]) and real != Path(os.devnull) and "__pycache__" not in real.parts:
        _outside.append(f"{event} {place}")


sys.addaudithook(_hook)


def surroundings(seed: int) -> dict[str, str]:
    """Variables that the command reads, most often none of them."""
    chance = random.Random(-1 - seed)
    kinds = {"TUNER_HOME": PATHS, "TUNER_STORAGE": URLS, "TUNER_CHECKPOINT_SECONDS": NUMBERS, "COLUMNS": NUMBERS}
    if chance.random() < 0.9:
        return {}
    name = chance.choice(sorted(kinds))
    return {name: chance.choice([value for value in kinds[name] if "\0" not in value])}


def ran(line: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Exit code, output and errors of a command line. What is not expected comes out as the exception that it is."""
    monkeypatch.setattr(sys, "argv", ["tuner", *line])
    streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
    code: object = 0
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            cli.main()
        except SystemExit as ended:
            code = ended.code or 0
    for stream in streams:
        stream.flush()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)  # type: ignore[attr-defined]
    assert isinstance(code, int)
    return code, out, err


def check(line: list[str], code: int, out: str, err: str) -> None:
    """What every command owes to whoever gives it."""
    assert code in DOCUMENTED
    assert code == 0 or err.strip(), "an exit code without a word"
    assert "Traceback" not in err
    assert all(letter.isprintable() or letter == "\n" for letter in out + err)
    if (
        code == 0
        and "--json" in line
        and "--watch" not in line
        and line[0] not in ("predict",)
        and "--help" not in line
    ):
        json.loads(out)


@pytest.mark.filterwarnings(  # Pillow leaves a file open of which the first bytes cannot be read
    "ignore::pytest.PytestUnraisableExceptionWarning"
)
@pytest.mark.parametrize(
    "seeds",
    [
        range(EACH_TIME),
        *(
            pytest.param(range(n, n + 1_000), marks=pytest.mark.slow if n < SLOW else pytest.mark.exhaustive)
            for n in range(0, LINES, 1_000)
        ),
    ],
    ids=lambda seeds: f"from {seeds.start} to {seeds.stop}",
)
def test_a_command_line_ends_in_words(seeds: range, ended_early: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, names = Counter[int](), Counter[str]()
    kept = {name: (ended_early / name).read_bytes() for name in ("best.yaml", "model.safetensors", "space.yaml")}
    for seed in seeds:
        line = command_line(seed)
        for name, content in kept.items():  # an earlier line may have named it for its output
            (ended_early / name).write_bytes(content)
        _watched.append(ended_early.parent)  # which `--home ..` means
        try:
            with monkeypatch.context() as around:
                for name, value in surroundings(seed).items():
                    around.setenv(name, value)
                code, out, err = ran(line, around)
        except BaseException as error:
            pytest.fail(f"seed {seed}: {line} raised {type(error).__name__}: {error}")
        finally:
            _watched.clear()
        try:
            check(line, code, out, err)
        except (AssertionError, ValueError) as error:
            pytest.fail(f"seed {seed}: {line} ended with {code}: {error}\n{out}\n{err}")
        assert not _outside, f"seed {seed}: {line} wrote {_outside}"
        codes[code] += 1
        names[line[0]] += code == 0
    code, out, _ = ran(["status", "--json"], monkeypatch)
    assert code == 0
    assert {study["study"] for study in json.loads(out)} == {"other", "small"}, "a line has taken a study"
    assert {code for code, n in codes.items() if n > len(seeds) / 100} >= {0, 1, 2, 3}
    if len(seeds) > EACH_TIME:
        never = set(commands()) - {name for name, n in names.items() if n}
        assert never <= {"launch", "resume", "train", "stop"}, "of the others some line must be right"
