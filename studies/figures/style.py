"""The style of figures: one palette for colour-blind readers, one layout, one format of numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from trainers.config import Scalar

# Okabe & Ito 2008
BLUE, ORANGE, GREEN, VERMILION = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, YELLOW, BLACK, GREY = "#CC79A7", "#56B4E9", "#F0E442", "#1A1A1A", "#8A8A8A"
LIGHT = "#D9D9D9"
BEST_COLOUR, NAIVE_COLOUR, STAGE1_COLOUR = VERMILION, BLACK, BLUE


class Look(NamedTuple):
    """How every figure draws a method, so that colour alone need not tell methods apart."""

    colour: str
    symbol: str  # of plotly's markers; open ones show what is under them
    pattern: str  # of plotly's bars


_LOOKS = {
    "best": Look(BEST_COLOUR, "star", ""),
    "fresh_seed": Look(BEST_COLOUR, "star-open", "."),
    "naive": Look(NAIVE_COLOUR, "x-open", ""),
    "weight_decay": Look(BLUE, "square-open", "\\"),
    "l2_norm": Look(GREEN, "triangle-up-open", "-"),
    "tau_norm": Look(SKY, "diamond-open", "|"),
    "logit_adjustment": Look(PURPLE, "hexagon-open", "x"),
    "logit_adjustment_mul": Look(ORANGE, "cross-open", "+"),
    "ncm": Look(YELLOW, "triangle-down-open", "."),
}
SCALE = "Cividis"  # perceptually uniform, made for colour-blind readers
DIVERGING = "RdBu"  # readable with the common forms of colour blindness; its white is zero
NAMED_CLASSES = 25  # up to here classes are named on the axis
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def look_of(role: str) -> Look:
    """The look of a method, in every figure."""
    return _LOOKS.get(role, Look(GREY, "circle-open", "/"))


def mark(role: str) -> dict[str, Any]:
    """A method's marker among trials."""
    colour, symbol, _ = look_of(role)
    if role == "best":
        return {"symbol": symbol, "size": 19, "color": colour, "line": {"width": 1.5, "color": "white"}}
    return {"symbol": symbol, "size": 13, "color": colour, "line": {"width": 2.5, "color": colour}}


def fill(role: str) -> dict[str, Any]:
    """A method's bar."""
    colour, _, pattern = look_of(role)
    return patterned(colour, pattern)


def patterned(colour: str, pattern: str) -> dict[str, Any]:
    """Bars in a colour with one of plotly's patterns; "" is no pattern."""
    drawn = {"shape": pattern, "fgcolor": "white", "fillmode": "overlay", "size": 6, "solidity": 0.22}
    return {"color": colour, "pattern": drawn} if pattern else {"color": colour}


def figure(*, height: int = 440, legend: bool = True, **layout: Any) -> go.Figure:
    """An empty figure with our layout: no default template (7 kB each), as wide as the page."""
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
            "dragmode": False,  # a finger on a figure scrolls the page; the toolbar still zooms
            "hoverlabel": {"align": "left", "bgcolor": "white", "font": {"size": 12, "color": "#222"}},
            **layout,
        }
    )


def plotly_text(value: object) -> str:
    """Untrusted text inside a figure, where plotly interprets a subset of HTML with entities: `<` becomes `‹`.

    In hover texts plotly also fills in `%{name}`, so `%` becomes an entity.
    """
    return str(value).replace("&", "&amp;").replace("<", "‹").replace(">", "›").replace("%{", "&#37;{")


def folded(words: str, *, width: int = 66) -> str:
    """Words in small print, wrapped over lines, for a hover text."""
    if not words:
        return ""
    lines = "<br>".join(plotly_text(line) for line in wrap(words, width))
    return f"<br><span style='font-size:10px;color:#666'>{lines}</span>"


def switch(buttons: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A row of buttons under the x axis, at the same distance on every screen."""
    place = {"x": 0, "xanchor": "left", "y": 0, "yanchor": "top", "pad": {"t": 62}}
    return {"type": "buttons", "direction": "right", "buttons": list(buttons), "font": {"size": 12}, **place}


def title_panels(figure: go.Figure, titles: tuple[str, str], below: str) -> None:
    """Two panels side by side: a title over each, and one title below for both x axes."""
    for axis, words in zip(("", "2"), titles, strict=True):
        figure.add_annotation(
            x=0.5, y=1, xref=f"x{axis} domain", yref=f"y{axis} domain", yanchor="bottom", text=f"<b>{words}</b>",
            showarrow=False,
        )  # fmt: skip
    figure.add_annotation(
        x=0.5, y=0, xref="paper", yref="paper", yanchor="top", yshift=-24, text=below, showarrow=False
    )


def accuracy_axis(title: str = "") -> dict[str, Any]:
    """An axis of fractions, shown as per cent within 0 to 100 %."""
    return {"title": title, "tickformat": ".0%", "minallowed": -0.02, "maxallowed": 1.03}


def log_ticks(low: float, high: float, *, dense: bool = False) -> dict[str, Any]:
    """A logarithmic axis with ticks at powers of ten; also at 2 and 5 when `dense` or few powers are inside."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if dense or high / low < 70 else (1,)
    values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    values = [value for value in values if 0.7 * low <= value <= 1.4 * high] or values
    return {"type": "log", "tickvals": values, "ticktext": [_tick_label(v) for v in values], "tickangle": 0}


def _tick_label(value: float) -> str:
    return f"{value:g}" if value >= 1e-3 else f"{value:.0e}".replace("e-0", "e-")


def sparse(ticks: dict[str, Any], *, most: int = 3) -> dict[str, Any]:
    """The same ticks with at most `most` labels, for axes that are a hundred pixels long on a phone."""
    labels = ticks.get("ticktext")
    if labels is None:  # plotly places the ticks of a linear axis
        return ticks
    step = max(1, -(-(len(labels) - 1) // (most - 1)))
    kept = [text if (len(labels) - 1 - i) % step == 0 else "" for i, text in enumerate(labels)]
    return ticks | {"ticktext": kept, "tickfont": {"size": 11}}


def packed(values: Sequence[Scalar]) -> NDArray[np.float32]:
    """Numbers in plotly's shortest form: half as long as text, exact to seven digits."""
    return np.asarray(values, dtype=np.float32)


def packed_grid(rows: Sequence[Sequence[float | None]]) -> NDArray[np.float32]:
    """The same for rows of numbers; None is a gap."""
    return np.asarray([[math.nan if value is None else value for value in row] for row in rows], dtype=np.float32)


def packed_integers(numbers: Sequence[int]) -> NDArray[np.integer[Any]]:
    """Whole numbers in as few bytes as possible."""
    return np.asarray(numbers, dtype=np.int16 if max(numbers, default=0) < 2**15 else np.int32)


def spec(values: Sequence[float | None]) -> dict[str, str]:
    """The same as `packed` for arguments of a button, which plotly.py does not convert; None is a gap."""
    numbers = np.asarray([math.nan if value is None else value for value in values], dtype="<f4")
    return {"dtype": "f4", "bdata": base64.b64encode(numbers.tobytes()).decode("ascii")}


def rounded(values: Sequence[float | None], *, digits: int = 5) -> list[float | None]:
    """Values short enough for the page and exact enough for the eye."""
    return [None if value is None else float(f"{value:.{digits}g}") for value in values]
