"""Every command on a page is a command, with options that exist, and every command has a page; links lead somewhere.

The pages are README.md, CONTRIBUTING.md and docs/. The long commands are run by test_launch, the short ones here.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from tuner.cli import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = {page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8") for page in PAGES}
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]


def shell_lines(text: str) -> list[str]:
    """The commands in the shell blocks of a page, continued lines joined."""
    blocks = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
    return [line.strip() for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.strip()]


def inline(text: str) -> list[str]:
    """The commands within a sentence, `tuner launch` and the like."""
    return re.findall(r"`(tuner [^`]+)`", text.replace("\n", " "))


SHOWN = [(page, line) for page, text in TEXT.items() for line in (*shell_lines(text), *inline(text))]
OF_TUNER = [(page, line) for page, line in SHOWN if line.startswith("tuner ")]
IN_BLOCKS = [line for text in TEXT.values() for line in shell_lines(text)]


def test_there_are_commands_to_check() -> None:
    assert len([line for page, line in OF_TUNER if page == "README.md"]) >= 4
    assert len(OF_TUNER) >= 30


@pytest.mark.parametrize(("page", "line"), OF_TUNER)
def test_a_command_on_a_page_parses(page: str, line: str) -> None:
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command = COMMANDS[words[0]]
    if words[1:] or line in IN_BLOCKS:  # `tuner train` in a sentence is the command's name alone
        command.make_context(words[0], words[1:], resilient_parsing=False)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_command_is_shown_on_a_page(name: str) -> None:
    assert any(line.split()[:2] == ["tuner", name] for line in IN_BLOCKS)


@pytest.mark.parametrize("line", ["tuner spaces", "tuner schema", "tuner --version"])
def test_the_short_commands_run(line: str) -> None:
    done = subprocess.run([sys.executable, "-m", *line.split()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {line.split()[1] for line in IN_BLOCKS if line.startswith("make ")}
    targets |= {target for text in TEXT.values() for target in re.findall(r"`make (\w+)`", text)}
    assert {"run", "test", "dev", "slow"} <= targets
    assert [target for target in sorted(targets) if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_the_users_targets_install_no_developers_tools() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    needs = dict(re.findall(r"^([\w$()]+):([^=\n]*)$", makefile, flags=re.MULTILINE))
    recipe = makefile.partition("\n$(STAMP):")[2].partition("\n\n")[0]
    assert needs["run"].split() == ["$(STAMP)"]
    assert "-e ." in recipe
    assert "--group" not in recipe
    assert all("$(DEV_STAMP)" in needs[name] for name in ("test", "slow", "lint", "chaos", "bench", "audit", "dev"))


@pytest.mark.parametrize("page", TEXT)
def test_a_link_leads_to_a_file(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)", TEXT[page])
    assert [link for link in links if ":" not in link and not ((ROOT / page).parent / link).is_file()] == []


def test_each_page_of_the_docs_is_linked_from_the_readme() -> None:
    assert [page for page in TEXT if page.startswith("docs/") and f"({page})" not in TEXT["README.md"]] == []


@pytest.mark.parametrize(("page", "least"), [("SECURITY.md", 11), ("RELIABILITY.md", 11), ("CONTRIBUTING.md", 9)])
def test_a_test_that_a_page_names_is_there(page: str, least: int) -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", (ROOT / page).read_text(encoding="utf-8"))
    assert len(named) >= least
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_a_file_that_contributing_names_is_there() -> None:
    named = re.findall(
        r"`((?:trainers|studies|search_spaces|tuner|docs|benchmarks)/[\w/.-]+)`", TEXT["CONTRIBUTING.md"]
    )
    assert len(named) > 10
    assert [name for name in named if "NAME" not in name and not (ROOT / name).is_file()] == []


def test_every_exit_code_has_a_row() -> None:
    rows = re.findall(r"^\| (\d+) \|", TEXT["docs/exit-codes.md"], flags=re.MULTILINE)
    assert rows == ["0", "1", "2", "3", "4", "75", "130"]
