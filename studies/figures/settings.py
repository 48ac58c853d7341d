"""Settings in the hover texts of figures: varying ones line by line, shared ones in small print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from studies.applicable import applicable, applies
from studies.figures import style
from studies.study_data import StudyData
from studies.wording import number
from trainers.config import Scalar

_UNTOLD = ("task.data", "task.image_root", "task.download")  # the data's location does not affect a result


def varying_settings(data: StudyData) -> tuple[str, ...]:
    """Names of settings that differ between trials and baselines read on test."""
    rows = [*(row.config for row in data.complete), *(row.config for row in data.baselines)]
    names = rows[0] if rows else ()
    return tuple(name for name in names if len({row.get(name) for row in rows if applies(name, row)}) > 1)


def values_of(config: Mapping[str, Scalar], names: Sequence[str]) -> tuple[Scalar, ...]:
    """The values of these settings; "" for one that did not affect this result, because None is a value."""
    return tuple(config.get(name) if applies(name, config) else "" for name in names)


def pairs(config: Mapping[str, Scalar], names: Iterable[str]) -> str:
    """The settings among `names` that affected this result, one per line."""
    return "".join(
        f"<br>{style.plotly_text(n)} {style.plotly_text(number(config[n]))}" for n in names if applies(n, config)
    )


def small_print(config: Mapping[str, Scalar], names: Sequence[str]) -> str:
    """All other settings that affected this result, in a few lines of small print."""
    rest = [
        f"{name.replace('task.', '')} {number(value, digits=6)}"
        for name, value in applicable(config).items()
        if name not in names and name not in _UNTOLD
    ]
    return style.folded(", ".join(rest))
