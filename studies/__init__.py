"""The study database, and all that is derived from it: frames, figures, report, export.

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
    """Imports the notebook's door when it is first used, so that `import studies` costs nothing."""
    if name in __all__:
        return getattr(importlib.import_module("studies.notebook"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
