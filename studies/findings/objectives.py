"""What the search was by, in a sentence, for studies with several objectives."""

from __future__ import annotations

from search_spaces.objectives import is_minimised, label
from studies.study_data import StudyData
from studies.wording import listed


def objectives_sentence(data: StudyData) -> str:
    """The objectives, the size of their front, and how one trial of it was chosen; empty with one objective."""
    objectives, chosen, on_front = data.study.objectives, data.best, len(data.front)
    if len(objectives) == 1 or chosen is None:
        return ""
    first = label(objectives[0])
    named = listed([f"{'low' if is_minimised(name) else 'high'} {label(name)}" for name in objectives])
    trials = "1 trial lies" if on_front == 1 else f"{on_front:,} trials lie"
    return (
        f"The search had {len(objectives)} objectives: {named}. {trials} on their Pareto front. Of these, trial "
        f"{chosen.number} was chosen for the highest {first}, the first objective. Baselines were chosen by {first} "
        "alone, and the other figures of the search show it alone."
    )
