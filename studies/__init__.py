"""The study database and everything derived from it: frames, figures, report, export.

>>> from studies import open_study
>>> open_study("wd_maxnorm").trials()  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from studies.notebook import Study, open_study

__all__ = ["Study", "open_study"]


def __getattr__(name: str) -> Any:
    """Imports `studies.notebook` on first use, so that `import studies` stays cheap."""
    if name in __all__:
        return getattr(importlib.import_module("studies.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
