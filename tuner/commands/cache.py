"""The command about the backbone cache."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Optional

from tuner.commands.options import HomeOption, JsonOption, fraction, number_option, text_option
from tuner.paths import Home
from tuner.terminal.output import say, say_json, screen

if TYPE_CHECKING:
    from trainers.files.cache import Cache


def cache(
    clear: Annotated[
        Optional[str], text_option("--clear", help="Remove entries by the beginning of their name, or 'all'.")
    ] = None,
    trim_gb: Annotated[
        Optional[float], number_option("--trim-gb", help="Evict the longest unused until it fits.", parser=fraction())
    ] = None,
    as_json: JsonOption = False,
    home: HomeOption = None,
) -> None:
    """Show, trim or clear the cache of trained backbones; all studies of a home share it."""
    from trainers.files.cache import Cache
    from tuner.errors import UsageError
    from tuner.terminal import tables

    if clear is not None and trim_gb is not None:
        raise UsageError("--clear and --trim-gb remove different entries; give one of them")
    store = Cache(Home.choose(home).cache)
    if clear is not None:
        _clear(store, clear, as_json=as_json)
        return
    if trim_gb is not None:
        store.trim(int(trim_gb * 2**30))
    entries = store.entries()
    if as_json:
        say_json([tables.cache_entry(entry) for entry in entries], indent=2)
    else:
        screen().print(tables.cache_table(entries))


def _clear(store: Cache, wanted: str, *, as_json: bool) -> None:
    """Removes entries and reports those that a job is using. Raises NotThereError if no name begins like that."""
    from tuner.errors import NotThereError

    found = [entry.fingerprint for entry in store.entries() if wanted == "all" or entry.fingerprint.startswith(wanted)]
    if not found and wanted != "all":
        raise NotThereError(f"no entry of the cache begins with {wanted!r}; see: tuner cache")
    freed = {fingerprint: store.clear(fingerprint) for fingerprint in found}
    removed = {name: size for name, size in freed.items() if size is not None}
    stay = [name for name, size in freed.items() if size is None]
    if as_json:
        say_json({"removed": list(removed), "bytes": sum(removed.values()), "in_use": stay}, indent=2)
        return
    say(f"removed {len(removed)} entries, {sum(removed.values()) / 2**20:.1f} MiB")
    for fingerprint in stay:
        say(f"{fingerprint[:12]} stays: a job is using it")
