"""The paths below the home folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UsageError

_GROUP = 0o007  # umask: owner and group may do everything, others nothing


@dataclass(frozen=True)
class Home:
    """The folder of all output: `--home`, else `TUNER_HOME`, else `runs/` in the current folder."""

    root: Path

    @classmethod
    def choose(cls, home: Path | None = None) -> Home:
        """`home`, else `TUNER_HOME`, else `runs`. Raises UsageError for a path that cannot exist."""
        root = home or Path(os.environ.get("TUNER_HOME") or "runs")
        if "\0" in str(root):
            raise UsageError(f"--home must be a path without NUL, but is {str(root)!r}")
        try:
            return cls(root.expanduser())
        except RuntimeError:
            raise UsageError(f"{root}: there is no such user; write the folder's whole path") from None

    def make(self, study: str) -> None:
        """Makes a study's missing folders: private, or open to the group that shares the home. Raises OSError."""
        from studies.sql.database_file import is_shared, make_folder

        make_folder(self.root)
        for folder in (self.cache, self.artifacts, self.study(study)):
            make_folder(folder, shared=is_shared(self.root))

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """Within, this process and its workers write files that the group may use, if the group shares the home."""
        from studies.sql.database_file import is_shared

        if not is_shared(self.root):
            yield
            return
        before = os.umask(_GROUP)
        try:
            yield
        finally:
            os.umask(before)

    @property
    def storage_url(self) -> str:
        """The study database, unless `--storage` or `TUNER_STORAGE` says otherwise."""
        from studies.sql.urls import sqlite_url  # SQLAlchemy

        # SQLAlchemy drops `a/..`, which is wrong where `a` is a link
        root = Path(os.path.realpath(self.root)) if ".." in self.root.parts else self.root
        return sqlite_url(root / "studies.db")

    @property
    def cache(self) -> Path:
        """Backbones and features, shared by all studies."""
        return self.root / "cache"

    @property
    def artifacts(self) -> Path:
        """Downloads of the dashboard."""
        return self.root / "artifacts"

    def study(self, name: str) -> Path:
        """The folder of one study. Raises UsageError for a reserved name."""
        if name in (self.cache.name, self.artifacts.name) or name.startswith("studies.db"):
            raise UsageError(
                f"a study cannot be called {name!r}: the output folder uses that name; give another --name"
            )
        return self.root / name

    def report(self, name: str) -> Path:
        """The study's report."""
        return self.study(name) / "report.html"

    def best(self, name: str) -> Path:
        """The study's exported best configuration."""
        return self.study(name) / "best.yaml"
