"""Compares a training with its export: the figures, and the versions of both installations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from studies.export.expect import FRESH_SEEDS
from studies.export.provenance import code_version, library_versions
from studies.export.read import Expectation
from studies.findings.spread import Spread


def within(wanted: Expectation, found: Spread | None) -> bool:
    """True if the mean is within the export's tolerance, or if there is no tolerance."""
    if wanted.tolerance is None:
        return True
    return found is not None and abs(found.mean - wanted.value) <= wanted.tolerance


def comparison(expect: Mapping[str, Expectation], found: Mapping[str, Spread], *, runs: int) -> list[str]:
    """A table within 80 columns; accuracies are in per cent, norm measures as they are."""
    rows = [_row(name, wanted, found.get(name), runs) for name, wanted in expect.items()]
    over = f"mean of {runs}" if runs > 1 else "now"
    heads = ("expected", "tolerance", over, "deviation", "off") if runs > 1 else ("expected", "tolerance", over, "off")
    return [f"{'per cent':22}" + "".join(f"{head:>11}" for head in heads), *rows] if rows else []


def _row(name: str, wanted: Expectation, found: Spread | None, runs: int) -> str:
    share = name.startswith(("val.", "test."))  # an accuracy, so in per cent
    cells = [
        _figure_text(wanted.value, share=share),
        _figure_text(wanted.tolerance, share=share),
        _figure_text(found.mean if found else None, share=share),
        *([_figure_text(found.deviation if found else None, share=share)] if runs > 1 else []),
        _figure_text(found.mean - wanted.value if found else None, share=share, sign="+"),
    ]
    outside = "" if within(wanted, found) else " OUTSIDE"
    return f"{name:22}" + "".join(f"{cell:>11}" for cell in cells) + outside


def _figure_text(value: float | None, *, share: bool, sign: str = "") -> str:
    if value is None:
        return "none"
    rounded = round(100 * value, 1) if share else round(value, 3)
    return f"{rounded + 0.0:{sign}.{1 if share else 3}f}"  # + 0.0: no "-0.0"


def origin(provenance: Mapping[str, Any]) -> list[str]:
    """The origin of the expected values, in words; nothing if the file does not say."""
    known = provenance.get("expect", {})
    if not isinstance(known, dict) or "from" not in known:
        return []
    if known["from"] == FRESH_SEEDS:
        return [f"expected: the mean over fresh seeds {', '.join(map(str, known.get('seeds', [])))} of the study"]
    return ["expected: the study's own run; its tolerances are sampling error alone, and another seed may lie outside"]


def differences(provenance: Mapping[str, Any]) -> list[str]:
    """The differences between this installation and the one that made the export, a line each."""
    here: dict[str, object] = {**library_versions(), "package": code_version()["package"]}
    there: dict[str, object] = {**provenance.get("versions", {})}
    if "package" in provenance.get("code", {}):
        there["package"] = provenance["code"]["package"]
    return [
        f"{name} is {here[name]} here, and was {there[name]} when this was exported: figures may differ a little"
        for name in there
        if name in here and str(here[name]) != str(there[name])
    ]
