"""Where everything lies: the only place that knows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UsageError


@dataclass(frozen=True)
class Home:
    """The folder of all output: `--home`, else `TUNER_HOME`, else `runs/` in the current folder."""

    root: Path

    @classmethod
    def choose(cls, home: Path | None = None) -> Home:
        """The folder asked for, or the one the environment names, or `runs`. Raises UsageError for a `~` of nobody."""
        folder = home or Path(os.environ.get("TUNER_HOME") or "runs")
        try:
            return cls(folder.expanduser())
        except RuntimeError:
            raise UsageError(f"{folder}: there is no such user; write the folder's whole path") from None

    @property
    def storage_url(self) -> str:
        """The study database, unless `--storage` or `TUNER_STORAGE` says otherwise."""
        return f"sqlite:///{self.root / 'studies.db'}"

    @property
    def cache(self) -> Path:
        """Backbones and features, shared by all studies."""
        return self.root / "cache"

    @property
    def artifacts(self) -> Path:
        """Files that the dashboard offers for download."""
        return self.root / "artifacts"

    def study(self, name: str) -> Path:
        """The folder of one study. Raises UsageError for a name that the home needs itself."""
        if name in (self.cache.name, self.artifacts.name) or name.startswith("studies.db"):
            raise UsageError(
                f"a study cannot be called {name!r}, for the output folder uses that name; give another --name"
            )
        return self.root / name

    def report(self, name: str) -> Path:
        """The study's report."""
        return self.study(name) / "report.html"

    def best(self, name: str) -> Path:
        """The study's exported best configuration."""
        return self.study(name) / "best.yaml"
