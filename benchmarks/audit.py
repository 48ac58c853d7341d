"""`make audit`: are the installed packages the pinned ones, consistent with each other, and free of known holes?

The first two questions are answered offline, from constraints.txt and from what pip wrote down when it installed.
Known vulnerabilities can only be asked of the network: by pip-audit, where that is installed.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"


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


def known_holes() -> int:
    """pip-audit's exit code on the pins; 0, and a word, where it is not installed."""
    if importlib.util.find_spec("pip_audit") is None:
        print(
            "known vulnerabilities were NOT looked up: that needs the network and pip-audit; "
            "with both: pip install pip-audit && make audit"
        )
        return 0
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(CONSTRAINTS), "--no-deps", "--disable-pip"]
    return subprocess.run(command, check=False).returncode


def main() -> int:
    """Prints what is wrong; returns 1 when anything is."""
    consistent = subprocess.run([sys.executable, "-m", "pip", "check"], check=False).returncode == 0
    wanted = pins(CONSTRAINTS.read_text())
    wrong = deviations(wanted)
    for line in wrong:
        print(line)
    print(f"{len(wanted)} pins: {len(wrong)} packages of another version")
    return int(bool(wrong) or not consistent or known_holes() != 0)


if __name__ == "__main__":
    sys.exit(main())
