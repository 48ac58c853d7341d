"""A study for notebooks: `open_study("wd_maxnorm").trials()` is a tidy pandas frame."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from studies.records import StudyRow
from studies.sql.urls import sqlite_url
from studies.store import Store

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def open_study(name: str, *, storage: str | None = None, home: str | PathLike[str] = "runs") -> Study:
    """Opens a study read-only, from the database `storage` or else from `studies.db` in the folder `home`.

    Raises StudyNotFoundError with the existing names, StorageUnavailableError, NewerSchemaError, OlderSchemaError.
    """
    return Study(Store.open(storage or sqlite_url(Path(home).expanduser() / "studies.db"), name))


class Study:
    """One study as frames. Close it, or use it as a context manager; `store` gives the same as records."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __repr__(self) -> str:
        return f"Study({self.store.name!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self.store.close()

    def info(self) -> StudyRow:
        """The study's own row: space, objective, state, classes."""
        return self.store.study()

    def trials(self) -> pd.DataFrame:
        """One row per trial; parameters and measures are dotted columns."""
        from studies.frames import trials_frame  # noqa: PLC0415  (pandas, as below)

        return trials_frame(self.store)

    def figure(self, name: str) -> go.Figure:
        """A figure of the report by name, e.g. `accuracy_vs_balance`.

        Raises KeyError for an unknown name, LookupError when there is nothing to draw yet.
        """
        from studies.figures import draw_figure  # noqa: PLC0415
        from studies.study_data import load_study_data  # noqa: PLC0415

        return draw_figure(name, load_study_data(self.store))

    def backbones(self) -> pd.DataFrame:
        """One row per backbone."""
        from studies.frames import backbones_frame  # noqa: PLC0415

        return backbones_frame(self.store)

    def epochs(self) -> pd.DataFrame:
        """One row per epoch of either stage."""
        from studies.frames import epochs_frame  # noqa: PLC0415

        return epochs_frame(self.store)

    def classes(self) -> pd.DataFrame:
        """One row per trial, split and class."""
        from studies.frames import classes_frame  # noqa: PLC0415

        return classes_frame(self.store)

    def posthoc(self) -> pd.DataFrame:
        """One row per post-hoc classifier."""
        from studies.frames import posthoc_frame  # noqa: PLC0415

        return posthoc_frame(self.store)

    def readings(self) -> pd.DataFrame:
        """One row per reading of test data."""
        from studies.frames import readings_frame  # noqa: PLC0415

        return readings_frame(self.store)
