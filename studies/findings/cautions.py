"""Cautions and remarks for readers of a study, one sentence each."""

from __future__ import annotations

from collections.abc import Sequence

from search_spaces.geometry import in_words
from studies.findings.failures import lost_backbones
from studies.findings.headline import TEST_ACCURACY, Compared, Headline, headline
from studies.findings.objectives import objectives_sentence
from studies.findings.schedules import schedules_cautions
from studies.records import ClassRow
from studies.study_data import SEARCH_ROLES, StudyData
from studies.wording import count, gain_limits, listed, number, per_cent, points, role_label

WIDE_INTERVAL = 0.1  # a 95 % interval on test this wide hides differences between methods
_FAR_BELOW = 0.15  # naive below weight decay only: more than weight decay explains
_MANY_FAILED = 0.1  # of all trials
_FEW_TRIALS = 10


def cautions(data: StudyData) -> tuple[str, ...]:
    """Warnings for the reader, one sentence each."""
    line = headline(data)
    return (
        *_leaking_protocol(data),
        *_mixed_trainers(data),
        *_test_readings(data),
        *_went_on_after_test(data),
        *_confirmation(data, line),
        *_untuned_naive(data, line),
        *_gains(line),
        *_noise(line),
        *_edges(data),
        *_many_failures(data, line),
        *schedules_cautions(data),
        *_chance(data),
        *_empty_classes(data),
    )


def remarks(data: StudyData) -> tuple[str, ...]:
    """Notes of the objectives, the data and the trainer that need no caution."""
    best = data.best
    about_best = [] if best is None else [f"Trial {best.number}: {note}" for note in best.notes]
    about_front = [sentence] if (sentence := objectives_sentence(data)) else []
    return (*about_front, *data.study.notes, *about_best)


def _leaking_protocol(data: StudyData) -> list[str]:
    if data.configuration.get("task.protocol") != "paper_leak":
        return []
    return [
        "Protocol paper_leak: epochs and configurations were selected on test data. These are not honest test results."
    ]


def _mixed_trainers(data: StudyData) -> list[str]:
    versions = data.study.trainers
    if len(versions) < 2:
        return []
    return [
        f"Trainer versions {listed([str(version) for version in versions])} gave these results, and train the same "
        "settings differently: a difference between two trials may be one of versions."
    ]


def _test_readings(data: StudyData) -> list[str]:
    chosen = [row for row in data.readings if row.role == "best"]
    if not chosen:
        return [
            "Test data has not been read yet: every accuracy here is on validation data, on which the best was chosen."
        ]
    if data.reading("best") is None:
        return ["Another trial became the best after test data was read; the new one has no test result yet."]
    if len(chosen) > 1:
        numbers = ", ".join(str(row.number) for row in chosen)
        return [
            f"Test data was read for {len(chosen)} chosen trials ({numbers}), because the search went on after "
            "the first."
        ]
    return []


def _went_on_after_test(data: StudyData) -> list[str]:
    """A study may go on once its test figures are known; whoever lets it go on may know them."""
    first = min((row.read_at for row in (*data.readings, *data.fresh) if row.read_at), default=None)
    if first is None:
        return []
    later = [row for row in data.trials if row.role in SEARCH_ROLES and row.started and row.started > first]
    if not later:
        return []
    before = [row.space for row in data.trials if row.started and row.started <= first]
    cause = "a wider space" if max(row.space for row in later) > max(before, default=1) else "a larger budget"
    return [
        f"The search went on after test data was read, with {cause}: {count(len(later), 'trial')} came later. The "
        "choice is on validation alone, but whoever let the search go on may have known the test figures."
    ]


def _confirmation(data: StudyData, line: Headline) -> list[str]:
    """What the mean over seeds lacks."""
    asked = data.space.confirm
    if asked is None or line.trial is None:
        return []
    if line.confirmed is None:
        return ["No configuration has runs of several seeds yet: the best was chosen by its one run, which is lucky."]
    found, runs = [], len(line.confirmed.seeds)
    planned = min(asked.top, data.space.backbones)
    if runs < asked.seeds:
        lost = f", and {line.confirmed.failed} failed" if line.confirmed.failed else ""
        found.append(f"The best was chosen by the mean of {runs} runs; {asked.seeds} were planned{lost}.")
    if fewer := [str(one.trial) for one in line.rivals if len(one.seeds) < asked.seeds]:
        found.append(f"The means of trials {listed(fewer)} are over fewer than {asked.seeds} runs.")
    if (compared := 1 + len(line.rivals)) < planned:
        found.append(
            f"Of the {planned} configurations to be compared by their means over seeds only {compared} have two "
            "runs or more; no other could be chosen."
        )
    return found


def _untuned_naive(data: StudyData, line: Headline) -> list[str]:
    """The naive training is not tuned: an unsuitable learning rate makes every gain look large."""
    tuned = data.reading("weight_decay")
    value = tuned.metrics.get(TEST_ACCURACY) if tuned else None
    if line.naive is None or value is None or value - line.naive.accuracy.value < _FAR_BELOW:
        return []
    rate = line.naive.settings.get("stage1.lr")
    return [
        f"The naive training reads {per_cent(line.naive.accuracy.value)}, {points(line.naive.accuracy.value - value)} "
        f"points from weight decay only ({per_cent(value)}). It is one untuned training, and its stage1.lr of "
        f"{number(rate)} may not suit training without weight decay, which would inflate points over naive. Compare "
        "with weight decay only."
    ]


def _gains(line: Headline) -> list[str]:
    found = [rival for rival in (line.naive, line.baseline) if rival and rival.gain.low <= 0 <= rival.gain.high]
    if not found:
        return []
    told = listed([f"{role_label(rival.role)} ({_gain_with_limits(rival)})" for rival in found])
    return [
        f"The 95 % interval of the difference to {told} includes zero: this test set cannot tell them apart. It is "
        "computed as if the two were measured on different images; on the same ones, as here, the true interval is "
        "usually narrower."
    ]


def _gain_with_limits(rival: Compared) -> str:
    return f"{points(rival.gain.value)} points, {gain_limits(rival.gain.low, rival.gain.high)}"


def _noise(line: Headline) -> list[str]:
    found = []
    accuracy = line.accuracy
    if accuracy is not None and accuracy.high - accuracy.low > WIDE_INTERVAL:
        found.append(
            f"The 95 % interval of the best is {100 * (accuracy.high - accuracy.low):.0f} points wide: the test set is "
            "small, and differences of a few points mean little."
        )
    if 0 < line.searched < _FEW_TRIALS:
        found.append(f"Only {count(line.searched, 'trial')} of the search finished: the figures show little yet.")
    return found


def _edges(data: StudyData) -> list[str]:
    if data.best is None:
        return []
    searched = data.space.searched
    found = []
    for name, end in data.space.edge(data.best.params).items():
        found.append(
            f"{name} of the best trial is {data.best.params[name]:.4g}, at the {end} end of its range "
            f"({in_words(searched[name])}): the optimum may lie outside; widen the range and search again."
        )
    return found


def _many_failures(data: StudyData, line: Headline) -> list[str]:
    found = []
    if line.failed > _MANY_FAILED * len(data.trials):
        found.append(
            f"{line.failed:,} of {count(len(data.trials), 'trial')} failed: the search knows little of the settings in "
            "which they did. Their reasons are under Failed trials."
        )
    if line.never_asked:
        found.append(never_asked_sentence(data, line))
    return found


def never_asked_sentence(data: StudyData, line: Headline) -> str:
    """Why a finished search has fewer trials than its budget."""
    lost = lost_backbones(data)
    why = (
        f"backbone{'s' if len(lost) > 1 else ''} {listed([str(index) for index in lost])} failed, and the rest "
        "of their heads was not tried"
        if lost
        else "the space had no more different points, or the search ended early, because of budget.hours or because "
        "too many jobs failed"
    )
    return f"{line.never_asked:,} of the {data.space.trials:,} trials of the budget were never asked for: {why}."


def _chance(data: StudyData) -> list[str]:
    """Results no better than guessing a class: then more is wrong than the long tail."""
    counts = data.study.train_counts
    guessing = 1 / len(counts) if counts else 0.0
    found = []
    for row in data.readings:
        value = row.metrics.get(TEST_ACCURACY)
        if value is not None and value <= guessing:
            name = "The chosen trial" if row.role == "best" else f"Baseline {row.role}"
            found.append(
                f"{name} reads {per_cent(value)} on test, and guessing {per_cent(guessing)}: it has learnt nothing "
                "that generalises, so do not compare with it."
            )
    return found


def _empty_classes(data: StudyData) -> list[str]:
    """Classes without images in a split: no mean includes them."""
    best, reading = data.best, data.reading("best")
    validation = [row for row in data.classes.get(best.number, ()) if row.split == "val"] if best else []
    found = []
    if missing := _without_images(data, validation):
        found.append(f"No validation image of {missing}: no trial was chosen for it, and val figures leave it out.")
    if missing := _without_images(data, reading.classes if reading else ()):
        found.append(f"No test image of {missing}: test figures leave it out.")
    return found


def _without_images(data: StudyData, rows: Sequence[ClassRow]) -> str:
    names = [data.class_name(row.class_index) for row in rows if row.total == 0]
    more = [f"{len(names) - 5} more"] if len(names) > 6 else []
    return listed([*names[: 5 if more else 6], *more])
