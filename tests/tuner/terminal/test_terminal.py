"""Text that is not ours reaches a terminal as text: no markup, no escape, no line of its own. There is no other way."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from rich.live import Live
from rich.table import Table
from rich.text import Text

import search_spaces
import studies
import trainers
import tuner
from search_spaces import load
from studies.records import Failure, FailureKind
from studies.store import Store
from tests.support.pretend import job_result
from trainers.config import TrialConfig
from trainers.files.model_file import describe_model, save_model
from trainers.job import load_task_once
from trainers.stage1.models import build_model
from trainers.weight_balance import LinearHead
from tuner.errors import TunerError
from tuner.paths import Home
from tuner.search.planner import Planner
from tuner.terminal.live import LiveTable, PlainLines
from tuner.terminal.output import PlainConsole, json_text, say, styled, take_over_output, terminal_safe
from tuner.terminal.time_left import Running

Command = Callable[..., tuple[int, str]]
OBEYED = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\x7f\x00\u202e\u2066\u2028\u0085\t"
HOSTILE = f"[/red][bold]:boom:{OBEYED}\nstate=COMPLETE"
SHOWN = r"[/red][bold]:boom:\x1b]0;owned\x07\x1b[2J\x9b31m\r\x08\x7f\x00\u202e\u2066\u2028\x85\t\nstate=COMPLETE"
FOLDER = "x[/red][bold]\x1b[2J\x9b31m\u202e"
FOLDER_SHOWN = r"x[/red][bold]\x1b[2J\x9b31m\u202e"
OURS = re.compile(r"\x1b\[[0-9;]*m|\x1b\[[0-9]*[AK]|\x1b\[\?25[lh]|\r(?=\x1b)")  # colours, and the live table's moves


def harmless(text: str) -> bool:
    """Whether nothing in it steers a terminal but what rich does for us."""
    return all(letter.isprintable() or letter == "\n" for letter in OURS.sub("", text))


@pytest.fixture(params=["pipe", "terminal"])
def seen_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "400")
    if request.param == "terminal":
        monkeypatch.setenv("FORCE_COLOR", "1")
    return str(request.param)


@pytest.fixture
def said(command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs `tuner`; returns its exit code and all that it printed, as bytes would reach a terminal."""

    def run(*arguments: str) -> tuple[int, str]:
        from tuner import cli

        monkeypatch.setattr(sys, "argv", ["tuner", *arguments])
        code: object = 0
        with (
            io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict") as out,
            monkeypatch.context() as patched,
        ):
            patched.setattr(sys, "stdout", out)
            patched.setattr(sys, "stderr", out)
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code or 0
            out.flush()
            assert isinstance(out.buffer, io.BytesIO)
            printed = out.buffer.getvalue().decode()
        assert isinstance(code, int)
        return code, printed

    return run


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Images of two classes, one with a name that a file system allows and a terminal should not see."""
    data = tmp_path / "x[/red][bold]\u202e"  # a space refuses control characters by itself
    for k, name in enumerate(("plain", HOSTILE.replace("/", "").replace("\0", ""))):
        for split, images in (("train", 20), ("test", 4)):
            (data / split / name).mkdir(parents=True)
            for i in range(images):
                Image.new("RGB", (8, 8), (7 * i, 40 * k, 9)).save(data / split / name / f"{i}.png")
    return data


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A study that has ended, with a failed trial whose reason is hostile, and a hostile class and setting."""
    space = load("wd_maxnorm.yaml", overrides=["budget.backbones=2", "budget.heads_per_backbone=4"])
    home = Home(tmp_path_factory.mktemp("runs"))
    known = {"space_yaml": space.to_yaml(), "space_sha256": space.sha256, "objective": space.objective}
    with Store.create_or_open(home.storage_url, name="shown", **known) as opened:
        planner = Planner(space, opened)
        for place in range(1000):
            if (task := planner.next_task()) is None:
                break
            if place == 1:
                planner.fail(task, Failure(FailureKind.ERROR, HOSTILE.replace("\0", "")))
            else:
                planner.complete(task, job_result(task.configs, read_test=task.kind == "reading"))
        opened.set_state("done")
    return home


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file whose card names a class that would clear the screen."""
    config = TrialConfig()
    task = load_task_once(config.task)
    card = describe_model(task, model="cnn-small", temperature=1.0, config=dict(config.to_flat()))
    card = card.__class__(**{**vars(card), "class_names": (HOSTILE, *card.class_names[1:])})
    import torch

    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    head = LinearHead(torch.zeros(10, 128), torch.tensor([9.0] + [0.0] * 9))
    save_model(path, build_model("cnn-small", 10, in_channels=1, image_size=8, seed=0), head, card)
    return path


def test_what_does_not_print_is_shown_and_the_rest_left_alone() -> None:
    assert terminal_safe(HOSTILE) == SHOWN
    assert terminal_safe("Äpfel, 猫, 🐈, ½") == "Äpfel, 猫, 🐈, ½"
    assert terminal_safe("\udc80\ud800") == r"\udc80\ud800"
    stream = io.StringIO()
    say(HOSTILE, to=stream)
    assert stream.getvalue() == f"{SHOWN}\n"


def test_json_is_valid_escaped_and_readable() -> None:
    text = json_text({HOSTILE: "Äpfel \udc80 \U000e0001"}, indent=2)
    assert all(letter.isprintable() or letter == "\n" for letter in text)
    assert "Äpfel" in text
    assert json.loads(text) == {HOSTILE: "Äpfel \udc80 \U000e0001"}


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_shows_strings_cells_titles_and_text_alike(terminal: bool) -> None:
    file = io.StringIO()
    console = PlainConsole(file=file, width=300, force_terminal=terminal)
    table = Table(title=HOSTILE, caption=HOSTILE)
    table.add_column(HOSTILE)
    table.add_row(HOSTILE)
    with console.status(styled(HOSTILE)), Live(table, console=console, auto_refresh=False):
        console.print(HOSTILE, table)
    console.print(styled(HOSTILE, "red"), Text(HOSTILE))  # the last by a way that no code of ours takes
    assert harmless(file.getvalue())
    assert file.getvalue().count(SHOWN) >= 6


def test_a_narrow_console_cuts_what_is_shown() -> None:
    console = PlainConsole(file=io.StringIO(), width=20)
    table = Table(box=None)
    table.add_column(no_wrap=True)
    table.add_row(HOSTILE)
    console.print(table)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(map(len, lines)) <= 20


def test_launch_shows_the_names_in_its_notes(
    folders: Path, tmp_path: Path, said: Command, seen_on: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: object) -> None:
        raise TunerError("nothing is trained here")

    monkeypatch.setattr("tuner.launch.search", ended)
    asked = ("--dataset", "image-folder", "--data", str(folders), "--set", "task.imbalance_factor=null")
    monkeypatch.setattr("trainers.data.task.split_notes", lambda parts, names: [f"class {name!s}" for name in names])
    code, text = said("launch", "--space", "wd_maxnorm", *asked, "--home", str(tmp_path / "runs"))
    assert code == 1, text
    assert r"class [red][bold]:boom:\x1b]0;owned" in text
    assert harmless(text)


def test_check_shows_what_it_finds(folders: Path, said: Command, seen_on: str) -> None:
    asked = ("--dataset", "image-folder", "--data", str(folders), "--set", "task.imbalance_factor=null")
    code, text = said("check", "wd_maxnorm", *asked, "--set", "task.val_per_class=19")
    assert code == 0, text
    assert harmless(text)
    code, text = said("check", "wd_maxnorm", "--dataset", "image-folder", "--data", f"{folders}[/red]none")
    assert code == 1
    assert r"\u202e[/red]none" in text
    assert harmless(text)


@pytest.mark.parametrize(
    "arguments",
    [
        ("trials", "shown", "--failed"), ("trials", "shown"), ("trials", "shown", "--json"), ("status",),
        ("status", "shown", "--watch"), ("status", "--json"), ("best", "shown"), ("best", "shown", "--pareto"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_looking_at_a_study_obeys_none_of_its_text(
    home: Home, said: Command, seen_on: str, arguments: tuple[str, ...]
) -> None:
    code, text = said(*arguments, "--home", str(home.root))
    assert code == 0, text
    assert harmless(text)
    if arguments[0] == "trials" and "--json" not in arguments:
        assert SHOWN.replace(r"\x00", "") in text
    if "--json" in arguments:
        json.loads(text)


def test_predict_and_evaluate_show_the_names_of_the_card(
    model: Path, tmp_path: Path, said: Command, seen_on: str
) -> None:
    image = tmp_path / f"{FOLDER.replace('/', '')}.png"
    Image.new("L", (8, 8)).save(image)
    (tmp_path / "\x1b[2Jnone.png").write_text("no image")
    code, text = said("predict", str(model), str(image))
    assert code == 0, text
    assert SHOWN in text
    assert FOLDER_SHOWN.replace("/", "") in text
    assert harmless(text)
    code, text = said("predict", str(model), str(image), "--json")
    assert json.loads(text)["class"] == HOSTILE
    assert harmless(text)
    code, text = said("predict", str(model), str(tmp_path / "\x1b[2Jnone.png"))
    assert code == 1
    assert r"\x1b[2Jnone.png" in text
    assert harmless(text)
    code, text = said("evaluate", str(model))
    assert r"\x1b" in text  # the digits are not its classes, which it names
    assert harmless(text)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("status", "[/red]\x1b[2J"), 3, r"[/red]\x1b[2J"),
        (("status", "--foo[/red]\x1b[2J"), 2, r"--foo[/red]"),
        (("[bold]x\u202e",), 2, r"[bold]x\u202e"),
        (("trials",), 2, "Missing argument"),
        (("predict", "[/red]\x9b31m\nerror: no", "x"), 3, r"[/red]\x9b31m\nerror: no"),
        (("train", "[/red]\x9b31m.yaml"), 3, r"[/red]\x9b31m.yaml"),
        (("check", "[/red]\x9b31m\n.yaml"), 3, r"[/red]\x9b31m\n.yaml"),
        (("check", "wd_maxnorm", "--set", "[/red]\x9b\n=3"), 2, r"[/red]"),
        (("export-model", "x", "--format", "[/red]\x1b[2J", "-o", "y"), 2, r"[/red]\x1b[2J"),
        (("cache", "--trim-gb", "[/red]\x1b[2J"), 2, r"[/red]\x1b[2J"),
    ],
)  # fmt: skip
def test_errors_quote_and_do_not_obey(
    said: Command, seen_on: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], code: int, words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    ended, text = said(*arguments)
    assert ended == code, text
    assert words in text
    assert harmless(text)
    assert "error: " in text.splitlines()[-1]


def test_a_bad_place_in_a_file_of_a_hostile_name_is_one_line(said: Command, tmp_path: Path) -> None:
    for name in ("space", "export"):
        file = tmp_path / f"[red]\x1b[2J\n{name}.yaml"
        file.write_text("nothing: here\n")
        code, text = said(*(("check", str(file)) if name == "space" else ("train", str(file))))
        assert code == 2
        assert harmless(text)
        assert all(": error: " in line for line in text.splitlines())


def test_the_live_table_and_the_log_show_reasons(home: Home) -> None:
    space = load("wd_maxnorm.yaml")
    screen, log = io.StringIO(), io.StringIO()
    with Store.open(home.storage_url, "shown") as store:
        planner = Planner(space, store)
        running = Running(planner)
        console = PlainConsole(file=screen, force_terminal=True, width=300)
        live = LiveTable(planner, running, name="shown", console=console)
        task = planner.next_task()
        assert task is not None
        for watcher in (live, PlainLines(planner, running, stream=log)):
            watcher.started("a", task)
            watcher.ended("a", task, Failure(FailureKind.ERROR, HOSTILE))
            watcher.close()
    assert SHOWN in screen.getvalue()
    assert harmless(screen.getvalue())
    assert harmless(log.getvalue())
    assert all(line.startswith("trial=") for line in log.getvalue().splitlines())


def test_warnings_logs_and_tracebacks_are_shown_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((logging, "lastResort"), (warnings, "formatwarning"), (sys, "excepthook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    take_over_output()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    resort = logging.lastResort
    assert resort is not None
    resort.handle(logging.makeLogRecord({"msg": "%s", "args": (HOSTILE,), "levelno": logging.WARNING}))
    stream.write(warnings.formatwarning(HOSTILE, UserWarning, FOLDER, 3))
    sys.excepthook(ValueError, ValueError(HOSTILE), None)
    assert harmless(stream.getvalue())
    assert stream.getvalue().count(r"[bold]:boom:\x1b]0;owned") == 3


def test_an_output_that_knows_ascii_only_is_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "köter").mkdir()
    ran = subprocess.run(
        [sys.executable, "-m", "tuner", "status", "é½"],
        cwd=tmp_path / "köter",
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(Path(str(tuner.__file__)).parents[1]), "PYTHONIOENCODING": "ascii", "TUNER_HOME": "é"},
    )
    assert ran.returncode == 3, ran.stderr
    assert r"no study '\xe9\xbd'" in ran.stderr


@pytest.mark.parametrize("columns", ["0", "9" * 5000, "²", "-1", "x", ""])
def test_a_width_that_cannot_be_is_none(
    said: Command, home: Home, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    code, text = said("status", "--home", str(home.root))
    assert code == 0, text
    assert "shown" in text


def test_the_version_is_told(said: Command) -> None:
    code, text = said("--version")
    assert code == 0, text
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*\n", text)


PRINTS = {
    "print", "Console", "PlainConsole", "Text", "typer.echo", "typer.secho", "click.echo", "Text.from_markup",
    "Text.from_ansi", "render_markup", "get_console", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__",
    "logging.StreamHandler", "logging.basicConfig", "logging.lastResort", "warnings.showwarning", "os.write",
    "rich.print", "traceback.print_exc", "pprint.pprint", "faulthandler.enable", "console.file.write",
}  # fmt: skip
ALLOWED = {
    "tuner/terminal/output.py": PRINTS,
    "tuner/terminal/streams.py": {"sys.stdout", "sys.stderr"},  # wraps them for a while
    "tuner/cli.py": {"sys.stdout", "sys.stderr"},  # hands them to `say`
    "trainers/__main__.py": {"print", "sys.stderr"},  # a leaf, which knows no other package: escapes by itself
    "tuner/stopping.py": {"os.write", "sys.__stderr__"},  # a signal amid another write; escapes by itself
    "studies/locks/file_lock.py": {"os.write"},  # into the lock file
    "studies/sql/tables.py": {"Text"},  # a column
}


def prints(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Names by which text leaves a process, and the lines on which they are used; annotations are no use."""
    notes = {
        id(inner)
        for node in ast.walk(tree)
        for note in (getattr(node, "annotation", None), getattr(node, "returns", None))
        if isinstance(note, ast.AST)
        for inner in ast.walk(note)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in notes:
            name = ast.unparse(node)
            if name in PRINTS:
                yield node.lineno, name
        if isinstance(node, ast.ImportFrom) and node.module in ("rich", "rich.markup", "rich.pretty"):
            yield node.lineno, f"from {node.module}"


def test_nothing_is_printed_but_through_the_one_file() -> None:
    found = []
    for package in (tuner, trainers, studies, search_spaces):
        root = Path(str(package.__file__)).parent
        for file in sorted(root.rglob("*.py")):
            name = file.relative_to(root.parent).as_posix()
            tree = ast.parse(file.read_text(encoding="utf-8"))
            found += [f"{name}:{line}: {what}" for line, what in prints(tree) if what not in ALLOWED.get(name, ())]
    assert found == []


@pytest.mark.parametrize("line", ["print(1)", "import typer\ntyper.echo('a')", "c = Console()", "sys.stdout.write('a')",
                                  "from rich import print as p", "from rich.markup import escape"])  # fmt: skip
def test_the_search_finds_a_new_print(line: str) -> None:
    assert list(prints(ast.parse(line)))
