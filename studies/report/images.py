"""Figures as SVG: one browser for all of them, without requests for fonts or formulas."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kaleido import Kaleido

if TYPE_CHECKING:
    import plotly.graph_objects as go


def svg(figures: Mapping[str, go.Figure], *, width: int = 1000) -> dict[str, bytes]:
    """Draws each figure. Raises choreographer's ChromeNotFoundError without a browser."""
    with ThreadPoolExecutor(max_workers=1) as thread:  # a notebook's own thread has an event loop already
        return thread.submit(asyncio.run, _draw(figures, width)).result()


async def _draw(figures: Mapping[str, go.Figure], width: int) -> dict[str, bytes]:
    drawn = {}
    async with Kaleido(n=1, mathjax=False) as browser:
        for name, figure in figures.items():
            size = {"format": "svg", "width": width, "height": figure.layout.height}
            drawn[name] = await browser.calc_fig(figure.to_dict(), opts=size)
    return drawn
