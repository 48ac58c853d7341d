"""Commands about space files: check, spaces, schema."""

from __future__ import annotations

from typing import Annotated

from tuner.commands.options import DataOption, DatasetOption, SetOption, shorthands, text_argument
from tuner.terminal.output import say, say_json


def check(
    space: Annotated[str, text_argument(help="Space file or name.")],
    dataset: DatasetOption = None,
    data: DataOption = None,
    overrides: SetOption = None,
) -> None:
    """Check a space: print all its errors, or its plan. Trains nothing, writes nothing."""
    from search_spaces import load
    from tuner.preflight import dry_build
    from tuner.terminal.tables import plan

    loaded = load(space, overrides=[*shorthands(dataset, data), *(overrides or [])])
    for line in plan(loaded, dry_build(loaded)):
        say(line)


def spaces() -> None:
    """List the shipped spaces, with the question that each asks."""
    from search_spaces import shipped

    for name, question in shipped().items():
        say(f"{name:24} {question}")


def schema() -> None:
    """Print the JSON schema of a space file, for editors."""
    from search_spaces import json_schema

    say_json(json_schema(), indent=2)
