"""Names, files and texts -> Space; reports all mistakes at once, each with its place."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from pydantic import ValidationError

from search_spaces import relations, wording
from search_spaces.document import MAX_BYTES, MappingEntry, Mark, Node, decode_text, parse
from search_spaces.overrides import override
from search_spaces.problems import Problem, SpaceError, SpaceNotFoundError, did_you_mean, shortened
from search_spaces.space import Space


def load(path_or_name: str | Path, *, overrides: Sequence[str] = (), name: str | None = None) -> Space:
    """Reads the space at a path, or by name from ./search_spaces or from the shipped ones.

    `overrides` are `key=value` with dotted keys and YAML values; `name` replaces the study's name. Raises
    SpaceNotFoundError, or SpaceError with every problem. A relative `task.data` that does not exist in the current
    folder is looked up beside the file.
    """
    file, data = _read_space_file(str(path_or_name))
    text = decode_text(data, file=file)
    return loads(text, source=file, overrides=overrides, name=name, folder=Path(file).parent)


def loads(
    text: str,
    *,
    source: str = "<text>",
    overrides: Sequence[str] = (),
    name: str | None = None,
    folder: Path | None = None,
) -> Space:
    """Reads a space from text, which errors call `source`; `folder` is that of its file, to look up data in.

    Raises SpaceError with every problem.
    """
    root, found = parse(text, file=source)
    if root.value is None and not found:
        raise SpaceError([root.mark.problem("", "is empty; a space begins with version: 1")])
    if folder is not None:
        _locate_data(root, folder)
    for assignment in overrides:
        found += override(root, assignment)
    if name is not None and isinstance(root.value, dict):
        root.value["name"] = MappingEntry(Mark("--name"), Node(name, Mark("--name")))
    return _validated(root, found, source=source)


def _locate_data(root: Node, folder: Path) -> None:
    """Completes a relative path of data that is beside the space and not in the current folder."""
    task = root.child("task")
    data = task.child("data") if task else None
    if task is None or data is None or not isinstance(data.value, str) or not data.value.isprintable():
        return
    given, beside = Path(data.value), folder / data.value
    if not given.is_absolute() and not data.value.startswith("~") and not given.exists() and beside.exists():
        task.entries["data"] = MappingEntry(task.entries["data"].mark, Node(str(beside.absolute()), data.mark))


def shipped() -> dict[str, str]:
    """The shipped spaces by name, each with the question in its first line."""
    files = (file for file in resources.files("search_spaces").iterdir() if file.name.endswith(".yaml"))
    questions = {Path(file.name).stem: file.read_text(encoding="utf-8").partition("\n")[0] for file in files}
    return {name: questions[name].removeprefix("# ") for name in sorted(questions)}


def _validated(root: Node, found: list[Problem], *, source: str) -> Space:
    found = found + relations.problems(root)
    try:
        space = Space.model_validate(root.plain())
    except ValidationError as error:
        found += wording.schema_problems(error, root)
    if found:
        raise SpaceError(_in_order(found, source=source))
    return space


def _in_order(found: list[Problem], *, source: str) -> list[Problem]:
    """Problems of the file from top to bottom, then of the overrides; one per key and place."""
    places = [source, *dict.fromkeys(problem.file for problem in found if problem.file != source)]
    once: dict[tuple[object, ...], Problem] = {}
    for problem in found:
        once.setdefault((problem.file, problem.line, problem.column, problem.key), problem)
    return sorted(
        once.values(), key=lambda problem: (places.index(problem.file), problem.line or 0, problem.column or 0)
    )


def _read_space_file(wanted: str) -> tuple[str, bytes]:
    """The name of the file in errors, and its bytes."""
    names = [wanted] if Path(wanted).suffix in (".yaml", ".yml") else [wanted, f"{wanted}.yaml"]
    bare = Path(wanted).name == wanted
    paths = [Path(name) for name in names] + [Path("search_spaces", name) for name in names if bare]
    try:
        for path in paths:
            if path.is_file():
                with path.open("rb") as file:
                    return str(path), file.read(4 * MAX_BYTES + 1)  # a longer file is refused
        if bare and Path(wanted).stem in shipped():
            name = f"{Path(wanted).stem}.yaml"
            return name, resources.files("search_spaces").joinpath(name).read_bytes()
    except OSError as error:
        raise SpaceError([Mark(shortened(wanted)).problem("", f"cannot be read: {error.strerror}")]) from error
    hint = did_you_mean(Path(wanted).stem, shipped()) or f"; these ship: {', '.join(shipped())}"
    raise SpaceNotFoundError([Mark(shortened(wanted)).problem("", f"there is no such search space{hint}")])
