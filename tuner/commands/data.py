"""The command that looks at data before anything is launched on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from tuner.commands.options import JsonOption, SetOption, path_argument, path_option, text_option
from tuner.terminal.output import say, say_json, screen, styled

if TYPE_CHECKING:
    from collections.abc import Callable

    from tuner.survey.look import Look


def data(
    data: Annotated[Path, path_argument(help="A folder or file of images with labels.")],
    dataset: Annotated[
        Optional[str], text_option("--dataset", help="Its form, such as image-folder or csv (default: recognised).")
    ] = None,
    overrides: SetOption = None,
    output: Annotated[
        Optional[Path], path_option("--output", "-o", help="Write the space that would suit it, e.g. my_space.yaml.")
    ] = None,
    page: Annotated[
        Optional[Path], path_option("--html", help="Write a page with figures and a few images of each class.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="With -o: replace an existing file.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at your own data: what it is, how long its tail is, what is wrong, and which space suits it.

    Example: tuner data path/to/images --html look.html -o my_space.yaml
    """
    from tuner.errors import NotThereError, TunerError, UsageError
    from tuner.survey.look import look

    if not data.expanduser().exists():
        raise NotThereError(f"{data}: there is no such file or folder")
    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists; give another name, or --force to replace it")
    written: list[tuple[str, Path]] = []
    with screen(stderr=True).status(styled("looking")) as status:  # shown on a terminal only

        def tell(step: str) -> None:
            status.update(styled(step))

        found = look(data.expanduser(), dataset, overrides or (), say=tell)
        if page is not None:
            written.append(("page", _write_page(found, page, tell)))
        if output is not None and found.task is not None:
            written.append(("space", _write_space(found, output, overrides or (), tell)))
    _show(found, written, as_json=as_json)
    if found.survey.refusal is not None:
        lost = "; no space was written" if output is not None else ""
        raise TunerError(f"a launch would refuse this data{lost}: {found.survey.refusal}")


def _show(found: Look, written: list[tuple[str, Path]], *, as_json: bool) -> None:
    from tuner.survey.chart import terminal_survey
    from tuner.survey.survey import as_tree

    if as_json:
        say_json({**as_tree(found.survey), "written": {what: str(path) for what, path in written}}, indent=2)
        return
    screen().print(terminal_survey(found.survey))
    for what, path in written:
        say(f"{what:9}{path}")
    space = next((path for what, path in written if what == "space"), None)
    if space is not None:
        say(f"{'next':9}tuner launch --space {space}")
    elif found.task is not None:
        say(f"{'next':9}the same command with -o my_space.yaml writes a space that suits this data")


def _write_page(found: Look, target: Path, tell: Callable[[str], None]) -> Path:
    from tuner.outputs import staged
    from tuner.survey.page import page

    tell("drawing the page")
    with staged(target) as draft:
        draft.write_text(page(found.survey, found.source, found.scale), encoding="utf-8", errors="backslashreplace")
    return target


def _write_space(
    found: Look, target: Path, overrides: list[str] | tuple[str, ...], tell: Callable[[str], None]
) -> Path:
    from tuner.outputs import staged
    from tuner.survey.look import suggested_space

    with staged(target) as draft:
        draft.write_text(suggested_space(found, target, overrides, say=tell), encoding="utf-8")
    return target
