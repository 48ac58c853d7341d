"""Commands about space files: check, spaces, schema."""

from __future__ import annotations

from typing import Annotated

import typer

from tuner.commands.options import SetOption, print_json

app = typer.Typer()


@app.command()
def check(space: Annotated[str, typer.Argument(help="Space file or name.")], overrides: SetOption = None) -> None:
    """Check a space: all its errors at once, or what it would do. Trains nothing, writes nothing."""
    from search_spaces import load
    from tuner.preflight import dry_build

    loaded = load(space, overrides=overrides or [])
    built = dry_build(loaded)
    typer.echo(f"{loaded.name}: {loaded.trials} trials on {loaded.budget.backbones} backbones")
    for key, distribution in loaded.searched.items():
        typer.echo(f"  {key}: {distribution}")
    counts = built.train_counts
    typer.echo(f"  data: {len(counts)} classes, {sum(counts)} training images, {max(counts)} down to {min(counts)}")
    typer.echo(f"  model: {built.parameters:,} parameters")
    for note in built.notes:
        typer.echo(f"  note: {note}")


@app.command()
def spaces() -> None:
    """List the spaces that ship, with the question each asks."""
    from search_spaces import shipped

    for name, question in shipped().items():
        typer.echo(f"{name:24} {question}")


@app.command()
def schema() -> None:
    """Print the JSON schema of a space file, for editors."""
    from search_spaces import json_schema

    print_json(json_schema())
