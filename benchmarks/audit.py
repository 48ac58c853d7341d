"""`make audit`: are the installed packages the pinned ones, consistent with each other, and free of known holes?

The first two questions are answered offline, from constraints.txt and from what pip wrote down when it installed. The
third is asked of PyPI by pip-audit, pin by pin. Exit code 0: all three are answered, and nothing was found. 1:
something was found. 2: nothing was found, but not all pins were looked up.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
WRONG, UNKNOWN = 1, 2


def pins(text: str) -> dict[str, str]:
    """Name and exact version of each pin that applies to this machine. Raises ValueError for a line that is none."""
    found = {}
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        requirement = Requirement(line)
        (specifier,) = requirement.specifier
        if specifier.operator != "==":
            raise ValueError(f"constraints.txt: a pin is name==version, but this line is {line!r}")
        if requirement.marker is None or requirement.marker.evaluate():
            found[requirement.name] = specifier.version
    return found


def deviations(wanted: dict[str, str]) -> list[str]:
    """Installed packages of another version than pinned; those that are not installed are fine."""
    found = []
    for name, version in wanted.items():
        try:
            installed = distribution(name).version
        except PackageNotFoundError:
            continue
        if installed.partition("+")[0] != version.partition("+")[0]:
            found.append(f"{name}: pinned {version}, installed {installed}")
    return found


def is_consistent() -> bool:
    """Whether every installed package has what it needs; pip prints what it has not."""
    return subprocess.run([sys.executable, "-m", "pip", "check"], check=False).returncode == 0


@dataclass(frozen=True, kw_only=True)
class LookUp:
    """What is known of the pins, and of which of them nothing could be asked."""

    clean: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()  # a line each
    skipped: tuple[str, ...] = ()
    failure: str | None = None  # why nothing at all was looked up


def look_up(constraints: Path) -> LookUp:
    """Asks pip-audit. Its exit code is 0 as well for pins that it could not look up, so its own words are read."""
    if importlib.util.find_spec("pip_audit") is None:
        return LookUp(failure="pip-audit is not installed (pip install -c constraints.txt pip-audit)")
    options = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off"]
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(constraints), *options]
    ran = subprocess.run(command, check=False, capture_output=True, text=True)
    try:
        found = json.loads(ran.stdout)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        said = ran.stderr.strip().splitlines() or ["it said nothing"]
        return LookUp(failure=f"pip-audit ended with code {ran.returncode}: {said[0]}")
    return LookUp(
        clean=tuple(one["name"] for one in found if not one.get("vulns") and "skip_reason" not in one),
        holes=tuple(_hole(one, hole) for one in found for hole in one.get("vulns", ())),
        skipped=tuple(one["name"] for one in found if "skip_reason" in one),
    )


def main(constraints: Path = CONSTRAINTS) -> int:
    """Prints what is wrong and what is not known; returns the exit code."""
    consistent = is_consistent()
    wanted = pins(constraints.read_text())
    wrong = deviations(wanted)
    for line in wrong:
        print(line)
    print(f"{len(wanted)} pins: {len(wrong)} packages of another version")
    found = look_up(constraints)
    print(_story(found))
    if wrong or not consistent or found.holes:
        return WRONG
    return UNKNOWN if found.failure or found.skipped or not found.clean else 0


def _hole(package: Mapping[str, Any], hole: Mapping[str, Any]) -> str:
    mended = ", ".join(hole.get("fix_versions", ())) or "no release yet"
    return f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


def _story(found: LookUp) -> str:
    if found.failure is not None:
        return f"known vulnerabilities were NOT looked up, of no pin: {found.failure}"
    looked_up = len(found.clean) + len({line.partition(":")[0] for line in found.holes})
    lines = [*found.holes, f"known vulnerabilities: {len(found.holes)} in the {looked_up} pins that were looked up"]
    if found.skipped:
        lines.append(f"NOT looked up, for PyPI did not know them: {len(found.skipped)} ({', '.join(found.skipped)})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
