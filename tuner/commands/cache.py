"""The command about the backbone cache."""

from __future__ import annotations

from typing import Annotated, Optional

import typer

from tuner.commands.options import HomeOption, JsonOption, fraction, number_option, text_option
from tuner.paths import Home
from tuner.terminal import say, say_json, screen

app = typer.Typer()


@app.command()
def cache(
    clear: Annotated[
        Optional[str], text_option("--clear", help="Remove one entry by its name's beginning, or 'all'.")
    ] = None,
    trim_gb: Annotated[
        Optional[float], number_option("--trim-gb", help="Evict until it fits.", parser=fraction())
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show, trim or clear the cache of trained backbones, which all studies of a home share."""
    from trainers.cache import Cache
    from tuner import views
    from tuner.errors import NotThereError

    store = Cache(Home.choose(home).cache)
    if clear is not None:
        found = [e.fingerprint for e in store.entries() if clear == "all" or e.fingerprint.startswith(clear)]
        if not found and clear != "all":
            raise NotThereError(f"no entry of the cache begins with {clear!r}; see: tuner cache")
        freed = {fingerprint: store.clear(fingerprint) for fingerprint in found}
        removed = [size for size in freed.values() if size is not None]
        say(f"removed {len(removed)} entries, {sum(removed) / 2**20:.1f} MiB")
        for fingerprint in (name for name, size in freed.items() if size is None):
            say(f"{fingerprint[:12]} stays: a job is using it")
        return
    if trim_gb is not None:
        store.trim(int(trim_gb * 2**30))
    entries = store.entries()
    if as_json:
        say_json([views.cache_entry(entry) for entry in entries], indent=2)
    else:
        screen().print(views.cache_table(entries))
