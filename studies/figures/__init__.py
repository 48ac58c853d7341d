"""Every figure of a study, by name, in the order in which a report shows them."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

from studies.figures.accuracy_vs_balance import ACCURACY_VS_BALANCE
from studies.figures.calibration import CALIBRATION
from studies.figures.class_accuracy import CLASS_ACCURACY
from studies.figures.class_norms import CLASS_NORMS
from studies.figures.classifier_norms import CLASSIFIER_NORMS
from studies.figures.figure import Absent, Figure, Table
from studies.figures.groups import GROUPS_FIGURE
from studies.figures.history import HISTORY
from studies.figures.importances import IMPORTANCES
from studies.figures.norm_evolution import NORM_EVOLUTION
from studies.figures.objectives import OBJECTIVES
from studies.figures.schedules import SCHEDULES
from studies.figures.slices import SLICES
from studies.figures.stage1_weight_decay import STAGE1_WEIGHT_DECAY
from studies.figures.timeline import TIMELINE
from studies.figures.weight_decay_radius import WEIGHT_DECAY_RADIUS
from studies.study_data import StudyData

if TYPE_CHECKING:
    import plotly.graph_objects as go

__all__ = ["FIGURES", "Absent", "Figure", "Table", "draw_figure", "figures_of"]

FIGURES: dict[str, Figure[Any]] = {
    figure.name: figure
    for figure in (
        GROUPS_FIGURE,
        ACCURACY_VS_BALANCE,
        CLASS_ACCURACY,
        CLASSIFIER_NORMS,
        NORM_EVOLUTION,
        CLASS_NORMS,
        STAGE1_WEIGHT_DECAY,
        WEIGHT_DECAY_RADIUS,
        CALIBRATION,
        SLICES,
        IMPORTANCES,
        HISTORY,
        TIMELINE,
    )
}


def figures_of(data: StudyData) -> dict[str, Figure[Any]]:
    """Those that are shown for a study: with several objectives, these come first; with several lengths, these last."""
    first = (OBJECTIVES,) if len(data.study.objectives) > 1 else ()
    last = (SCHEDULES,) if data.space.ladder else ()
    return {**{one.name: one for one in first}, **FIGURES, **{one.name: one for one in last}}


def draw_figure(name: str, data: StudyData) -> go.Figure:
    """Draws one figure. Raises KeyError for an unknown name, LookupError when the study has nothing to draw yet."""
    known = figures_of(data)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise KeyError(f"there is no figure {name!r}; there are {', '.join(known)}{hint}")
    figure = known[name]
    info = figure.info(data)
    if isinstance(info, Absent):
        raise LookupError(f"{name}: {info.reason}")
    return figure.draw(info)
