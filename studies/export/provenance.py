"""Where a result came from: versions and code; never the user, host or database."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_DISTRIBUTION = "longtail-tuner"
_LIBRARIES = ("torch", "torchvision", "numpy", "optuna", "ray")


def code_version() -> dict[str, str | bool]:
    """The installed version and, in a checkout, its commit."""
    found: dict[str, str | bool] = {"package": installed(_DISTRIBUTION) or "not installed"}
    root = Path(__file__).resolve().parents[2]
    if (root / ".git").exists():
        commit = _git(root, "rev-parse", "HEAD")
        if commit is not None:
            found["git_commit"] = commit
            found["git_dirty"] = bool(_git(root, "status", "--porcelain", "--untracked-files=no"))
    return found


def library_versions() -> dict[str, str]:
    """Versions of Python and of the libraries that numbers may depend on; imports none of them."""
    found = {"python": platform.python_version()}
    return found | {name: number for name in _LIBRARIES if (number := installed(name)) is not None}


def installed(distribution: str) -> str | None:
    """The version of an installed distribution, or None."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    """Git's output; None without git or without a commit."""
    try:
        answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
