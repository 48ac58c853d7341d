"""The parts of a figure: a pure function of the rows, one that draws, one that lays out the table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from studies.study_data import StudyData
from trainers.config import Scalar

if TYPE_CHECKING:
    import plotly.graph_objects as go


class Absent(NamedTuple):
    """Why there is nothing to draw, in a sentence."""

    reason: str


class Table(NamedTuple):
    """The numbers of a figure."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Scalar, ...], ...]


Info = TypeVar("Info")


@dataclass(frozen=True, kw_only=True)
class Figure(Generic[Info]):
    """One figure by name. `caption` says how to read it and may depend on what is drawn."""

    name: str  # [a-z_]+, also its id in the page
    title: str
    info: Callable[[StudyData], Info | Absent]
    draw: Callable[[Info], go.Figure]
    table: Callable[[Info], Table]
    caption: Callable[[Info], str]
