"""What an export promised against what came out: the numbers, and the installation they were made with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from studies.exported import Expectation
from studies.provenance import code_version, library_versions
from tuner.views import percent


class Spread(NamedTuple):
    """A measure over seeds; `deviation` is the sample's, None with one seed."""

    mean: float
    deviation: float | None


def within(wanted: Expectation, found: Spread | None) -> bool:
    """Whether the mean lies as near as the export asks; a value without tolerance is shown, not checked."""
    if wanted.tolerance is None:
        return True
    return found is not None and abs(found.mean - wanted.value) <= wanted.tolerance


def compared(name: str, wanted: Expectation, found: Spread | None, runs: int) -> str:
    """One line for the terminal."""
    if found is None:
        return f"{name:28} exported {percent(wanted.value):>8}  now     none"
    spread = "" if found.deviation is None else f" ± {100 * found.deviation:.1f} over {runs} seeds"
    if not name.startswith(("val.", "test.")):  # no accuracy, so no per cent
        return f"{name:28} exported {wanted.value:8.3f}  now {found.mean:8.3f}"
    off = 100 * (found.mean - wanted.value)
    limit = "" if wanted.tolerance is None else f" (tolerance {100 * wanted.tolerance:.1f})"
    outside = "" if within(wanted, found) else "  OUTSIDE"
    return (
        f"{name:28} exported {percent(wanted.value):>8}  now {percent(found.mean):>8}{spread}"
        f"  {off:+.1f} points{limit}{outside}"
    )


def differences(provenance: Mapping[str, Any]) -> list[str]:
    """In what this installation differs from the one that made the export, a line each."""
    here: dict[str, object] = {**library_versions(), "package": code_version()["package"]}
    there: dict[str, object] = {**provenance.get("versions", {})}
    if "package" in provenance.get("code", {}):
        there["package"] = provenance["code"]["package"]
    return [
        f"{name} is {here[name]} here, and was {there[name]} when this was exported: figures may differ a little"
        for name in there
        if name in here and str(here[name]) != str(there[name])
    ]
