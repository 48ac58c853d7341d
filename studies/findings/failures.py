"""Failed trials by job: a failed backbone is one failure, however many heads it has."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import NamedTuple

from studies.records import TrialRow
from studies.study_data import SEARCH_ROLES, StudyData

_NUMBER_IN_TEXT = re.compile(r"\d[\d.]*(?:e[-+]?\d+)?")
UNKNOWN = "no reason was recorded"


class FailedTrials(NamedTuple):
    """Trials of one job with the same kind of reason; `reason` is that of the first."""

    job: int
    role: str
    backbone: int
    numbers: tuple[int, ...]
    reason: str
    whole: bool  # every trial of the job failed


def failures(data: StudyData) -> tuple[FailedTrials, ...]:
    """Failures in the order of their first trials. Reasons that differ only in numbers are one."""
    groups: dict[tuple[int, str], list[TrialRow]] = defaultdict(list)
    of_job: dict[int, int] = defaultdict(int)
    for row in sorted(data.trials, key=lambda row: row.number):
        of_job[row.job] += 1
        if row.state == "FAIL":
            groups[row.job, _NUMBER_IN_TEXT.sub("#", row.reason or UNKNOWN)].append(row)
    return tuple(
        FailedTrials(
            job, rows[0].role, rows[0].backbone_index, tuple(row.number for row in rows), rows[0].reason or UNKNOWN,
            len(rows) == of_job[job],
        )
        for (job, _), rows in groups.items()
    )  # fmt: skip


def lost_backbones(data: StudyData) -> tuple[int, ...]:
    """Backbones of the search with a job that failed entirely: the search asks for no more of their heads."""
    return tuple(sorted({one.backbone for one in failures(data) if one.whole and one.role in SEARCH_ROLES}))
