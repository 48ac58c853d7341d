"""How figures look: one palette that colour-blind readers can tell apart, one layout, one way to write a number."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from studies.records import Scalar

# Okabe & Ito 2008
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#1A1A1A", "#8A8A8A"
LIGHT = "#D9D9D9"
BEST, NAIVE, STAGE1 = VERMILION, BLACK, BLUE
_ROLES = {  # one colour a method, in every figure
    "best": BEST,
    "naive": NAIVE,
    "weight_decay": BLUE,
    "l2_norm": GREEN,
    "tau_norm": SKY,
    "logit_adjustment": PURPLE,
    "logit_adjustment_mul": ORANGE,
    "ncm": YELLOW,
}
SCALE = "Cividis"  # perceptually uniform, made for colour-blind readers
DIVERGING = "RdBu"  # readable with the common forms of colour blindness; its white is zero

_LABELS = {
    "naive": "naive",
    "weight_decay": "weight decay only",
    "l2_norm": "L2-norm",
    "tau_norm": "τ-norm",
    "logit_adjustment": "logit adjustment",
    "logit_adjustment_mul": "logit adjustment ×",
    "ncm": "nearest mean",
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def role_label(role: str) -> str:
    """A role as readers see it."""
    return _LABELS.get(role, role)


def role_colour(role: str) -> str:
    """The colour of a method, in whatever figure."""
    return _ROLES.get(role, GREY)


def figure(*, height: int = 440, legend: bool = True, **layout: Any) -> go.Figure:
    """An empty figure in the house's layout: no default template (7 kB each), width as wide as the page."""
    axis = {
        "gridcolor": "#E6E6E6",
        "zeroline": False,
        "linecolor": "#B0B0B0",
        "ticks": "outside",
        "tickcolor": "#B0B0B0",
        "automargin": True,
        "exponentformat": "power",
    }
    template = go.layout.Template(layout={"xaxis": axis, "yaxis": axis})
    return go.Figure(
        layout={
            "template": template,
            "height": height,
            "autosize": True,
            "font": {"family": _FONT, "size": 13, "color": "#222"},
            "paper_bgcolor": "white",
            "plot_bgcolor": "white",
            "margin": {"l": 56, "r": 20, "t": 40, "b": 50},
            "showlegend": legend,
            "legend": {"orientation": "h", "yref": "container", "y": 1, "yanchor": "top", "x": 0, "xanchor": "left"},
            "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"size": 12, "color": "#222"}},
            **layout,
        }
    )


def text(value: object) -> str:
    """Untrusted text inside a figure, where plotly reads a small HTML of its own, entities and all: `<` becomes `‹`."""
    return str(value).replace("&", "&amp;").replace("<", "‹").replace(">", "›")


def number(value: Scalar, *, digits: int = 3) -> str:
    """A value as a reader wants it: `none`, words as they are, numbers to a few significant digits."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.{digits}g}"
    return str(value)


def per_cent(value: float | None, *, digits: int = 1) -> str:
    """A fraction as per cent; `none` for a group without classes."""
    return "none" if value is None else f"{100 * value:.{digits}f} %"


def points(value: float, *, digits: int = 1) -> str:
    """A difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.{digits}f}".replace("-", "−")


def switch(buttons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of buttons under the x axis, at the same distance on any screen."""
    place = {"x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "pad": {"t": 62}}
    return {"type": "buttons", "direction": "right", "buttons": list(buttons), "font": {"size": 12}, **place}


def accuracy_axis(title: str = "") -> dict[str, Any]:
    """An axis of fractions, shown as per cent and never beyond what an accuracy can be."""
    return {"title": title, "tickformat": ".0%", "minallowed": -0.02, "maxallowed": 1.03}


def log_ticks(low: float, high: float, *, dense: bool = False) -> dict[str, Any]:
    """A logarithmic axis with powers of ten as ticks; 2 and 5 between them when `dense` or hardly a power is inside."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if dense or high / low < 70 else (1,)
    values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return {"type": "log", "tickvals": values, "ticktext": [_short(v) for v in values], "tickangle": 0}


def _short(value: float) -> str:
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def packed(values: Sequence[Scalar]) -> NDArray[np.float32]:
    """Numbers as plotly writes them shortest: half as long as text, exact to seven digits."""
    return np.asarray(values, dtype=np.float32)


def rounded(values: Sequence[float | None], *, digits: int = 5) -> list[float | None]:
    """Values short enough for the page and exact enough for the eye."""
    return [None if value is None else float(f"{value:.{digits}g}") for value in values]
