"""Where everything lies below the home folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UsageError

_GROUP = 0o007  # umask: all for owner and group, nothing for others


@dataclass(frozen=True)
class Home:
    """The folder of all output: `--home`, else `TUNER_HOME`, else `runs/` in the current folder."""

    root: Path

    @classmethod
    def choose(cls, home: Path | None = None) -> Home:
        """The folder asked for, or the one the environment names, or `runs`. Raises UsageError for no path."""
        root = home or Path(os.environ.get("TUNER_HOME") or "runs")
        if "\0" in str(root):
            raise UsageError(f"--home must be a path, which holds no NUL, but is {str(root)!r}")
        try:
            return cls(root.expanduser())
        except RuntimeError:
            raise UsageError(f"{root}: there is no such user; write the folder's whole path") from None

    def make(self, study: str) -> None:
        """Makes the folders of a study that are not there, for their owner alone; for its group in a home of a group.

        Raises OSError.
        """
        from studies.sql.database_file import is_shared, make_folder

        make_folder(self.root)
        for folder in (self.cache, self.artifacts, self.study(study)):
            make_folder(folder, shared=is_shared(self.root))

    @contextlib.contextmanager
    def sharing(self) -> Iterator[None]:
        """What this process and its workers write meanwhile is the group's, too, in a home of a group."""
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

        # SQLAlchemy takes `a/..` for nothing, which it is not where `a` is a link
        root = Path(os.path.realpath(self.root)) if ".." in self.root.parts else self.root
        return sqlite_url(root / "studies.db")

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
