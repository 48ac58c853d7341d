"""The Pareto front of trials: by the objectives of a study that has several, else by accuracy and balance."""

from __future__ import annotations

from studies.figures.accuracy_vs_balance import BALANCE_MEASURES, accuracy_vs_balance_info
from studies.figures.figure import Absent
from studies.records import TrialRow
from studies.study_data import StudyData


def pareto_front(data: StudyData, *, measure: str = "norm.slope") -> tuple[TrialRow, ...]:
    """The Pareto front on validation; empty without finished trials.

    By several objectives, it begins with the lowest first one and ends with the chosen trial. Otherwise it goes from
    the most balanced trial to the most accurate. Raises KeyError for an unknown measure.
    """
    if measure not in BALANCE_MEASURES:
        raise KeyError(f"there is no measure {measure!r}; there are {', '.join(BALANCE_MEASURES)}")
    if len(data.study.objectives) > 1:
        return data.front[::-1]
    info = accuracy_vs_balance_info(data)
    if isinstance(info, Absent):
        return ()
    points = (info.trials[place] for place in info.front[list(BALANCE_MEASURES).index(measure)])
    return tuple(data.trial_by_number[point.number] for point in points if point.number is not None)
