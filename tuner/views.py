"""A study as the terminal and `--json` show it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table

from studies.records import ReadingRow, TrialRow
from studies.store import Store
from studies.study_data import best_trial
from tuner.errors import NotThereError

if TYPE_CHECKING:
    from trainers.cache import CacheEntry

GROUPS = ("balanced_accuracy", "many", "medium", "few")


def status(store: Store) -> dict[str, Any]:
    """The object that `tuner status --json` prints."""
    study, rows = store.study(), store.trials()
    states = Counter(row.state for row in rows)
    chosen = best_trial(rows)
    return {
        "study": study.name,
        "state": study.state,
        "trials": {
            "complete": states["COMPLETE"],
            "pruned": states["PRUNED"],
            "failed": states["FAIL"],
            "running": states["RUNNING"],
        },
        "best": None
        if chosen is None
        else {"number": chosen.number, "value": chosen.value, "params": dict(chosen.params)},
    }


def trial(row: TrialRow) -> dict[str, Any]:
    """One object of the list that `tuner trials --json` prints."""
    return {
        "number": row.number,
        "state": row.state,
        "value": row.value,
        "params": dict(row.params),
        "metrics": dict(row.metrics),
        "role": row.role,
        "backbone": row.backbone,
        "reason": row.reason,
        "notes": list(row.notes),
    }


def best(store: Store) -> dict[str, Any]:
    """The chosen trial, its configuration and its reading on test. Raises NotThereError when none is complete."""
    chosen = best_trial(store.trials())
    if chosen is None:
        raise NotThereError(f"study {store.study().name} has no complete trial yet; see: tuner status")
    reading = next((r for r in store.readings() if r.role == "best" and r.number == chosen.number), None)
    return {
        **trial(chosen),
        "config": dict(chosen.config),
        "test": None if reading is None else {key: reading.metrics.get(f"test.{key}") for key in GROUPS},
    }


def status_table(found: Sequence[dict[str, Any]]) -> Table:
    """One row a study."""
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("study", "state", "complete", "running", "pruned", "failed", "best (validation)"):
        table.add_column(column, no_wrap=True)
    for one in found:
        counts, top = one["trials"], one["best"]
        table.add_row(
            one["study"], one["state"], *(str(counts[key]) for key in ("complete", "running", "pruned", "failed")),
            f"{percent(top['value'])} (trial {top['number']})" if top else "-",
        )  # fmt: skip
    return table


def trials_table(rows: Sequence[TrialRow], *, title: str) -> Table:
    """One row a trial; a failed one shows its reason."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for column in (
        "trial",
        "state",
        "role",
        "balanced",
        "many",
        "medium",
        "few",
        "norm slope",
        "parameters, or reason",
    ):
        table.add_column(column, no_wrap=column != "parameters, or reason")
    for row in rows:
        slope = row.metrics.get("norm.slope")
        params = "  ".join(f"{name}={_short(value)}" for name, value in row.params.items())
        table.add_row(
            str(row.number), row.state, row.role, *(percent(row.metrics.get(f"val.{key}")) for key in GROUPS),
            "-" if slope is None else f"{slope:+.3f}", row.reason or params,
        )  # fmt: skip
    return table


def best_table(found: dict[str, Any]) -> Table:
    """The chosen configuration, name by name."""
    table = Table(
        title=f"trial {found['number']}, chosen on validation", title_justify="left", box=None, show_header=False
    )
    for key in GROUPS:
        test = f"   test {percent(found['test'][key])}" if found["test"] else ""
        table.add_row(key.replace("_", " "), f"validation {percent(found['metrics'].get(f'val.{key}'))}{test}")
    for name, value in found["params"].items():
        table.add_row(name, _short(value))
    return table


def cache_entry(entry: CacheEntry) -> dict[str, Any]:
    """One object of the list that `tuner cache --json` prints; sizes in bytes."""
    config = entry.manifest.get("config", {})
    return {
        "fingerprint": entry.fingerprint,
        "complete": entry.complete,
        "backbone_bytes": entry.backbone_bytes,
        "features_bytes": entry.features_bytes,
        "model": config.get("task.model"),
        "dataset": config.get("task.dataset"),
        "seconds": entry.manifest.get("seconds"),
    }


def cache_table(entries: Sequence[CacheEntry]) -> Table:
    """One row a backbone, last used first."""
    total = sum(entry.backbone_bytes + entry.features_bytes for entry in entries)
    table = Table(title=f"{len(entries)} backbones, {total / 2**20:.1f} MiB", title_justify="left", box=None)
    for column in ("backbone", "data", "model", "MiB", "features MiB", "training, s"):
        table.add_column(column, no_wrap=True)
    for one in map(cache_entry, entries):
        table.add_row(
            one["fingerprint"][:12], one["dataset"] or "unfinished", one["model"] or "-",
            f"{one['backbone_bytes'] / 2**20:.1f}", f"{one['features_bytes'] / 2**20:.1f}",
            "-" if one["seconds"] is None else f"{one['seconds']:.0f}",
        )  # fmt: skip
    return table


def headline(readings: Sequence[ReadingRow]) -> list[str]:
    """The figures that matter, on test: what was chosen, the naive baseline, and the gain."""
    by_role = {reading.role: reading for reading in readings}
    lines = [
        f"{role:20} test balanced accuracy {percent(row.metrics.get('test.balanced_accuracy'))}   "
        f"many {percent(row.metrics.get('test.many'))}   medium {percent(row.metrics.get('test.medium'))}   "
        f"few {percent(row.metrics.get('test.few'))}"
        for role, row in by_role.items()
    ]
    if {"best", "naive"} <= by_role.keys():
        gains = [_gain(by_role["best"], by_role["naive"], key) for key in ("balanced_accuracy", "few")]
        lines.append(f"best against naive   balanced accuracy {gains[0]}, few-shot {gains[1]}")
    return lines


def percent(value: float | None) -> str:
    """A fraction as per cent; "none" when there is no such class."""
    return "none" if value is None else f"{100 * value:.1f} %"


def _gain(best_row: ReadingRow, naive: ReadingRow, key: str) -> str:
    ours, theirs = best_row.metrics.get(f"test.{key}"), naive.metrics.get(f"test.{key}")
    return "none" if ours is None or theirs is None else f"{100 * (ours - theirs):+.1f} points"


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
